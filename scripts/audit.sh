#!/usr/bin/env bash
# `make audit`: licences, sources, bans and known advisories of the crates, and known vulnerabilities of the Python packages that kits pin and
# tests use. It ends well only when it could look: the advisories of crates are a git repository, those of packages PyPI's.
set -euo pipefail
cd "$(dirname "$0")/.."

cannot() {
    echo "audit: $1; nothing is known of what was not looked at" >&2
    exit 1
}

command -v cargo-deny > /dev/null || cargo install cargo-deny --locked || cannot "cargo-deny cannot be installed from here"
cargo deny --locked check licenses bans sources
cargo deny --locked fetch db 2> /dev/null || cannot "the database of advisories for crates cannot be fetched from here"
cargo deny --locked check advisories

venv=target/audit-venv
if [[ ! -x $venv/bin/pip-audit ]]; then
    python3 -m venv "$venv" && "$venv/bin/pip" install --quiet --disable-pip-version-check pip-audit || cannot "pip-audit cannot be installed from here"
fi
for file in crates/effgan-cli/src/setup/requirements.lock bindings/python/requirements-dev.txt; do
    "$venv/bin/pip-audit" --progress-spinner off --requirement "$file"
done
