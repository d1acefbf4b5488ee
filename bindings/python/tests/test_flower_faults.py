"""Sites and servers that fail, as real processes that are killed: `make slow`. docs/reliability.md says what they showed."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import TINY
from lab import Lab, Outcome, wait_for

import effgan

pytestmark = pytest.mark.slow

# Seconds; a round of the tiny run takes five.
DEADLINE = 20
# Flower needs 67 s to notice that a ClientApp's process has died.
LONG_DEADLINE = 90


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four rounds of two clients, so that there is a round before and after each fault."""
    text = TINY.read_text("utf-8").replace("clients = 3", "clients = 2").replace("rounds = 2", "rounds = 3")
    path = tmp_path_factory.mktemp("config") / "two.toml"
    path.write_text(f"{text}\n[federation]\ndeadline = {DEADLINE}\n")
    return path


@pytest.fixture(scope="module")
def simulated(config: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return model_hash(effgan.run(config, out=tmp_path_factory.mktemp("simulated") / "run").path)


def with_deadline(config: Path, seconds: int, folder: Path) -> Path:
    path = folder / f"{seconds}.toml"
    path.write_text(config.read_text("utf-8").replace(f"deadline = {DEADLINE}", f"deadline = {seconds}"))
    return path


def model_hash(run: Path) -> str:
    text: str = json.loads((run / "run.json").read_text("utf-8"))["model_hash"]
    return text


def rounds(run: Path) -> list[dict[str, Any]]:
    return [event for event in effgan.Run(run).metrics if event["event"] == "round"]


def missing(run: Path) -> dict[int, dict[str, str]]:
    """The missing clients with their reasons, by round."""
    return {round_["round"]: {one["name"]: one["reason"] for one in round_.get("missing", [])} for round_ in rounds(run)}


@contextmanager
def lab_of(folder: Path, faults: list[str], **options: Any) -> Iterator[Lab]:
    """A lab whose sites have these faults, and write their messages into ``messages-0`` and so on."""
    tests = {"PYTHONPATH": str(Path(__file__).parent)}
    with Lab(folder, client_app="flower_spies:faulty", environment=tests, **options) as lab:
        for i, fault in enumerate(faults):
            lab.start_supernode(f"site-{i}", f"partition-id={i} fault='{fault}' spy='{folder / f'messages-{i}'}'")
        yield lab


# What a site does in round 2, and what the record says about it.
REASONS = {
    "raises": "refused: work-failed",
    "hangs": f"no answer within {DEADLINE} s",
    "is-late": f"no answer within {DEADLINE} s",
    "dies": "Flower's error",
    "nan": "unusable reply: tensor",
    "shape": "unusable reply: its arrays are not the tensors that it names",
    "garbage": "unusable reply: its arrays are not float32 in C order, as large as their shapes",
}


@pytest.mark.parametrize("fault", REASONS)
def test_a_site_that_fails_is_left_out_by_name_and_welcome_in_the_next_round(
    fault: str, config: Path, tmp_path: Path
) -> None:
    if fault == "dies":
        config = with_deadline(config, LONG_DEADLINE, tmp_path)
    with lab_of(tmp_path / "lab", ["", f"{fault}@2"]) as lab:
        outcome = lab.run(config, tmp_path / "run")
    assert outcome.status == "finished:completed", outcome.log
    absent = missing(tmp_path / "run")
    print(fault, absent, [round(one["seconds"], 1) for one in rounds(tmp_path / "run")])
    assert absent[2].keys() == {"client-0001"} and REASONS[fault] in absent[2]["client-0001"]
    assert [absent[number] for number in (1, 3, 4)] == [{}, {}, {}]
    assert "1 clients (missing: client-000" in outcome.log


def test_a_node_that_is_killed_in_a_round_is_left_out_and_the_run_goes_on(config: Path, tmp_path: Path) -> None:
    with lab_of(tmp_path / "lab", ["", "hangs@2"]) as lab:
        running = lab.submit(config, tmp_path / "run")
        after_round(tmp_path / "run", 1)
        wait_for("the round", lambda: bool(lab.children("site-1", "clientapp")))
        lab.stop("site-1", signal.SIGKILL)
        log, _ = running.communicate(timeout=240)
        status = lab.statuses()[0]
    assert status == "finished:completed", log
    absent = missing(tmp_path / "run")
    print("killed", absent, [round(one["seconds"], 1) for one in rounds(tmp_path / "run")])
    assert [list(absent[number]) for number in (1, 2, 3, 4)] == [[], *[["client-0001"]] * 3]


def test_too_few_sites_end_the_run_with_the_reason(config: Path, tmp_path: Path) -> None:
    strict = tmp_path / "strict.toml"
    strict.write_text(config.read_text("utf-8") + "\n[aggregation]\nmin_clients = 2\n")
    with lab_of(tmp_path / "lab", ["", "nan@2"]) as lab:
        outcome = lab.run(strict, tmp_path / "run")
    assert outcome.status.startswith("finished:failed")
    why = "1 of 2 clients gave a usable reply in round 2, and at least 2 must; client-0001: unusable reply"
    assert why in outcome.log
    info = json.loads((tmp_path / "run/run.json").read_text("utf-8"))
    assert info["status"] == "failed" and why in info["reason"]


def after_round(run: Path, number: int) -> None:
    """Waits until the round's state is saved."""
    kept = run / f"checkpoints/round_{number:04}.safetensors"
    wait_for(f"round {number}", kept.exists, 120)


def after_a_reply(run: Path, number: int) -> None:
    """Waits until one site has replied in the round."""
    folder = run / f"checkpoints/round_{number:04}"
    wait_for(f"a reply of round {number}", lambda: folder.is_dir() and any(folder.iterdir()), 120)


def answers(messages: Path, number: int) -> int:
    """How often a site has done the work of the round."""
    lines = [json.loads(path.read_text("utf-8")) for path in messages.iterdir()]
    return sum(line["type"] != "query" and line["asked"]["config"]["round"] == number for line in lines)


# When the ServerApp is killed, in which round, and the second site's fault, which lets the first site's reply arrive alone.
MOMENTS: dict[str, tuple[Callable[[Path, int], None], int, str]] = {
    "between rounds": (after_round, 1, ""),
    "in a round": (after_a_reply, 2, "waits@2"),
    "while collecting": (after_a_reply, 4, "waits@4"),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_server_app_that_is_killed_comes_to_the_same_hash_when_it_is_run_again(
    moment: str, config: Path, simulated: str, tmp_path: Path
) -> None:
    wait, number, fault = MOMENTS[moment]
    with lab_of(tmp_path / "lab", ["", fault]) as lab:
        running = lab.submit(config, tmp_path / "run")
        wait(tmp_path / "run", number)
        [server_app] = lab.children("superlink", "flwr-serverapp") or lab.children("superlink", "serverapp")
        os.kill(server_app, signal.SIGKILL)
        started = time.monotonic()
        log, _ = running.communicate(timeout=240)
        noticed = time.monotonic() - started
        outcome = lab.run(config, tmp_path / "run")
    print(moment, f"noticed after {noticed:.0f} s", [round(one["seconds"], 1) for one in rounds(tmp_path / "run")])
    assert outcome.status == "finished:completed", outcome.log
    assert "resumes after round" in outcome.log
    assert model_hash(tmp_path / "run") == simulated
    assert all(not absent for absent in missing(tmp_path / "run").values())
    assert answers(tmp_path / "lab/messages-0", number) == 1, "a site whose answer had come was asked again"


def test_a_superlink_that_is_killed_and_started_again_lets_the_run_end_in_the_same_hash(
    config: Path, simulated: str, tmp_path: Path
) -> None:
    patient = with_deadline(config, 300, tmp_path)
    with lab_of(tmp_path / "lab", ["", "waits@2"], database=True) as lab:
        running = lab.submit(patient, tmp_path / "run")
        after_a_reply(tmp_path / "run", 2)
        lab.stop("superlink", signal.SIGKILL)
        time.sleep(5)
        lab.start_superlink()
        running.communicate(timeout=60)
        wait_for("the run's end", lambda: lab.statuses()[0].startswith("finished"), 240)
        status = lab.statuses()[0]
        if status != "finished:completed":
            outcome: Outcome = lab.run(patient, tmp_path / "run")
            assert outcome.status == "finished:completed", outcome.log
    print("superlink", status, [round(one["seconds"], 1) for one in rounds(tmp_path / "run")])
    assert model_hash(tmp_path / "run") == simulated
