"""Train one image generator across sites that cannot share their data.

    run = effgan.run("configs/quickstart.toml")
    images = run.model.sample(64, seed=1)          # u8 [64, 1, 28, 28]
    scores = effgan.evaluate(run.model)            # {"fd_small": …, "modes": …, "floor": {…}, …}

All arithmetic is in Rust. Other Python threads keep running meanwhile, and Ctrl-C stops a run after the current training step.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from . import _effgan
from ._effgan import (
    Broadcast,
    DataError,
    EffganError,
    Exchange,
    InternalError,
    Model,
    RunFailed,
    State,
    Steps,
    Update,
    UsageError,
    __version__,
    deal,
)

__all__ = [
    "Broadcast",
    "DataError",
    "EffganError",
    "Exchange",
    "InternalError",
    "Model",
    "Run",
    "RunFailed",
    "State",
    "Steps",
    "Update",
    "UsageError",
    "__version__",
    "deal",
    "evaluate",
    "run",
]


class Run:
    """A run folder.

    ``path`` is the folder and ``report`` the page in it.
    """

    path: Path

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Opens the run folder ``path``.

        Raises ``DataError`` when it is not a run folder.
        """
        self.path = Path(path)
        if not (self.path / "run.json").is_file():
            raise DataError(f"{self.path} is not a run folder: it has no run.json")

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """All events of the run, in order: rounds, losses, scores and stages, distinguished by ``"event"``."""
        return [json.loads(line) for line in (self.path / "metrics.jsonl").read_text("utf-8").splitlines()]

    @property
    def scores(self) -> list[dict[str, Any]]:
        """All scores of the run, in order: ``"of"``, ``"round"``, and numbers as in :func:`evaluate`."""
        return [event for event in self.metrics if event["event"] == "score"]

    @property
    def verdict(self) -> dict[str, Any] | None:
        """What the numbers of a finished run say of it: ``"verdict"`` (``"fine"``, ``"short"``, ``"collapsed"``, ``"memorising"`` or
        ``"diverged"``), ``"reason"``, and ``"advice"`` unless it is fine. ``None`` for a run that is not done."""
        verdicts = [event for event in self.metrics if event["event"] == "verdict"]
        return verdicts[-1] if verdicts else None

    def audit(self, *, samples: int = 10_000, jobs: int | None = None) -> dict[str, Any]:
        """Whether the images that generators of this simulated run were trained on can be told from images that they never saw, by ``samples`` of each.

        The result has ``members``, and where there are such ``average`` and ``ensemble``; each has ``num_train``, ``num_held_out``, ``copies``, and as
        ``attacks`` the area under the ROC curve (``auc``, from ``auc_low`` to ``auc_high``; 0.5 is guessing) of each ``attack`` in each ``space``, plain and
        ``is_calibrated``: less what the generator that all members began with tells. ``notes`` lists what to know, such as members that have too few images.
        """
        audit: dict[str, Any] = json.loads(_effgan.audit(self.path, samples=samples, jobs=jobs))
        return audit

    @property
    def model(self) -> Model:
        """The generators of the run. Raises ``DataError`` while there are none yet."""
        return Model.load(self.path)

    @property
    def report(self) -> Path:
        """The path of the page with partition, curves, scores and samples."""
        return self.path / "report.html"

    def resume(
        self,
        *,
        jobs: int | None = None,
        settings: Mapping[str, Any] | None = None,
        progress: Callable[[dict[str, Any]], object] | None = None,
    ) -> None:
        """Resumes a run that was interrupted, killed or failed; the result is bit-identical to an uninterrupted run.

        ``settings`` may change some values, as in ``{"algorithm.rounds": 10}`` for ten rounds in all. ``progress`` is called with each round and
        each score after the checkpoint from which the run goes on. Raises the exceptions of :func:`run`.
        """
        overrides = None if settings is None else dict(settings)
        _effgan.resume(self.path, jobs=jobs, settings=overrides, progress=progress)

    def __repr__(self) -> str:
        return f"<effgan.Run {self.path}>"


