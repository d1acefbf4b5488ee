#!/usr/bin/env bash
# `make audit`: licences, sources, bans and known advisories of the crates, and known vulnerabilities of the Python packages that kits pin and
# tests use. It succeeds only if it could check them: the advisories of crates come from a git repository, those of packages from PyPI.
set -euo pipefail
cd "$(dirname "$0")/.."

cannot() {
    echo "audit: $1; the rest was not checked" >&2
    exit 1
}

deny=0.20.2
[[ $(cargo-deny --version 2> /dev/null) == "cargo-deny $deny" ]] || cargo install cargo-deny --locked --version "$deny" ||
    cannot "cargo-deny $deny cannot be installed from here"
# With the crates of the feature `gpu`, which is off by default.
features=(--features effgan-cli/gpu)
cargo deny "${features[@]}" --locked check licenses bans sources
cargo deny --locked fetch db 2> /dev/null || cannot "the database of advisories for crates cannot be fetched from here"
cargo deny "${features[@]}" --locked check advisories

venv=target/audit-venv
if ! cmp --silent scripts/audit.lock "$venv/audit.lock"; then
    {
        python3 -m venv --clear "$venv" &&
            "$venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes --requirement scripts/audit.lock
    } || cannot "pip-audit cannot be installed from here"
    cp scripts/audit.lock "$venv/"
fi
audit() {
    # Strict: a package that PyPI does not have is a failure instead of being skipped.
    "$venv/bin/pip-audit" --strict --progress-spinner off --requirement "$@"
}
audit bindings/python/requirements-dev.txt
for file in crates/effgan-cli/src/setup/requirements.lock bindings/python/simulation.lock scripts/audit.lock; do
    audit "$file" --disable-pip
done
