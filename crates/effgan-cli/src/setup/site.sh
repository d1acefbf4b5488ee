#!/bin/sh
# Takes part in the federation with the images of a folder: ./start.sh /path/to/images. It calls the server, and nobody calls it.
# Needs effgan and flwr 1.41: pip install effgan "flwr==1.41.*"
set -eu
data=$(realpath "${1:?say where the images lie: ./start.sh /path/to/images}")
cd "$(dirname "$0")"
[ -f key ] || { echo "there is no key yet: effgan federation join $PWD"; exit 2; }
export FLWR_HOME="$PWD/flower" FLWR_TELEMETRY_ENABLED=0 FLWR_DISABLE_UPDATE_CHECK=1
mkdir -p "$FLWR_HOME"
exec flower-supernode --superlink {server} --root-certificates ca.crt --auth-supernode-private-key key \
    --host 127.0.0.1 --port "${PORT:-9094}" \
    --node-config "data-dir='$data' client-name='{name}' state-dir='$PWD/state'"
