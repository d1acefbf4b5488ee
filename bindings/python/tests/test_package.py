"""The package as a whole: its types, the lines of its README, the example."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY, TINY

import effgan

PYTHON = REPOSITORY / "bindings/python"
READMES = [PYTHON / "README.md", REPOSITORY / "README.md"]
BLOCKS = [block for readme in READMES for block in re.findall(r"```python\n(.*?)```", readme.read_text("utf-8"), re.S)]


def python(*arguments: object, cwd: Path) -> str:
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_the_types_are_sound() -> None:
    assert "no issues found" in python("-m", "mypy", cwd=PYTHON)


def test_the_stub_is_what_the_module_has() -> None:
    assert "no issues found" in python("-m", "mypy.stubtest", "effgan._effgan", cwd=PYTHON)


@pytest.mark.parametrize("block", BLOCKS)
def test_the_lines_of_the_readme_run(block: str, tmp_path: Path) -> None:
    # A tiny config under the name that the lines use.
    (tmp_path / "configs").mkdir()
    shutil.copy(TINY, tmp_path / "configs/quickstart.toml")
    assert len(block.splitlines()) <= 12
    assert "fd_small" in python("-c", block, cwd=tmp_path)


def test_the_example_draws_a_run(run: effgan.Run, tmp_path: Path) -> None:
    out = tmp_path / "members.png"
    python(REPOSITORY / "examples/plot_members.py", run.path, "--out", out, cwd=tmp_path)
    assert out.read_bytes().startswith(b"\x89PNG") and out.stat().st_size > 20_000


def test_the_example_draws_a_run_without_scores_and_says_in_one_line_what_is_no_run(run: effgan.Run, tmp_path: Path) -> None:
    unscored = tmp_path / "unscored"
    shutil.copytree(run.path, unscored)
    events = (unscored / "metrics.jsonl").read_text("utf-8").splitlines(keepends=True)
    (unscored / "metrics.jsonl").write_text("".join(event for event in events if '"event":"score"' not in event), "utf-8")
    assert not effgan.Run(unscored).scores
    python(REPOSITORY / "examples/plot_members.py", unscored, "--out", "members.png", cwd=tmp_path)
    assert (tmp_path / "members.png").read_bytes().startswith(b"\x89PNG")
    command = [sys.executable, str(REPOSITORY / "examples/plot_members.py"), "nowhere"]
    there = "members.png exists already; remove it, or give another --out"
    for out, line in (("members.png", there), ("other.png", "nowhere is not a run folder: it has no run.json")):
        failed = subprocess.run([*command, "--out", out], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (failed.returncode, failed.stderr) == (1, f"plot_members: {line}\n")
