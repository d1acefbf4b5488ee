#!/bin/sh
# Starts the SuperLink, which sites connect to at port {port}, and what runs the ServerApp beside it. It keeps its state in this folder, and
# goes on with it when it is started again. Needs effgan and flwr 1.41: pip install effgan "flwr==1.41.*"
set -eu
cd "$(dirname "$0")"
export FLWR_HOME="$PWD/flower" FLWR_TELEMETRY_ENABLED=0 FLWR_DISABLE_UPDATE_CHECK=1
HOST=${HOST:-0.0.0.0}
flower-superlink --host "$HOST" --port {port} --ssl-ca-certfile ca.crt --ssl-certfile server.crt --ssl-keyfile server.key \
    --enable-supernode-auth --database state.db --isolation process --disable-runtime-dependency-installation &
superlink=$!
flower-superexec --root-certificates ca.crt --runtime-api-address 127.0.0.1:{port} &
superexec=$!
# Whoever ends first ends the other: a service manager starts both again.
trap 'kill $superlink $superexec 2> /dev/null || true' EXIT
trap 'exit 143' INT TERM
while kill -0 $superlink 2> /dev/null && kill -0 $superexec 2> /dev/null; do sleep 1; done
exit 1
