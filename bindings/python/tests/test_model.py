"""Samples and scores from Python equal those of the program and of the run."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import effgan


@pytest.mark.parametrize("member", [None, "client-0001", ["client-0000", "client-0002"], "global"])
def test_samples_are_those_of_the_program(
    run: effgan.Run, program: Path, tmp_path: Path, member: str | list[str] | None
) -> None:
    names = [member] if isinstance(member, str) else member or []
    flags = [flag for name in names for flag in ("--member", name)]
    out = tmp_path / "images.npy"
    command = [str(program), "sample", str(run.path), "--num=100", "--seed=3", f"--out={out}", *flags]
    subprocess.run(command, check=True, capture_output=True)
    ours = run.model.sample(100, seed=3, member=member)
    assert ours.dtype == np.uint8 and ours.shape == (100, 1, 28, 28)
    np.testing.assert_array_equal(ours, np.load(out))


def test_neither_jobs_nor_number_change_an_image(run: effgan.Run) -> None:
    whole = run.model.sample(150, seed=5, jobs=1)
    np.testing.assert_array_equal(whole[:70], run.model.sample(70, seed=5, jobs=3))
    assert (whole != run.model.sample(150, seed=6)).any()


def test_a_model_says_what_it_holds(run: effgan.Run) -> None:
    model = effgan.Model.load(run.path / "model")
    assert model.members == ["client-0000", "client-0001", "client-0002"]
    assert model.image_shape == (1, 28, 28)
    assert model.classes == []
    # n_k / n, with n_k from the run's record.
    clients = [event for event in run.metrics if event["event"] == "round"][-1]["clients"]
    n = sum(client["num_examples"] for client in clients)
    assert model.weights == {client["name"]: client["num_examples"] / n for client in clients}


def test_a_model_is_scored_as_in_its_run(run: effgan.Run) -> None:
    ours = effgan.evaluate(run.model, n=200, seed=1)
    floor, ensemble = run.scores[0], run.scores[-1]
    assert (floor["of"], ensemble["of"]) == ("floor", "ensemble")
    for name in ("n", "fd_small", "class_kl", "modes", "class_counts"):
        assert (ours[name], ours["floor"][name]) == (ensemble[name], floor[name])


def test_images_are_scored_whatever_their_strides(run: effgan.Run) -> None:
    images = run.model.sample(200, seed=1)
    spread = np.repeat(images, 2, axis=0)[::2]
    assert not spread.flags.c_contiguous
    of_model = effgan.evaluate(run.model, n=200)
    assert effgan.evaluate(images) == effgan.evaluate(spread) == of_model
    assert effgan.evaluate(run.model.sample(300, seed=1), {"name": "mnist-mini"}, n=200) == of_model


def test_arrays_and_paths_are_scored_against_each_other_as_by_the_program(run: effgan.Run, program: Path, tmp_path: Path) -> None:
    images, others = run.model.sample(100, seed=1), run.model.sample(100, seed=2)
    small = others[:, :, ::2, ::2]
    coloured = np.repeat(small, 3, axis=1)
    for name, array in (("images.npy", images), ("coloured.npy", coloured)):
        np.save(tmp_path / name, array)
    command = [str(program), "evaluate", "images.npy", "--reference=coloured.npy", "--features=mnist", "--json"]
    theirs = json.loads(subprocess.run(command, check=True, capture_output=True, cwd=tmp_path).stdout)
    ours = effgan.evaluate(images, coloured, features="mnist")
    assert ours["warnings"][-1].startswith("images of 1 × 28 × 28 and reference images of 3 × 14 × 14 are converted to 1 × 28 × 28")
    by_path = effgan.evaluate(str(tmp_path / "images.npy"), tmp_path / "coloured.npy", features="mnist")
    for other in (theirs, by_path, effgan.evaluate(images, small, features="mnist")):
        assert all(other[name] == ours[name] for name in ("n", "fd_small", "kd_small", "precision", "coverage"))
    assert effgan.evaluate(coloured, images, features="mnist")["fd_small"] == pytest.approx(ours["fd_small"], rel=1e-9)
    assert effgan.evaluate(run.path, n=200)["fd_small"] == effgan.evaluate(run.model, n=200)["fd_small"]


def test_other_threads_go_on_while_samples_are_drawn(run: effgan.Run) -> None:
    model = run.model
    drawn: list[int] = []
    thread = threading.Thread(target=lambda: drawn.append(len(model.sample(20_000, jobs=1))))
    thread.start()
    steps = 0
    while thread.is_alive():
        steps += 1
        time.sleep(0.001)
    # If the interpreter's lock were held, this loop would reach its second step only after all samples are drawn.
    assert drawn == [20_000] and steps > 20
