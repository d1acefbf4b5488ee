"""The Dockerfiles, which cannot be built everywhere, by a linter."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY

FILES = sorted((REPOSITORY / "docker").glob("*.Dockerfile"))


def test_there_are_two() -> None:
    assert [file.name for file in FILES] == ["server.Dockerfile", "site.Dockerfile"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_hadolint_has_nothing_to_say(file: Path) -> None:
    done = subprocess.run([Path(sys.executable).parent / "hadolint", file], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
