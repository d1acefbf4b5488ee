"""Learn one image generator from data that cannot leave its owners, and sample from it in one place.

    run = effgan.run("configs/quickstart.toml")
    images = run.model.sample(64, seed=1)          # u8 [64, 1, 28, 28]
    scores = effgan.evaluate(run.model)            # {"fd_small": …, "modes": …, "floor": {…}, …}

All arithmetic is in Rust; other Python threads go on while it works, and Ctrl-C ends it after the training step at hand.
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
        """Opens the folder ``path`` that a run has made.

        Raises ``DataError`` where there is none.
        """
        self.path = Path(path)
        if not (self.path / "run.json").is_file():
            raise DataError(f"{self.path} is no run folder: it has no run.json")

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """Everything that the run noted, in order: rounds, losses, scores and stages, told apart by ``"event"``."""
        return [json.loads(line) for line in (self.path / "metrics.jsonl").read_text("utf-8").splitlines()]

    @property
    def scores(self) -> list[dict[str, Any]]:
        """What was scored, in order: ``"of"`` and ``"round"``, and the numbers that :func:`evaluate` has."""
        return [event for event in self.metrics if event["event"] == "score"]

    @property
    def model(self) -> Model:
        """The generators that the run has left. Raises ``DataError`` when it did not get so far."""
        return Model.load(self.path)

    @property
    def report(self) -> Path:
        """The page with the partition, curves, scores and samples."""
        return self.path / "report.html"

    def resume(
        self,
        *,
        jobs: int | None = None,
        settings: Mapping[str, Any] | None = None,
        progress: Callable[[dict[str, Any]], object] | None = None,
    ) -> None:
        """Goes on with a run that was interrupted, killed or failed, to the end that it would have had in one go.

        ``settings`` may change what may change then, as in ``{"algorithm.rounds": 10}`` for ten rounds in all. ``progress`` is called with what is done
        from here on. Raises as :func:`run` does.
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
    """Trains as ``config`` says, into a new run folder, and prints nothing.

    ``config`` is a TOML file or its tables as a dict; ``settings`` replaces some values, as in ``{"local.epochs": 5}``. ``out`` is the run folder,
    which must not exist [runs/ and the config's name]. ``jobs`` threads change no result [all cores]. ``progress`` is called from this thread with each
    round and each score as it is done: the dicts of :attr:`Run.metrics`.

    Raises ``UsageError`` and ``DataError`` before anything is written, ``RunFailed``, and ``KeyboardInterrupt`` at Ctrl-C within a training step;
    :meth:`Run.resume` goes on from there.
    """
    config = dict(config) if isinstance(config, Mapping) else config
    overrides = None if settings is None else dict(settings)
    return Run(_effgan.run(config, out=out, jobs=jobs, seed=seed, settings=overrides, progress=progress))


def evaluate(
    images_or_model: np.ndarray | Model,
    reference: str | Mapping[str, Any] = "mnist-mini",
    *,
    n: int | None = None,
    seed: int = 1,
    jobs: int | None = None,
) -> dict[str, Any]:
    """Scores u8 images ``[n, c, h, w]``, or samples of a model with this ``seed``, by the code that a run uses.

    ``n`` images are scored against the first ``n`` test images of ``reference``, a data set's name or the keys of a config's ``[dataset]`` [all images,
    or as many samples as the test split has]. Numbers of different ``n`` do not compare.

    The answer has ``n``, ``fd_small`` (Fréchet distance on a small network's features, lower is closer; not an FID), ``kd_small`` with ``kd_std``
    over subsets (a kernel distance; not a KID), ``precision``, ``recall``, ``density``, ``coverage``, ``class_kl`` (nats), ``modes``, ``class_counts``, and under ``floor`` the same of as many
    real training images: what a perfect generator would get. ``warnings`` says what makes a number less than it seems.
    """
    reference = reference if isinstance(reference, str) else dict(reference)
    answer: dict[str, Any] = json.loads(_effgan.evaluate(images_or_model, reference, n=n, seed=seed, jobs=jobs))
    return answer
