"""Mistakes: one class for each kind, one line each, with the argument, its value and its bound."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from conftest import TINY, Script

import effgan
from effgan import _effgan

ZEROS = np.zeros((60, 1, 28, 28), np.uint8)
Wrong = Callable[[effgan.Run, Path], object]


def train(**arguments: object) -> Wrong:
    return lambda _, folder: effgan.run(**{"config": TINY, "out": folder / "run", **arguments})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "error", "said"),
    [
        (train(config="nowhere.toml"), effgan.UsageError, "nowhere.toml: No such file"),
        (train(config={"name": "x"}), effgan.UsageError, "config lacks `seed`, `dataset.name`, `partition.kind`"),
        (train(config={"local": {"ema": None}}), effgan.UsageError, "local.ema is of type NoneType; expected a number"),
        (train(config={1: 2}), effgan.UsageError, "the config has the key 1, which is not a str"),
        (train(settings={"seed": float("nan")}), effgan.UsageError, "seed = NaN is not finite"),
        (train(settings={"seed": 2**70}), effgan.UsageError, "seed = 1180591620717411303424 is not a 64-bit integer"),
        (train(settings={"local.epoch": 1}), effgan.UsageError, "[local] unknown key `epoch`, expected one of"),
        (train(settings={"local.epochs": "1"}), effgan.UsageError, 'local.epochs = "1", expected a whole number'),
        (train(jobs=0), effgan.UsageError, "jobs = 0 must be from 1 to 1024"),
        (train(jobs=-2), effgan.UsageError, "jobs = -2 must be at least 0"),
        (train(seed=-1), effgan.UsageError, "seed = -1 must be at least 0"),
        (train(out=Path("/")), effgan.UsageError, "/ exists and nothing is overwritten"),
        (train(settings={"dataset": {"name": "mnist", "dir": Path("/nowhere")}}), effgan.DataError, "/nowhere"),
        (train(settings={"local.learning_rate": 1e30}), effgan.RunFailed, "lower local.learning_rate"),
        (lambda run, _: run.model.sample(0), effgan.UsageError, "n = 0 must be from 1 to 10000000"),
        (lambda run, _: run.model.sample(10**12), effgan.UsageError, "n = 1000000000000 must be from 1 to"),
        (lambda run, _: run.model.sample(1, member="x"), effgan.UsageError, "no member x; it has client-0000, client-0001"),
        (lambda run, _: run.model.sample(1, member=["global", "x"]), effgan.UsageError, "global cannot be combined"),
        (lambda _, folder: effgan.Model.load(folder), effgan.DataError, "not a model folder (no manifest.json)"),
        (lambda _, folder: effgan.Run(folder), effgan.DataError, "is not a run folder: it has no run.json"),
        (lambda *_: effgan.evaluate(ZEROS.astype("f4")), effgan.UsageError, "expected images of u8 [n, c, h, w], [n, h, w, c] or [n, h, w], a Model or a path"),
        (lambda *_: effgan.evaluate(ZEROS[0, 0]), effgan.UsageError, "got an array that has shape [28, 28], expected [n, h, w], [n, c"),
        (lambda *_: effgan.evaluate([1]), effgan.UsageError, "got list"),  # type: ignore[arg-type]
        (lambda *_: effgan.evaluate(ZEROS.reshape(-1, 2, 14, 28)), effgan.UsageError, "shape [60, 2, 14, 28], expected [n, c, h, w] or [n, h"),
        (lambda *_: effgan.evaluate(ZEROS.reshape(-1, 1, 784, 1)), effgan.UsageError, "has shape [60, 1, 784, 1], of which both 1 and 1 may be"),
        (lambda *_: effgan.evaluate(ZEROS[:, :, 28:]), effgan.UsageError, "holds no images, its shape is [60, 1, 0, 28]"),
        (lambda *_: effgan.evaluate(ZEROS, ZEROS), effgan.UsageError, "images without a data set have no feature network of their own; pass --features (in"),
        (lambda *_: effgan.evaluate(ZEROS, ZEROS.astype("f4"), features="mnist"), effgan.UsageError, "expected as reference a data set's name"),
        (lambda *_: effgan.evaluate(ZEROS, 7), effgan.UsageError, "got int"),  # type: ignore[arg-type]
        (lambda *_: effgan.evaluate(ZEROS, resize="x"), effgan.UsageError, "resize = x is not one of pytorch-fid, torch-fidelity, clean"),
        (lambda *_: effgan.evaluate("nowhere.npy"), effgan.DataError, "nowhere.npy"),
        (lambda run, _: effgan.evaluate(ZEROS, run.path), effgan.UsageError, "is a run or model, and a reference is real images"),
        (lambda *_: effgan.evaluate(ZEROS, n=61), effgan.UsageError, "n = 61 is more than the 60 images given"),
        (lambda *_: effgan.evaluate(ZEROS, n=1), effgan.UsageError, "n = 1 must be from 2 to 2000, the images of mnist-mini"),
        (lambda *_: effgan.evaluate(ZEROS, "cifar"), effgan.UsageError, "no data set is called `cifar`"),
        (lambda *_: effgan.evaluate(ZEROS, {"nam": "x"}), effgan.UsageError, "reference: unknown field `nam`"),
    ],
)
def test_a_mistake_is_one_line(run: effgan.Run, tmp_path: Path, wrong: Wrong, error: type[Exception], said: str) -> None:
    with pytest.raises(effgan.EffganError) as caught:
        wrong(run, tmp_path)
    assert caught.type is error
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_wrong_key_is_refused_before_data_are_read_or_a_site_is_looked_for(tmp_path: Path) -> None:
    out, wrong = tmp_path / "run", tmp_path / "wrong.toml"
    text = TINY.read_text("utf-8").replace('name = "mnist-mini"', 'name = "mnist"\ndir = "/nowhere"')
    wrong.write_text(text.replace("batch_size = 16", "batch_size = 16\nbeta1 = 2.0"))

    def never(*_: object) -> NoReturn:
        pytest.fail("a site was looked for")

    starts: list[Callable[[], object]] = [
        lambda: effgan.run(wrong, out=out),
        lambda: effgan.deal(wrong),
        lambda: effgan.Steps(wrong, {"a": 40}, image_shape=(1, 28, 28), num_classes=10),
        lambda: _effgan.federate(wrong, out=out, nodes=never, push=never, pull=never, aggregate=never, log=never, server=None),
    ]
    for start in starts:
        with pytest.raises(effgan.UsageError, match=r"local\.beta1 = 2\.0 must be at least 0 and below 1"):
            start()
    assert list(tmp_path.iterdir()) == [wrong]


def test_a_damaged_model_is_a_data_error(run: effgan.Run, tmp_path: Path) -> None:
    model = tmp_path / "model"
    (model / "members").mkdir(parents=True)
    (model / "manifest.json").write_bytes((run.path / "model/manifest.json").read_bytes())
    (model / "members/client-0000.safetensors").write_bytes(b"damaged")
    with pytest.raises(effgan.DataError, match=r"client-0000\.safetensors: its sha256 is"):
        effgan.Model.load(model).sample(1, member="client-0000")


def test_a_panic_is_an_ordinary_exception(script: Script, tmp_path: Path) -> None:
    # EFFGAN_FAULT makes the program panic, as a bug would, while it writes the model.
    text = """
