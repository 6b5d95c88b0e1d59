#!/bin/sh
# Keeps pods that need no GPU away from the nodes that have one: a taint that only GPU workers bear.
# usage: deploy/scripts/taint_gpu_nodes.sh [--apply | --remove] [NODE ...]
#
# Without --apply it shows what it would do. Without a NODE it takes every node that has a GPU to
# give (nvidia.com/gpu, or a MIG profile). NVIDIA's device plugin and GPU operator bear this taint;
# where a cloud adds nodes as they are needed, give the node group the taint there instead:
#   nvidia.com/gpu=present:NoSchedule
# Another key than nvidia.com/gpu: GPU_TAINT=example.com/gpu, and gpus.taint in the values.
set -eu
taint=${GPU_TAINT:-nvidia.com/gpu}
mode=show
case ${1:-} in
--apply | --remove)
    mode=${1#--}
    shift
    ;;
-h | --help)
    sed -n '2,10s/^# \{0,1\}//p' "$0"
    exit 0
    ;;
-*)
    echo "taint_gpu_nodes.sh: $1 is no option: --apply or --remove" >&2
    exit 2
    ;;
esac
command -v kubectl >/dev/null || {
    echo "taint_gpu_nodes.sh: kubectl is not installed" >&2
    exit 1
}

nodes=$*
if [ -z "$nodes" ]; then
    # One line a node: its name, and every resource that it can give.
    # shellcheck disable=SC2016 # the template's own variables
    nodes=$(kubectl get nodes -o go-template='{{range .items}}{{.metadata.name}}{{range $name, $amount := .status.allocatable}} {{$name}}={{$amount}}{{end}}{{"\n"}}{{end}}' |
        awk '{ for (i = 2; i <= NF; i++) if ($i ~ /^nvidia\.com\/(gpu|mig-[^=]*)=[1-9]/) { print $1; next } }')
fi
if [ -z "$nodes" ]; then
    echo "no node has a GPU to give: is the device plugin there? kubectl get nodes -o yaml | grep nvidia.com" >&2
    exit 1
fi
for node in $nodes; do
    case $mode in
    show) echo "kubectl taint nodes $node $taint=present:NoSchedule --overwrite" ;;
    apply) kubectl taint nodes "$node" "$taint=present:NoSchedule" --overwrite ;;
    remove) kubectl taint nodes "$node" "$taint:NoSchedule-" ;;
    esac
done
if [ "$mode" = show ]; then
    echo "nothing was changed: say --apply" >&2
fi
