#!/bin/sh
# Builds Lumbre's images with docker or podman: lumbre:gateway, lumbre:cpu and lumbre:cuda.
# usage: deploy/scripts/build_images.sh [gateway] [cpu] [cuda] [options]; all three if none is named
#   --functions FOLDER  bake these functions in, and not the shipped ones
#   --name NAME         instead of lumbre, such as registry.example/team/lumbre
#   --suffix TEXT       after each tag, such as -1.2: lumbre:cpu-1.2
#   --base IMAGE        instead of the Containerfiles' own, such as one with its digest
#   --push              push what was built
# TORCH_INDEX is the index of torch's builds for CPUs, TORCH_CUDA_INDEX of those for your CUDA; empty
# is pip's own. TORCH and TORCH_CUDA are what is installed, such as torch==2.13.0. PACKAGES and
# FUNCTION_PACKAGES are further packages. ENGINE is docker or podman; the first there is, if not said.
set -eu
cd "$(dirname "$0")/../.."

fail() {
    echo "build_images: $1" >&2
    exit "${2:-1}"
}

targets='' functions='' name=lumbre suffix='' base='' push=
while [ $# -gt 0 ]; do
    case "$1" in
    gateway | cpu | cuda) targets="$targets $1" ;;
    --push) push=yes ;;
    --functions | --name | --suffix | --base)
        [ $# -gt 1 ] || fail "$1 needs a value" 2
        case "$1" in
        --functions) functions=$2 ;;
        --name) name=$2 ;;
        --suffix) suffix=$2 ;;
        --base) base=$2 ;;
        esac
        shift
        ;;
    -h | --help)
        sed -n '2,/^set -eu/{/^#/s/^# \{0,1\}//p;}' "deploy/scripts/build_images.sh"
        exit 0
        ;;
    *) fail "$1 is neither gateway, cpu or cuda nor an option: --help tells" 2 ;;
    esac
    shift
done
[ -z "$functions" ] || [ -d "$functions" ] || fail "there is no folder $functions" 2

engine=${ENGINE:-}
for each in docker podman; do
    if [ -z "$engine" ] && command -v "$each" >/dev/null; then engine=$each; fi
done
[ -n "$engine" ] || fail "there is neither docker nor podman: install one of them"
command -v "$engine" >/dev/null || fail "ENGINE=$engine is not there"

revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)

build() { # target, Containerfile, stage, torch, its index
    image="$name:$1$suffix"
    set -- --file "$2" --target "$3" --tag "$image" \
        --build-arg "TORCH=$4" --build-arg "TORCH_INDEX=$5" \
        --build-arg "VERSION=$version" --build-arg "REVISION=$revision"
    if [ -n "$base" ]; then set -- "$@" --build-arg "BASE=$base"; fi
    if [ -n "${PACKAGES:-}" ]; then set -- "$@" --build-arg "PACKAGES=$PACKAGES"; fi
    if [ -n "${FUNCTION_PACKAGES:-}" ]; then
        set -- "$@" --build-arg "FUNCTION_PACKAGES=$FUNCTION_PACKAGES"
    fi
    if [ -n "$functions" ]; then set -- "$@" --build-context "functions=$functions"; fi
    # OCI's own format has no HEALTHCHECK, which podman would leave out.
    case "$engine" in *podman) set -- "$@" --format docker ;; esac
    echo "building $image"
    "$engine" build "$@" .
    if [ -n "$push" ]; then "$engine" push "$image"; fi
}

torch=${TORCH:-torch==2.13.0} index=${TORCH_INDEX:-}
if [ -z "$index" ]; then
    echo "note: TORCH_INDEX is not set: pip's own index may have torch with CUDA only, which makes" \
        "lumbre:cpu five times as large; docs/containers.md tells which index to name" >&2
fi
for target in ${targets:-gateway cpu cuda}; do
    case "$target" in
    gateway) build gateway Containerfile.cpu gateway "$torch" "$index" ;;
    cpu) build cpu Containerfile.cpu worker "$torch" "$index" ;;
    cuda)
        build cuda Containerfile.cuda worker "${TORCH_CUDA:-torch==2.13.0}" "${TORCH_CUDA_INDEX:-}"
        ;;
    esac
done
