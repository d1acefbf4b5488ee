"""The tests, files and folders that the documents name exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import REPOSITORY

PAGES = sorted(path.relative_to(REPOSITORY) for folder in ("*.md", "docs/**/*.md") for path in REPOSITORY.glob(folder))
# Pages that name the tests which prove their sentences.
HELD = [Path("docs/attacks.md"), Path("docs/what-leaves-your-site.md")]
# A test is a sentence; keys of configs have fewer words, and one of a policy as many.
NAME = r"`(?!max_tpr_at_1`)((?:[a-z0-9]+_){3,}[a-z0-9]+)`"
# Made by fuzzing and not committed.
MADE = {REPOSITORY / "fuzz/corpus", REPOSITORY / "fuzz/artifacts"}


@pytest.fixture(scope="module")
def tests() -> set[str]:
    """The names of all functions in the sources."""
    sources = [path for folder in ("crates", "bindings") for kind in ("*.rs", "*.py") for path in (REPOSITORY / folder).rglob(kind)]
    return {name for source in sources for name in re.findall(r"\b(?:fn|def) (\w+)", source.read_text("utf-8"))}


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_each_test_that_a_page_names_is_there(page: Path, tests: set[str]) -> None:
    named = set(re.findall(NAME, (REPOSITORY / page).read_text("utf-8")))
    assert named - tests == set()
    assert page not in HELD or len(named) > 25


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_each_path_that_a_page_names_exists(page: Path) -> None:
    text = (REPOSITORY / page).read_text("utf-8")
    whole = re.findall(r"\b((?:bindings|configs|crates|docker|docs|examples|fuzz|scripts)/[\w./-]*\w)", text)
    of_crates = re.findall(r"`(effgan-\w+/[\w./-]*[\w/])`", text)
    paths = [REPOSITORY / path for path in whole] + [REPOSITORY / "crates" / path for path in of_crates]
    assert [str(path) for path in paths if not path.exists() and path not in MADE] == []


def test_each_attack_has_a_test() -> None:
    rows = [line for line in Path(REPOSITORY / "docs/attacks.md").read_text("utf-8").splitlines() if re.match(r"\| \d+ \|", line)]
    assert [int(row.split("|")[1]) for row in rows] == list(range(1, 23))
    assert all("`" in row.rstrip("| ").rpartition("|")[2] for row in rows)
