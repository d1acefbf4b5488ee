#!/bin/sh
# Starts the server: the gate, which sites call at port {port}, and behind it, for this machine alone, Flower's SuperLink (port {superlink_port})
# and the SuperExec that starts a run's process. All state is in this folder, and it goes on with it when it is started again.
# LISTEN=127.0.0.1 ./start.sh listens for this machine alone, which is for trying things out.
set -eu
umask 077
case $0 in */*) CDPATH='' cd -- "${0%/*}/" ;; esac
# Where pip put effgan, if it is here.
if [ -x venv/bin/python3 ]; then PATH="$PWD/venv/bin:$PATH"; fi
# A socket that systemd hands over (deploy/systemd) is the gate's: it takes the one of its parent, and the others have it closed.
unset LISTEN_PID
export FLWR_HOME="$PWD/flower" FLWR_TELEMETRY_ENABLED=0 FLWR_DISABLE_UPDATE_CHECK=1
export NO_PROXY=127.0.0.1,localhost no_proxy=127.0.0.1,localhost

# Whoever ends first ends the others, and a service manager starts all again.
started=
trap 'kill $started 2> /dev/null || true; wait' EXIT
trap 'exit 143' INT TERM

flower-superlink --host 127.0.0.1 --port {superlink_port} --ssl-ca-certfile ca.crt --ssl-certfile server.crt --ssl-keyfile server.key \
    --enable-supernode-auth --database state.db --isolation process --superexec-auth-secret-file superexec.secret \
    --disable-runtime-dependency-installation 3<&- &
started="$started $!"
flower-superexec --runtime-api-address 127.0.0.1:{superlink_port} --root-certificates ca.crt \
    --superexec-auth-secret-file superexec.secret 3<&- &
started="$started $!"
effgan federation serve . ${LISTEN:+--host "$LISTEN"} &
started="$started $!"

while sleep 1; do
    for process in $started; do kill -0 "$process" 2> /dev/null || exit 1; done
done
