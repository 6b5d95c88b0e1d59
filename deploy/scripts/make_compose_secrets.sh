#!/bin/sh
# Makes the secrets of deploy/compose.yaml, in files that git ignores and nobody else may read; those
# that are there stay as they are, since the servers have kept them.
# usage: deploy/scripts/make_compose_secrets.sh [FOLDER, deploy/secrets if not said]
set -eu
cd "$(dirname "$0")/../.."
folder=${1:-deploy/secrets}
umask 077
mkdir -p "$folder"
echo '*' >"$folder/.gitignore"

secret() { # 40 letters and digits, which stand in a URL as they are
    head -c 4096 /dev/urandom | LC_ALL=C tr -dc 'A-Za-z0-9' | head -c 40
}

keep() { # a file, and its lines
    [ -e "$folder/$1" ] && return
    printf '%s\n' "$2" >"$folder/$1.new"
    mv "$folder/$1.new" "$folder/$1"
    echo "made $folder/$1"
}

pair() { # two files that hold the same secret are made together, or not at all
    if [ -e "$folder/$1" ] && [ -e "$folder/$2" ]; then return 1; fi
    if [ -e "$folder/$1" ] || [ -e "$folder/$2" ]; then
        echo "$folder has only one of $1 and $2, which share a password: bring the other back, or" \
            "remove both, and the volumes of what they are for" >&2
        exit 1
    fi
}

if pair rabbitmq.env lumbre.env; then
    password=$(secret)
    keep rabbitmq.env "RABBITMQ_DEFAULT_USER=lumbre
RABBITMQ_DEFAULT_PASS=$password"
    keep lumbre.env "LUMBRE_BROKER_USERNAME=lumbre
LUMBRE_BROKER_PASSWORD=$password"
fi
if pair postgres.env ledger.env; then
    password=$(secret)
    keep postgres.env "POSTGRES_PASSWORD=$password"
    keep ledger.env "LUMBRE_LEDGER_URL=postgresql://lumbre:$password@postgres/lumbre"
fi
keep grafana.env "GF_SECURITY_ADMIN_PASSWORD=$(secret)"
