#!/bin/sh
# Starts everything on this machine and opens the browser; Ctrl-C stops it, and lets finish what runs.
# usage: deploy/scripts/start_all.sh [options of `lumbre up`, such as --port 8081]
set -eu
cd "$(dirname "$0")/../.."
make --no-print-directory install

host=127.0.0.1 port=${LUMBRE_PORT:-8080}
previous=
for word; do # the page to open is where `lumbre up` will be
    case "$previous" in --port) port=$word ;; esac
    case "$word" in --port=*) port=${word#--port=} ;; esac
    previous=$word
done

url="http://$host:$port"
open_when_ready() {
    for _ in $(seq 600); do
        kill -0 $$ 2>/dev/null || return # the node has ended
        if .venv/bin/python -c "import sys, urllib.request as u; u.urlopen(sys.argv[1], timeout=2)" "$url/readyz" 2>/dev/null; then
            .venv/bin/python -m loadtest.demo.browser "$url"
            return
        fi
        sleep 0.1
    done
}
open_when_ready &
exec .venv/bin/lumbre up "$@"