def run(
    config: str | os.PathLike[str] | Mapping[str, Any],
    *,
    out: str | os.PathLike[str] | None = None,
    jobs: int | None = None,
    seed: int | None = None,
    settings: Mapping[str, Any] | None = None,
    progress: Callable[[dict[str, Any]], object] | None = None,
) -> Run:
    """Trains from a config into a new run folder. Prints nothing.

    ``config`` is a TOML file or its tables as a dict; ``settings`` replaces some values, as in ``{"local.epochs": 5}``. ``out`` is the run folder,
    which must not exist (default: ``runs/<name of the config>``). ``jobs`` is the number of threads, which changes no result (default: all cores).
    ``progress`` is called from this thread with each round and each score: the dicts of :attr:`Run.metrics`.

    Raises ``UsageError`` or ``DataError`` before anything is written, ``RunFailed`` when the run fails, and ``KeyboardInterrupt`` within a training
    step of Ctrl-C; :meth:`Run.resume` continues from there.
    """
    config = dict(config) if isinstance(config, Mapping) else config
    overrides = None if settings is None else dict(settings)
    return Run(_effgan.run(config, out=out, jobs=jobs, seed=seed, settings=overrides, progress=progress))


def evaluate(
    images_or_model: np.ndarray | Model | str | os.PathLike[str],
    reference: np.ndarray | str | os.PathLike[str] | Mapping[str, Any] | None = None,
    *,
    n: int | None = None,
    seed: int = 1,
    jobs: int | None = None,
    device: str = "cpu",
    features: str | os.PathLike[str] | None = None,
    weights: str | os.PathLike[str] | None = None,
    resize: str = "pytorch-fid",
) -> dict[str, Any]:
    """Scores images, or samples of a model with this ``seed``, with the code that a run uses.

    Images are u8 ``[n, c, h, w]``, ``[n, h, w, c]`` or ``[n, h, w]``, or a path: a folder of pictures, an ``.npy`` or ``.npz`` file, or a run or model folder. ``n`` images are
    scored against the first ``n`` test images of ``reference``, which is a data set's name or the keys of a config's ``[dataset]``, or against those of
    an array or a path (default: all images, or as many samples as there are reference images). Scores at different ``n`` are not comparable. Without
    ``reference`` a run or its model is scored as it was during the run, against its own data set; other grey images against ``"mnist-mini"``.

    ``features`` names the network: ``"mnist"``, ``"fashion-mnist"``, ``"inception"`` or a file of ``effgan features train`` (default: that of the data
    set). Inception's ``weights`` are a file (default: those of ``effgan data fetch inception``), and ``resize`` is ``"pytorch-fid"``,
    ``"torch-fidelity"`` or ``"clean"``. ``device`` computes the features: ``"cpu"``, ``"auto"`` or a GPU as ``effgan devices`` lists it. Both sets may have any sizes and colours: each image is converted by itself.

    The result has ``n``, ``fd_small`` (Fréchet distance on a small network's features, lower is closer; not an FID), ``kd_small`` with ``kd_std``
    over subsets (a kernel distance; not a KID), ``fd_own`` and ``kd_own`` on a network that was trained on the data set, with its hash and test
    accuracy as ``own_network``, ``swd`` with ``swd_levels`` (sliced Wasserstein distance of a data set without classes, lower is closer), or
    ``fid`` and ``kid`` on Inception's features, ``precision``, ``recall``, ``density``, ``coverage``, ``class_kl`` (nats), ``modes``,
    ``class_counts``, and under ``floor`` the same scores of as many real training images: what a perfect generator would reach. Classes and the
    floor need a data set. ``warnings`` lists what makes a number less reliable.
    """
    if isinstance(reference, Mapping):
        reference = dict(reference)
    evaluation = _effgan.evaluate(
        images_or_model, reference, n=n, seed=seed, jobs=jobs, device=device, features=features, weights=weights, resize=resize
    )
    scores: dict[str, Any] = json.loads(evaluation)
    return scores
