"""A federation over Flower: real processes, TLS and node identity on."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from conftest import REPOSITORY, TINY
from lab import Lab, certificates

import effgan

SITES = [f"client-{i:04}" for i in range(2)]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "two.toml"
    path.write_text(TINY.read_text("utf-8").replace("clients = 3", "clients = 2"))
    return path


@pytest.fixture(scope="module")
def simulated(config: Path, tmp_path_factory: pytest.TempPathFactory) -> effgan.Run:
    return effgan.run(config, out=tmp_path_factory.mktemp("simulated") / "run")


def model_hash(run: Path) -> str:
    text: str = json.loads((run / "run.json").read_text("utf-8"))["model_hash"]
    return text


def test_two_sites_come_to_the_hash_of_the_simulation_and_no_other_node_comes_in(
    config: Path, simulated: effgan.Run, tmp_path: Path
) -> None:
    spies = "flower_spies:spied"
    with Lab(tmp_path / "lab", client_app=spies, environment={"PYTHONPATH": str(Path(__file__).parent)}) as lab:
        for i in range(2):
            lab.start_supernode(f"site-{i}", f"partition-id={i} spy='{tmp_path / 'messages'}'")
        lab.start_supernode("stranger", "partition-id=0", registered=False)
        (tmp_path / "other").mkdir()
        certificates(tmp_path / "other")
        lab.start_supernode("fooled", "partition-id=0", ca=tmp_path / "other/ca.crt")
        outcome = lab.run(config, tmp_path / "run")
        refused = {name: (lab.folder / f"{name}.log").read_text("utf-8") for name in ["stranger", "fooled"]}
    assert (outcome.code, outcome.status) == (0, "finished:completed"), outcome.log
    assert model_hash(tmp_path / "run") == model_hash(simulated.path)
    for said in ["2 of 2 sites connected", "round 1   averaged 2 clients: loss D", "round 3   collected 2 clients"]:
        assert said in outcome.log
    assert [site["name"] for site in json.loads((tmp_path / "run/sites.json").read_text("utf-8"))] == SITES
    assert "PERMISSION_DENIED" in refused["stranger"] or "not" in refused["stranger"], refused["stranger"]
    assert "CERTIFICATE_VERIFY_FAILED" in refused["fooled"], refused["fooled"]
    check_messages(tmp_path / "messages")
    check_run_folder(tmp_path / "run", simulated.path)


def test_sites_that_take_turns_come_to_the_hash_of_the_simulation(config: Path, tmp_path: Path) -> None:
    turns = tmp_path / "turns.toml"
    turns.write_text(config.read_text("utf-8").replace('kind = "effgan"', 'kind = "cyclic-effgan"'))
    simulated = effgan.run(turns, out=tmp_path / "simulated")
    with Lab(tmp_path / "lab") as lab:
        for i in range(2):
            lab.start_supernode(f"site-{i}", f"partition-id={i}")
        outcome = lab.run(turns, tmp_path / "run")
    assert (outcome.code, outcome.status) == (0, "finished:completed"), outcome.log
    assert model_hash(tmp_path / "run") == model_hash(simulated.path)
    visited = re.findall("round [12]   trained at (client-000[01]):", outcome.log)
    assert sorted(visited) == SITES


def test_a_private_run_over_two_sites_sends_what_a_plain_one_does_and_its_losses_are_of_generated_images(
    config: Path, tmp_path: Path
) -> None:
    private = tmp_path / "private.toml"
    text = config.read_text("utf-8").replace('kind = "dcgan"', 'kind = "dcgan"\nnorm = "none"')
    private.write_text(text + "\n[privacy]\nnoise_multiplier = 2.0\n")
    environment = {"PYTHONPATH": str(Path(__file__).parent)}
    with Lab(tmp_path / "lab", client_app="flower_spies:spied", environment=environment) as lab:
        for i in range(2):
            lab.start_supernode(f"site-{i}", f"partition-id={i} spy='{tmp_path / 'messages'}'")
        outcome = lab.run(private, tmp_path / "run")
    assert (outcome.code, outcome.status) == (0, "finished:completed"), outcome.log
    assert "privacy: ε = " in outcome.log
    check_messages(tmp_path / "messages")
    info = json.loads((tmp_path / "run/run.json").read_text("utf-8"))
    assert [statement["noise_multiplier"] for statement in info["privacy"]] == [2.0] * len(info["privacy"])
    assert "privacy: ε = " in (tmp_path / "run/report.html").read_text("utf-8")


def check_messages(folder: Path) -> None:
    """Everything that left a site in a whole run is listed in docs/what-leaves-your-site.md."""
    messages = [json.loads(file.read_text("utf-8")) for file in sorted(folder.iterdir())]
    by_type = {kind: [message["answered"] for message in messages if message["type"] == kind] for kind in TYPES}
    assert sum(map(len, by_type.values())) == len(messages)
    assert {kind: len(answers) for kind, answers in by_type.items()} == {"query": 2, "train": 4, "train.finetune": 2}
    for answer in by_type["query"]:
        assert answer.keys() == {"metrics", "config"}
        assert answer["metrics"].keys() == {"num-examples", "channels", "height", "width", "classes", "arithmetic-version"}
        assert answer["config"].keys() == {"client-name", "version", "kind", "config-hash"}
    for kind, networks in [("train", {"generator", "discriminator"}), ("train.finetune", {"generator"})]:
        for answer in by_type[kind]:
            assert answer.keys() == {"arrays", "metrics", "config"}
            assert answer["arrays"].keys() == networks
            assert answer["config"].keys() == {"tensors", "kind", "config-hash"}
            assert {name.partition(".")[0] for name in json.loads(answer["config"]["tensors"])} == networks
            assert answer["metrics"].keys() == {"num-examples", "loss_d", "loss_g", "steps", "seconds", "round", "iteration"}
    sent = {name for message in messages for name in message["asked"]["config"]}
    assert "dir" not in next(message["asked"]["config"]["config"] for message in messages)
    page = (REPOSITORY / "docs/what-leaves-your-site.md").read_text("utf-8")
    named = {name for answers in by_type.values() for answer in answers for key in ("metrics", "config") for name in answer.get(key, {})}
    assert [name for name in sorted(named | sent) if f"`{name}`" not in page] == []


TYPES = ["query", "train", "train.finetune"]


def check_run_folder(run: Path, simulated: Path) -> None:
    """The layout is that of the simulation, except for the files that need all images in one place."""
    ours, theirs = layout(run), layout(simulated)
    assert ours - theirs == {"sites.json", "ledgers.jsonl"}
    assert {name for name in theirs - ours if not name.startswith("checkpoints")} == {"partition.json", "samples/real.png"}
    report = (run / "report.html").read_text("utf-8")
    assert "Unknown: the sites do not report how many images of each class they have" in report
    assert "No scores: the server has no images" in report
    assert effgan.Model.load(run).members == SITES


def layout(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if "tfevents" not in path.name}


def test_what_cannot_be_run_over_sites_ends_at_once_with_the_reason(config: Path, tmp_path: Path) -> None:
    central = tmp_path / "central.toml"
    central.write_text(config.read_text("utf-8").replace('kind = "effgan"', 'kind = "central"').replace("fine_tune_epochs = 8\n", ""))
    with Lab(tmp_path / "lab", tls=False) as lab:
        outcome = lab.run(central, tmp_path / "run")
    assert outcome.status.startswith("finished:failed") and not (tmp_path / "run").exists()
    assert 'algorithm.kind = "central" trains on all images in one place' in outcome.log
