#!/bin/sh
# The demonstration: installs what it needs, starts everything, opens the browser, sends a mixed load
# for two minutes, writes the report to results/demo, and stops.
# usage: deploy/scripts/run_demo.sh [options of `lumbre demo`, such as --seconds 30]
set -eu
cd "$(dirname "$0")/../.."
make --no-print-directory install
exec .venv/bin/lumbre demo "$@"
