#!/bin/sh
# Starts the server: the gate on port {port}, which sites call, and behind it, on 127.0.0.1, Flower's SuperLink (port {superlink_port}) and the
# SuperExec that starts the process of a run. All state is in this folder; after a restart the server continues from it.
# For a trial, LISTEN=127.0.0.1 ./start.sh accepts connections from this machine only.
set -eu
umask 077
case $0 in */*) CDPATH='' cd -- "${0%/*}/" ;; esac
# effgan in this folder's venv, if there is one.
if [ -x venv/bin/python3 ]; then PATH="$PWD/venv/bin:$PATH"; fi
# A socket handed over by systemd (deploy/systemd) is for the gate. Without LISTEN_PID it accepts its parent's socket; 3<&- closes it for the others.
unset LISTEN_PID
export FLWR_HOME="$PWD/flower" FLWR_TELEMETRY_ENABLED=0 FLWR_DISABLE_UPDATE_CHECK=1
export NO_PROXY=127.0.0.1,localhost no_proxy=127.0.0.1,localhost

# When one process ends, the others are ended too, so that a service manager restarts them all.
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
