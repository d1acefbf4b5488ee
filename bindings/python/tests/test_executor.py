"""A site runs the effgan that is installed there, whatever bundle the server sends."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import TINY
from lab import APP, executable, two_sites

import effgan
from effgan.flower.executor import FAILED


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


def bundle(folder: Path, **components: str) -> Path:
    """An app of somebody else's: effgan's with these components in the place of its own, and tests/thief.py."""
    folder.mkdir()
    text = APP.read_text("utf-8")
    for name, component in components.items():
        text = re.sub(f'^{name} = ".*"$', f'{name} = "{component}"', text, flags=re.MULTILINE)
    (folder / "pyproject.toml").write_text(text)
    shutil.copy(Path(__file__).with_name("thief.py"), folder)
    return folder


def test_a_foreign_app_never_runs_at_a_site_which_then_comes_to_the_hash_of_the_simulation(
    config: Path, simulated: str, tmp_path: Path
) -> None:
    secret = tmp_path / "key"
    secret.write_text("of the site alone")
    with two_sites(tmp_path / "lab", executor=True) as lab:
        own, lab.app = lab.app, bundle(tmp_path / "foreign", serverapp="thief:server", clientapp="thief:client")
        foreign = lab.run(secret, tmp_path / "none")
        lab.app = own
        outcome = lab.run(config, tmp_path / "run")
    assert foreign.log.count(f"a site said: {FAILED}") == 2, foreign.log
    assert "of the site alone" not in foreign.log
    assert not Path(f"{secret}.stolen").exists()
    assert not list(tmp_path.glob("lab/home-[ab]/**/thief.py")), "the bundle was unpacked at a site"
    assert outcome.status == "finished:completed", outcome.log
    assert model_hash(tmp_path / "run") == simulated