import os, sys, effgan
os.environ["EFFGAN_FAULT"] = "panic:manifest:1"
try:
    effgan.run(sys.argv[1], out=sys.argv[2])
except Exception as error:
    print(type(error).__name__, type(error).__mro__[1].__name__, error)
"""
    said, _ = script(text, TINY, tmp_path / "run").communicate(timeout=60)
    assert said.startswith("InternalError EffganError EFFGAN_FAULT panics while ") and said.endswith("this is a bug, please report it\n")


def test_an_instruction_set_that_the_processor_lacks_is_a_mistake(script: Script, run: effgan.Run) -> None:
    text = """
import os, sys, effgan
os.environ["EFFGAN_ISA"] = "none-such"
try:
    effgan.Model.load(sys.argv[1]).sample(1)
except effgan.UsageError as error:
    print(error)
"""
    said, _ = script(text, run.path).communicate(timeout=60)
    assert said.startswith("EFFGAN_ISA = none-such is not available on this processor, which has portable")


def test_a_device_that_is_not_there_is_a_mistake(run: effgan.Run, tmp_path: Path) -> None:
    for call in (
        lambda: run.model.sample(1, device="gpu:200"),
        lambda: effgan.evaluate(run.model, "mnist-mini", n=100, device="gpu:200"),
        lambda: effgan.run(TINY, out=tmp_path / "run", settings={"run.device": "gpu:200"}),
    ):
        with pytest.raises(effgan.UsageError, match="device = gpu:200 is not .*; give cpu"):
            call()
    with pytest.raises(effgan.UsageError, match="`card` is no device; give cpu, auto, or one that effgan devices lists"):
        run.model.sample(1, device="card")
    assert (run.model.sample(2, device="cpu") == run.model.sample(2)).all()


def test_a_wrong_environment_is_told_at_import(script: Script) -> None:
    text = "import os\nos.environ['EFFGAN_ISA'] = 'none-such'\nimport effgan"
    child = script(text)
    _, error = child.communicate(timeout=60)
    assert child.returncode == 1
    assert error.splitlines()[-1].startswith("effgan.UsageError: EFFGAN_ISA = none-such is not available on this processor, which has portable")
