#!/usr/bin/env bash
# Puts the Python module where the package looks for it, and runs the Python tests: `make python`, and a part of `make test`.
# FLWR=1.42.0 does so in an environment of its own, .venv-1.42.0, with that version of Flower.
# If Python 3.10 with venv is missing, or the packages of requirements-dev.txt cannot be installed, it says so and exits with 0.
set -euo pipefail
cd "$(dirname "$0")/../.."

skip() {
    echo "Python tests skipped: $1"
    exit 0
}

# The whole workspace, so that Burn is compiled once (crates/workspace-hack says why): maturin, which builds one package by itself, would compile it anew.
cargo build --locked --release --workspace

python=${PYTHON:-python3}
command -v "$python" > /dev/null || skip "$python is missing; install Python 3.10 or later, or name one: make python PYTHON=…"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || skip "$("$python" --version) is older than 3.10"

venv=.venv${FLWR:+-$FLWR}
wanted=$(sed "${FLWR:+s/^flwr==.*/flwr==$FLWR/}" bindings/python/requirements-dev.txt)
version='import sys; print(sys.version_info[:2])'
if [[ $wanted != "$(cat "$venv/requirements-dev.txt" 2> /dev/null)" || $("$venv/bin/python" -c "$version" 2>&1) != $("$python" -c "$version") ]]; then
    "$python" -m venv --clear "$venv" || skip "$python -m venv fails; install it (Debian: python3-venv)"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement /dev/stdin <<< "$wanted" || skip "pip cannot install what requirements-dev.txt names"
    # `import effgan` finds the package in the repository.
    packages=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    echo "$PWD/bindings/python" > "$packages/effgan.pth"
    echo "$wanted" > "$venv/requirements-dev.txt"
fi

built=${CARGO_TARGET_DIR:-target}/release/lib_effgan
[[ $(uname) == Darwin ]] && built+=.dylib || built+=.so
# Renamed into place: a program that has the old one loaded keeps it.
cp "$built" bindings/python/effgan/_effgan.abi3.so.new
mv bindings/python/effgan/_effgan.abi3.so.new bindings/python/effgan/_effgan.abi3.so
[[ ${PYTHON_TESTS:-} == none ]] && exit
cd bindings/python && exec "../../$venv/bin/python" -m pytest "$@"
