#!/bin/sh
# Takes part in the federation with the images of a folder: ./start.sh /path/to/images. It calls the server, and nobody calls it.
# For experiments: ./start.sh --partition-id 0 takes part with what the run's config deals to its first client.
# Needs effgan and flwr 1.41: pip install effgan "flwr==1.41.*"
set -eu
if [ "${1:-}" = --partition-id ]; then
    images="partition-id=${2:?say which client: --partition-id 0}"
else
    images="data-dir='$(realpath "${1:?say where the images lie: ./start.sh /path/to/images}")' client-name='{name}'"
fi
cd "$(dirname "$0")"
[ -f key ] || { echo "there is no key yet: effgan federation join $PWD"; exit 2; }
export FLWR_HOME="$PWD/flower" FLWR_TELEMETRY_ENABLED=0 FLWR_DISABLE_UPDATE_CHECK=1
mkdir -p "$FLWR_HOME"
exec flower-supernode --superlink {server} --root-certificates ca.crt --auth-supernode-private-key key \
    --host 127.0.0.1 --port "${PORT:-9094}" --node-config "$images state-dir='$PWD/state'"
