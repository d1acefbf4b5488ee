#!/usr/bin/env bash
# Writes anew what is installed by its SHA-256, for every platform and Python from 3.11 (the oldest that flwr takes): what a kit's requirements.txt
# pins besides the wheel (flwr, NumPy and all that they need), what Flower's simulation needs more (`make slow`), and pip-audit (`make audit`).
# The version of flwr is the one that the tests use. Needs `make python`.
set -euo pipefail
cd "$(dirname "$0")/.."
flwr=$(grep '^flwr==' bindings/python/requirements-dev.txt)
kits=crates/effgan-cli/src/setup/requirements.lock

# lock FILE WHAT…: the wheels of WHAT, written to FILE; more options in $more.
lock() {
    printf '%s\n' "${@:2}" | .venv/bin/uv pip compile - --universal --python-version 3.11 --only-binary :all: \
        --generate-hashes --emit-build-options --no-annotate --no-header --quiet --output-file "$1" "${more[@]}"
}

more=()
lock "$kits" "$flwr" 'numpy>=1.24'
lock scripts/audit.lock pip-audit
mapfile -t more < <(sed -n 's/^\([^= ]*\)==.*/--no-emit-package=\1/p' "$kits" | sort -u)
more+=(--constraint "$kits")
lock bindings/python/simulation.lock "${flwr/flwr/flwr[simulation]}"
