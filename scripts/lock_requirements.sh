#!/usr/bin/env bash
# Writes anew what a kit's requirements.txt pins besides the wheel: the versions and SHA-256 hashes of flwr, NumPy and all that they need,
# for every platform and Python from 3.11 (the oldest that flwr takes). The version of flwr is the one that the tests use. Needs `make python`.
set -euo pipefail
cd "$(dirname "$0")/.."
flwr=$(grep '^flwr==' bindings/python/requirements-dev.txt)
printf '%s\n' "$flwr" 'numpy>=1.24' | .venv/bin/uv pip compile - --universal --python-version 3.11 --only-binary :all: \
    --generate-hashes --emit-build-options --no-annotate --no-header --quiet --output-file crates/effgan-cli/src/setup/requirements.lock
