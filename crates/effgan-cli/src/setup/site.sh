#!/bin/sh
# Takes part in the federation with the images of a folder: ./start.sh /path/to/images. It calls {server} and accepts no connections.
# For experiments, ./start.sh --partition-id 0 takes part with the images that the run's config assigns to its first client.
# PORT and FORWARD_PORT are two ports of 127.0.0.1; set others when two sites share a machine.
set -eu
umask 077
usage() {
    echo "$1: ./start.sh /path/to/images" >&2
    exit 2
}
# The path is passed in the environment, where it may contain any characters.
unset EFFGAN_DATA_DIR
node="client-name='{name}'"
case ${1:-} in
    '') usage "pass the folder of the images" ;;
    --partition-id)
        case ${2:-} in '' | *[!0-9]*) usage "--partition-id needs the number of a client, from 0; otherwise" ;; esac
        node="partition-id=$2"
        ;;
    -*) usage "there is no option $1" ;;
    /*) export EFFGAN_DATA_DIR="$1" ;;
    *) export EFFGAN_DATA_DIR="$PWD/$1" ;;
esac
case $0 in */*) CDPATH='' cd -- "${0%/*}/" ;; esac
[ -z "${EFFGAN_DATA_DIR:-}" ] || [ -e "$EFFGAN_DATA_DIR" ] || usage "$EFFGAN_DATA_DIR does not exist"
[ -f key ] || { echo "there is no key yet; make it with effgan federation join $PWD" >&2; exit 2; }
# effgan in this folder's venv, if there is one.
if [ -x venv/bin/python3 ]; then PATH="$PWD/venv/bin:$PATH"; fi
export EFFGAN_KIT="$PWD" FLWR_HOME="$PWD/flower" FLWR_TELEMETRY_ENABLED=0 FLWR_DISABLE_UPDATE_CHECK=1
mkdir -p "$FLWR_HOME" state
# Removes what is older than keep_days of policy.toml.
effgan federation prune . --really
PORT=${PORT:-9094} FORWARD_PORT=${FORWARD_PORT:-9095}

# When one process ends, the others are ended too, so that a service manager restarts them all.
started=
trap 'kill $started 2> /dev/null || true; wait' EXIT
trap 'exit 143' INT TERM

# The only process that calls the network, through HTTPS_PROXY if that is set. With FORWARDER=elsewhere a service manager runs it (deploy/systemd).
if [ "${FORWARDER:-here}" = here ]; then
    effgan federation forward . --port "$FORWARD_PORT" &
    started="$started $!"
fi
export NO_PROXY=127.0.0.1,localhost no_proxy=127.0.0.1,localhost
flower-supernode --superlink "127.0.0.1:$FORWARD_PORT" --root-certificates local.crt --auth-supernode-private-key key \
    --host 127.0.0.1 --port "$PORT" --ssl-certfile local.crt --ssl-keyfile local.key --ssl-ca-certfile local.crt \
    --isolation process --superexec-auth-secret-file superexec.secret --node-config "$node" &
started="$started $!"
python3 -m effgan.flower.executor --runtime-api-address "127.0.0.1:$PORT" --root-certificates local.crt \
    --superexec-auth-secret-file superexec.secret &
started="$started $!"

while sleep 1; do
    for process in $started; do kill -0 "$process" 2> /dev/null || exit 1; done
done
