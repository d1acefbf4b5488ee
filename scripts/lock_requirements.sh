#!/usr/bin/env bash
# Updates the lock files, which pin Python packages by SHA-256 for every platform and Python from 3.11 (the oldest that flwr supports): what a kit's
# requirements.txt pins besides the wheel (flwr, NumPy and their dependencies), what Flower's simulation also needs (`make slow`), and pip-audit
# (`make audit`). The version of flwr is the one that the tests use. Needs `make python`.
set -euo pipefail
cd "$(dirname "$0")/.."
flwr=$(grep '^flwr==' bindings/python/requirements-dev.txt)
kits=crates/effgan-cli/src/setup/requirements.lock

# lock FILE PACKAGE…: writes the wheels of the packages and their dependencies to FILE; $more has further options.
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
