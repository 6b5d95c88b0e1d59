#!/bin/sh
# Starts Lumbre with containers on this machine: makes secrets and images that are missing, then
# starts deploy/compose.yaml in the background and waits until all of it is healthy.
# usage: deploy/scripts/start_compose.sh [--gpu] [--metrics] [--build]
#   --gpu      a worker on the NVIDIA GPUs, too
#   --metrics  Prometheus and Grafana, too
#   --build    build the images even where they are there
# ENGINE is docker or podman; the first that is there, if not said.
set -eu
cd "$(dirname "$0")/../.."

build='' targets='gateway cpu' profiles=
for word; do
    case "$word" in
    --gpu) targets="$targets cuda" profiles="$profiles --profile gpu" ;;
    --metrics) profiles="$profiles --profile metrics" ;;
    --build) build=yes ;;
    *)
        echo "usage: deploy/scripts/start_compose.sh [--gpu] [--metrics] [--build]" >&2
        exit 2
        ;;
    esac
done

engine=${ENGINE:-}
for name in docker podman; do
    if [ -z "$engine" ] && command -v "$name" >/dev/null; then engine=$name; fi
done
if [ -z "$engine" ] || ! "$engine" compose version >/dev/null 2>&1; then
    echo "this needs Docker or Podman, with Compose: \"docker compose version\" must answer" >&2
    exit 1
fi

deploy/scripts/make_compose_secrets.sh
for target in $targets; do
    if [ -n "$build" ] || ! "$engine" image inspect "lumbre:$target" >/dev/null 2>&1; then
        ENGINE=$engine deploy/scripts/build_images.sh "$target"
    fi
done
# shellcheck disable=SC2086 # some words each
"$engine" compose --file deploy/compose.yaml $profiles up --detach --wait
echo "lumbre is up on http://127.0.0.1:${LUMBRE_PORT:-8080}"
echo "stop it: $engine compose --file deploy/compose.yaml$profiles down"
