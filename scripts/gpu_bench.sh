#!/usr/bin/env bash
# What a GPU gives: `EFFGAN=path/to/effgan PYTHON=python-with-torch scripts/gpu_bench.sh` on the machine that has it, in under five minutes and
# without a network. Prints the devices, a table of training steps in turns with PyTorch on the same GPU, a run with ten clients, and one line
# of JSON with all of it. EFFGAN is a program that was built with --features gpu; it can be copied from another machine.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
exec "${PYTHON:-python3}" "$here/gpu_bench.py" --effgan "${EFFGAN:-$here/../target/release/effgan}" "$@"
