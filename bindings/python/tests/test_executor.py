"""A site runs the effgan that is installed there, whatever bundle the server sends."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from conftest import REPOSITORY
from flwr.cli.build import build_fab_from_disk

SETUP = REPOSITORY / "crates/effgan-cli/src/setup"


def test_the_hash_that_sites_know_is_that_of_the_bundle_which_the_installed_flwr_makes(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_bytes((SETUP / "app.toml").read_bytes())
    known = re.search(r'BUNDLE_SHA256: &str = "([0-9a-f]{64})"', (SETUP / "bundle.rs").read_text("utf-8"))
    assert known and known[1] == hashlib.sha256(build_fab_from_disk(tmp_path)).hexdigest()
