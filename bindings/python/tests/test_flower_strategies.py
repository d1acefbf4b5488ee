"""Flower's strategies over Flower: `make slow`."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import TINY
from lab import two_sites

import effgan

pytestmark = pytest.mark.slow

STRATEGIES = ['name = "FedAdam", eta = 0.01', 'name = "FedMedian"', 'name = "Krum", num_malicious_nodes = 0']


def test_strategies_take_the_place_of_the_mean(tmp_path: Path) -> None:
    models: dict[str, bytes] = {}
    with two_sites(tmp_path / "lab") as lab:
        for strategy in ["", *STRATEGIES]:
            config = tmp_path / f"{len(models)}.toml"
            text = TINY.read_text("utf-8").replace("clients = 3", "clients = 2")
            config.write_text(f"{text}\n[federation]\nstrategy = {{ {strategy} }}\n" if strategy else text)
            run = tmp_path / f"run-{len(models)}"
            outcome = lab.run(config, run)
            assert outcome.status == "finished:completed", outcome.log
            models[strategy] = effgan.Model.load(run).sample(8, member="global").tobytes()
    assert len(set(models.values())) == len(models)
