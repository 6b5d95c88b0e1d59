#!/bin/sh
# Makes the Secrets of the overlay dev that are not there yet, with passwords nobody has seen.
# usage: deploy/scripts/make_secrets.sh [NAMESPACE]
#
# lumbre-broker    username, password: RabbitMQ's user
# lumbre-database  password, url: PostgreSQL's user, and where the ledger is
# `lumbre deploy apply` does the same. Secrets that are there are left as they are: RabbitMQ and
# PostgreSQL take a password once, when their volumes are empty. For a store that is elsewhere
# (overlay production) make these Secrets yourself, with the same keys:
#   kubectl -n lumbre create secret generic lumbre-database --from-file=url=FILE_WITH_THE_URL
set -eu
namespace=${1:-lumbre}
case $namespace in
-h | --help)
    sed -n '2,10s/^# \{0,1\}//p' "$0"
    exit 0
    ;;
-*)
    echo "make_secrets.sh: $namespace is no namespace" >&2
    exit 2
    ;;
esac
command -v kubectl >/dev/null || {
    echo "make_secrets.sh: kubectl is not installed" >&2
    exit 1
}

# 40 hexadecimal digits: they need no escaping in a URL.
password() {
    od -An -N20 -tx1 /dev/urandom | tr -d ' \n'
}

# Passwords go through a pipe: arguments of a process can be read by others.
make() {
    name=$1
    if found=$(kubectl -n "$namespace" get secret "$name" --ignore-not-found -o name) && [ -n "$found" ]; then
        echo "secret $name is there: left as it is"
        return
    fi
    {
        printf 'apiVersion: v1\nkind: Secret\nmetadata:\n  name: %s\n  namespace: %s\n' "$name" "$namespace"
        printf '  labels:\n    app.kubernetes.io/name: lumbre\n    app.kubernetes.io/part-of: lumbre\n'
        printf 'type: Opaque\nstringData:\n'
        cat
    } | kubectl create -f -
}

kubectl get namespace "$namespace" --ignore-not-found -o name | grep -q . || kubectl create namespace "$namespace"
printf '  username: lumbre\n  password: "%s"\n' "$(password)" | make lumbre-broker
secret=$(password)
printf '  password: "%s"\n  url: "postgresql://lumbre:%s@lumbre-postgres:5432/lumbre"\n' "$secret" "$secret" | make lumbre-database
