"""Runs from Python: equal to the program's, with progress, and interrupted."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import TINY, Script

import effgan

TABLES: dict[str, Any] = {
    "name": "tiny",
    "seed": 1,
    "dataset": {"name": "mnist-mini", "limit": 120},
    "partition": {"kind": "by-label", "classes_per_client": 5, "clients": 3, "held_out": 0.2},
    "network": {"kind": "dcgan", "latent_dim": 8, "base_channels": 8},
    "local": {"batch_size": 16, "learning_rate": 2e-3, "epochs": 4},
    "algorithm": {"kind": "effgan", "rounds": 2, "fine_tune_epochs": 8},
    "evaluation": {"samples": 200},
}
# More work than a test may take.
ENDLESS = {"local.epochs": 50, "algorithm.rounds": 1000}


def info(folder: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((folder / "run.json").read_text())
    return value


def test_a_run_is_the_run_of_the_program(run: effgan.Run, program: Path, tmp_path: Path) -> None:
    subprocess.run([program, "run", TINY, "--out", tmp_path / "program"], check=True, capture_output=True)
    theirs = effgan.Run(tmp_path / "program")
    assert info(run.path)["model_hash"] == info(theirs.path)["model_hash"]
    without_times = [[{**score, "seconds": 0} for score in of.scores] for of in (run, theirs)]
    assert without_times[0] == without_times[1]


def test_a_dict_is_a_config(run: effgan.Run, tmp_path: Path) -> None:
    other = effgan.run(TABLES, out=tmp_path / "run")
    assert (other.path / "config.toml").read_text() == (run.path / "config.toml").read_text()
    assert info(other.path)["model_hash"] == info(run.path)["model_hash"]


def test_settings_and_seed_replace_values(tmp_path: Path) -> None:
    settings = {"local.epochs": 1, "local.learning_rate": 0.001, "network": {"kind": "dcgan", "base_channels": 4}}
    run = effgan.run(TINY, out=tmp_path / "run", seed=7, settings=settings, jobs=1)
    written = (run.path / "config.toml").read_text()
    for line in ("seed = 7", "epochs = 1", "learning_rate = 0.001", "base_channels = 4"):
        assert line in written.splitlines()
    assert info(run.path)["jobs"] == 1


def test_a_run_folder_is_opened_again(run: effgan.Run) -> None:
    again = effgan.Run(run.path)
    assert again.metrics == run.metrics
    assert [score["of"] for score in again.scores][:2] == ["floor", "average"]
    assert "<html" in again.report.read_text("utf-8")[:200]


def test_the_verdict_on_a_run_of_a_few_steps_says_what_to_try(run: effgan.Run) -> None:
    assert run.verdict is not None
    assert (run.verdict["verdict"], run.verdict["advice"][:16]) == ("short", "try more epochs ")
    assert run.metrics[-1]["event"] == "stage", "the verdict is not the last event, and found all the same"


def test_an_audit_is_that_of_the_program(tmp_path: Path, program: Path) -> None:
    settings = {"partition": {"kind": "iid", "clients": 3, "held_out": 0.5}}
    run = effgan.run(TINY, out=tmp_path / "run", settings=settings)
    said = subprocess.run([program, "audit", run.path, "--num", "100", "--json"], check=True, capture_output=True).stdout
    audit = run.audit(samples=100)
    assert audit == json.loads(said)
    assert [member["num_train"] for member in audit["members"]] == [20, 20, 20]
    assert audit["average"]["num_held_out"] == 60 and 0 <= audit["ensemble"]["attacks"][0]["auc"] <= 1
    with pytest.raises(effgan.UsageError, match="samples = 1 must be from 2 to 100000"):
        run.audit(samples=1)


def test_progress_hears_rounds_and_scores_in_the_callers_thread(tmp_path: Path) -> None:
    heard: list[tuple[threading.Thread, dict[str, Any]]] = []
    run = effgan.run(TINY, out=tmp_path / "run", progress=lambda event: heard.append((threading.current_thread(), event)))
    assert [event for _, event in heard] == [event for event in run.metrics if event["event"] in ("round", "score")]
    assert {thread for thread, _ in heard} == {threading.current_thread()}


def test_what_progress_raises_ends_the_run_and_is_raised(tmp_path: Path) -> None:
    class Enough(Exception):
        pass

    def stop(event: dict[str, Any]) -> None:
        if event["event"] == "round":
            raise Enough

    with pytest.raises(Enough):
        effgan.run(TINY, out=tmp_path / "run", settings=ENDLESS, progress=stop)
    assert info(tmp_path / "run")["status"] == "interrupted"


def test_ctrl_c_ends_a_run_within_a_second(script: Script, tmp_path: Path) -> None:
    # A shell's background jobs inherit an ignored SIGINT, so the script restores Python's own handler.
    text = """
import signal, sys, time, effgan
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    effgan.run(sys.argv[1], out=sys.argv[2], settings={"local.epochs": 1_000_000})
except KeyboardInterrupt:
    print("KeyboardInterrupt", time.monotonic())
"""
    child = script(text, TINY, tmp_path / "run")
    wait_for(tmp_path / "run" / "model")
    time.sleep(0.5)  # the round has begun and never ends
    at = time.monotonic()
    child.send_signal(signal.SIGINT)
    said, error = child.communicate(timeout=30)
    assert (child.returncode, error) == (0, "")
    name, ended = said.split()
    assert name == "KeyboardInterrupt" and float(ended) - at < 1.0
    assert info(tmp_path / "run")["status"] == "interrupted"


def test_other_threads_go_on_while_a_run_works(tmp_path: Path) -> None:
    counted, done = [0], threading.Event()

    def count() -> None:
        while not done.is_set():
            counted[0] += 1
            time.sleep(0.001)

    thread = threading.Thread(target=count)
    thread.start()
    started = time.monotonic()
    effgan.run(TINY, out=tmp_path / "run", jobs=1)
    seconds, counted_meanwhile = time.monotonic() - started, counted[0]
    done.set()
    thread.join()
    # A thousand per second at best, hundreds on a busy machine; with the lock held there would be only a few at the start and the end.
    assert counted_meanwhile > 20 * seconds


def wait_for(path: Path) -> None:
    for _ in range(600):
        if path.exists():
            return
        time.sleep(0.05)
    raise AssertionError(f"{path} never came")


def test_a_run_that_was_interrupted_goes_on_to_the_same_model(run: effgan.Run, tmp_path: Path) -> None:
    def interrupt(event: dict[str, Any]) -> None:
        if event["event"] == "round":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        effgan.run(TABLES, out=tmp_path / "run", progress=interrupt)
    cut = effgan.Run(tmp_path / "run")
    assert info(cut.path)["status"] == "interrupted"
    heard: list[dict[str, Any]] = []
    cut.resume(progress=heard.append)
    assert info(cut.path)["model_hash"] == info(run.path)["model_hash"]
    assert [(score["of"], score["fd_small"]) for score in cut.scores] == [(s["of"], s["fd_small"]) for s in run.scores]
    assert heard[-1] == cut.scores[-1]
    with pytest.raises(effgan.UsageError, match="may not change local.epochs from 4 to 5; start a new run for it"):
        cut.resume(settings={"local.epochs": 5})
