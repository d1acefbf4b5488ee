"""A site runs the effgan that is installed there, whatever bundle the server sends."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from pathlib import Path

import pytest
from conftest import TINY
from lab import APP, executable, two_sites

import effgan


def test_the_hash_that_sites_know_is_that_of_the_bundle_which_the_installed_flwr_makes(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app/pyproject.toml").write_bytes(APP.read_bytes())
    subprocess.run([executable("flwr"), "build", "--app", tmp_path / "app"], cwd=tmp_path, check=True, capture_output=True)
    [bundle] = tmp_path.glob("*.fab")
    known = re.search(r'BUNDLE_SHA256: &str = "([0-9a-f]{64})"', APP.with_name("bundle.rs").read_text("utf-8"))
    assert known and known[1] == hashlib.sha256(bundle.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "two.toml"
    path.write_text(TINY.read_text("utf-8").replace("clients = 3", "clients = 2"))
    return path


@pytest.fixture(scope="module")
def simulated(config: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return model_hash(effgan.run(config, out=tmp_path_factory.mktemp("simulated") / "run").path)


def model_hash(run: Path) -> str:
    text: str = json.loads((run / "run.json").read_text("utf-8"))["model_hash"]
    return text


def test_sites_with_executors_come_to_the_hash_of_the_simulation(config: Path, simulated: str, tmp_path: Path) -> None:
    with two_sites(tmp_path / "lab", executor=True) as lab:
        outcome = lab.run(config, tmp_path / "run")
    assert outcome.status == "finished:completed", outcome.log
    assert model_hash(tmp_path / "run") == simulated
