"""What the documents say of tests: each one that they name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import REPOSITORY

PAGES = ["docs/attacks.md", "docs/what-leaves-your-site.md"]


@pytest.fixture(scope="module")
def tests() -> set[str]:
    """Names of all functions of the sources."""
    sources = [path for folder in ("crates", "bindings") for kind in ("*.rs", "*.py") for path in (REPOSITORY / folder).rglob(kind)]
    return {name for source in sources for name in re.findall(r"\b(?:fn|def) (\w+)", source.read_text("utf-8"))}


@pytest.mark.parametrize("page", PAGES)
def test_each_test_that_a_page_names_is_there(page: str, tests: set[str]) -> None:
    """The names stand in the last column of its tables."""
    rows = [line for line in (REPOSITORY / page).read_text("utf-8").splitlines() if line.startswith("|")]
    named = {name for row in rows for name in re.findall(r"`((?:test_)?[a-z0-9_]{18,})`", row.rstrip("| ").rpartition("|")[2])}
    assert len(named) > 10 and named - tests == set()


def test_each_attack_has_a_test() -> None:
    rows = [line for line in Path(REPOSITORY / "docs/attacks.md").read_text("utf-8").splitlines() if re.match(r"\| \d+ \|", line)]
    assert [int(row.split("|")[1]) for row in rows] == list(range(1, 23))
    assert all("`" in row.rstrip("| ").rpartition("|")[2] for row in rows)
