"""Samples and scores from Python equal those of the program and of the run."""

from __future__ import annotations

import copy
import gzip
import json
import multiprocessing
import pickle
import re
import shutil
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import effgan
from conftest import REPOSITORY, TINY


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
    images, small = digits(200)[100:], digits(100)[:, :, ::2, ::2]
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


def test_a_network_that_the_program_trained_scores_the_images_that_it_knows_and_no_others(program: Path, tmp_path: Path) -> None:
    # Stripes along rows or along columns.
    rows = np.arange(12)[None, None, :, None] * np.arange(4, 64)[:, None, None, None]
    rows = np.broadcast_to(rows % 100 + 50, (60, 1, 12, 12)).astype(np.uint8)
    images, labels = np.concatenate([rows, rows.swapaxes(2, 3)]), np.repeat([0, 1], 60)
    np.savez(tmp_path / "stripes.npz", images=images, labels=labels)
    np.savez(tmp_path / "swapped.npz", images=images, labels=1 - labels)
    command = [str(program), "features", "train", "npz", "--dir=stripes.npz", "--epochs=30", "--out=net.safetensors"]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    real = {"name": "npz", "dir": str(tmp_path / "stripes.npz")}
    scores = effgan.evaluate(images[::3], real, features=tmp_path / "net.safetensors", n=12)
    assert "net.safetensors, trained on npz, test accuracy 100.0 %" in scores["features"]
    assert scores["fd_own"] >= 0 and scores["own_network"]["test_accuracy"] == 1.0
    # A run is scored against its own images, by the network that it was scored with.
    settings = {"partition": {"kind": "iid", "clients": 2}, "local.epochs": 1, "algorithm.fine_tune_epochs": 1}
    features = str(tmp_path / "net.safetensors")
    settings |= {"dataset": real, "evaluation": {"every": 1, "features": features}, "name": "stripes"}
    striped = effgan.run(TINY, out=tmp_path / "stripes", jobs=2, settings=settings)
    for again in (effgan.evaluate(striped.path), effgan.evaluate(striped.model)):
        assert again["fd_own"] == striped.scores[-1]["fd_own"] and again["own_network"] == scores["own_network"]
    swapped = {"name": "npz", "dir": str(tmp_path / "swapped.npz")}
    with pytest.raises(effgan.UsageError, match="has the class of 0.0 % of 12 reference images right"):
        effgan.evaluate(images[::3], swapped, features=tmp_path / "net.safetensors", n=12)


def test_arrays_with_their_channels_last_or_without_are_the_same_images(run: effgan.Run) -> None:
    grey = run.model.sample(200, seed=1)
    expected = effgan.evaluate(grey)
    assert effgan.evaluate(grey[:, 0]) == effgan.evaluate(np.moveaxis(grey, 1, 3)) == expected
    coloured = np.concatenate([grey, 255 - grey, np.roll(grey, 5, 3)], axis=1)
    in_colours = effgan.evaluate(coloured, "mnist-mini")
    assert effgan.evaluate(np.moveaxis(coloured, 1, 3), "mnist-mini") == in_colours != expected
    with pytest.raises(effgan.UsageError, match="images in colours are compared with nothing by default"):
        effgan.evaluate(coloured)
    real = digits(300)
    by_reference = effgan.evaluate(grey, real, features="mnist")
    assert effgan.evaluate(grey, np.moveaxis(real, 1, 3), features="mnist") == by_reference == effgan.evaluate(grey, real[:, 0], features="mnist")


