"""Flower's own simulation, on Ray: `make slow`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import TINY
from lab import Lab

import effgan

pytestmark = pytest.mark.slow

CLIENTS = 4


def test_flowers_simulation_comes_to_the_same_hash(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason='Flower\'s simulation is not installed: pip install "flwr[simulation]==1.41.0"')
    config = tmp_path / "four.toml"
    config.write_text(TINY.read_text("utf-8").replace("clients = 3", f"clients = {CLIENTS}"))
    simulated = effgan.run(config, out=tmp_path / "ours")
    nodes = f"num-supernodes={CLIENTS} client-resources-num-cpus=1 init-args-num-cpus=2"
    with Lab(tmp_path / "lab", tls=False, simulation=True) as lab:
        outcome = lab.run(config, tmp_path / "run", federation_config=nodes)
    assert outcome.status == "finished:completed", outcome.log
    hashes = [json.loads((run / "run.json").read_text("utf-8"))["model_hash"] for run in (tmp_path / "run", simulated.path)]
    assert hashes[0] == hashes[1]
    rounds = [event["seconds"] for event in effgan.Run(tmp_path / "run").metrics if event["event"] == "round"]
    print("ray", [round(seconds, 1) for seconds in rounds])
