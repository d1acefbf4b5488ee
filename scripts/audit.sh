#!/usr/bin/env bash
# `make audit`: licences, sources, bans and known advisories of the crates, and known vulnerabilities of the Python packages that tests use.
# The crates' advisories are a git repository; where it cannot be fetched, that is said, and the rest counts.
set -euo pipefail
cd "$(dirname "$0")/.."

command -v cargo-deny > /dev/null || cargo install cargo-deny --locked
cargo deny --locked check licenses bans sources
if cargo deny --locked fetch db 2> /dev/null; then
    cargo deny --locked check advisories
else
    echo "advisories of crates not checked: their database cannot be fetched from here"
fi

venv=target/audit-venv
[[ -x $venv/bin/pip-audit ]] || { python3 -m venv "$venv" && "$venv/bin/pip" install --quiet --disable-pip-version-check pip-audit; }
"$venv/bin/pip-audit" --progress-spinner off --requirement bindings/python/requirements-dev.txt