def test_a_model_is_pickled_and_copied_by_its_folder(run: effgan.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copied = tmp_path / "model"
    shutil.copytree(run.path / "model", copied)
    monkeypatch.chdir(tmp_path)
    model = effgan.Model.load("model")
    images = model.sample(20, seed=3)
    # Another process may have another working folder.
    monkeypatch.chdir("/")
    pickled = pickle.dumps(model)
    for other in (pickle.loads(pickled), copy.copy(run.model), copy.deepcopy(run.model)):
        assert repr(other).startswith("<effgan.Model ") and other.members == model.members
        np.testing.assert_array_equal(other.sample(20, seed=3), images)


def test_a_pool_of_processes_draws_from_models(run: effgan.Run) -> None:
    models = [run.model] * 3
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        drawn = pool.map(first_images, models)
    assert all((images == run.model.sample(10, seed=4)).all() for images in drawn)


def first_images(model: effgan.Model) -> np.ndarray:
    return model.sample(10, seed=4)


def test_unpickling_refuses_what_loading_refuses(run: effgan.Run, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(run.path / "model", folder)
    pickled = pickle.dumps(effgan.Model.load(folder))
    manifest = folder / "manifest.json"
    text = manifest.read_text("utf-8")
    for hostile in (
        "{",
        text.replace('"client-0000"', '"../../x"'),
        text.replace('"format_version": 1', '"format_version": 2'),
        re.sub(r'"weight": [0-9.]+', '"weight": -1.0', text, count=1),
    ):
        assert hostile != text
        manifest.write_text(hostile, "utf-8")
        with pytest.raises(effgan.DataError) as loaded:
            effgan.Model.load(folder)
        with pytest.raises(effgan.DataError) as unpickled:
            pickle.loads(pickled)
        assert str(unpickled.value) == str(loaded.value)
    # What would be loaded is another model.
    manifest.write_text(re.sub(r'"weight": [0-9.]+', '"weight": 7.0', text, count=1), "utf-8")
    with pytest.raises(effgan.DataError, match="has changed since the model was pickled; load it again"):
        pickle.loads(pickled)
    # A generator that is damaged is found when it is read.
    manifest.write_text(text, "utf-8")
    (folder / "global.safetensors").write_bytes(b"no")
    with pytest.raises(effgan.DataError, match=r"global\.safetensors"):
        pickle.loads(pickled).sample(1, member="global")
    shutil.rmtree(folder)
    with pytest.raises(effgan.DataError, match="not a model folder"):
        pickle.loads(pickled)


def test_classes_are_drawn_by_name_or_number_and_one_without_images_is_refused(tmp_path: Path) -> None:
    # Stripes of two classes; the third has no image at any client, since only the first images are dealt.
    labels = np.repeat([0, 1, 2], [40, 40, 20])
    images = np.random.default_rng(1).integers(0, 256, (100, 12, 12), np.uint8)
    np.savez(tmp_path / "data.npz", images=images, labels=labels)
    settings = {
        "dataset": {"name": "npz", "dir": tmp_path / "data.npz", "limit": 60},
        "partition": {"kind": "iid", "clients": 3, "min_examples": 1},
        "network.conditional": True,
        "evaluation.samples": 6,
    }
    model = effgan.run(TINY, out=tmp_path / "run", settings=settings).model
    assert model.classes == ["0", "1", "2"]
    ones = model.sample(6, classes="1")
    np.testing.assert_array_equal(model.sample(6, classes=[1]), ones)
    np.testing.assert_array_equal(model.sample(6, classes="all")[1::2], ones[1::2])
    for refused in ("2", 2, [0, 2]):
        with pytest.raises(effgan.UsageError, match="class 2 cannot be drawn: no client had a training image of it; the classes that can be"):
            model.sample(6, classes=refused)
    with pytest.raises(effgan.UsageError, match="nor one of 0, 1, 2"):
        model.sample(6, classes="x")


def digits(n: int) -> np.ndarray:
    """The first n test images of the built-in data set, u8 [n, 1, 28, 28]."""
    packed = (REPOSITORY / "crates/effgan-data/assets/mnist-mini/t10k-images-idx3-ubyte.gz").read_bytes()
    return np.frombuffer(gzip.decompress(packed), np.uint8)[16:].reshape(-1, 1, 28, 28)[:n].copy()


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
