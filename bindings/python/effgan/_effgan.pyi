import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "DataError",
    "EffganError",
    "InternalError",
    "Model",
    "RunFailed",
    "UsageError",
    "__version__",
    "evaluate",
    "resume",
    "run",
]

__version__: str

class EffganError(Exception):
    """What effgan says when it cannot do something: one line."""

class UsageError(EffganError):
    """An argument or the config is wrong; nothing was written."""

class DataError(EffganError):
    """A data file or a model is missing or damaged."""

class RunFailed(EffganError):
    """The run failed; its folder says why."""

class InternalError(EffganError):
    """A bug in effgan: please report it."""

@final
class Model:
    """The generators of a model folder. They are read when they are needed."""

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Model:
        """Opens a model folder, or the one inside a run folder."""

    def sample(
        self, n: int, seed: int = 1, *, member: str | Sequence[str] | None = None, jobs: int | None = None
    ) -> NDArray[np.uint8]:
        """Images ``0..n`` of ``seed``, u8 ``[n, c, h, w]``: the images of ``effgan sample``.

        From the ensemble, from one or several members, or from ``"global"``, the averaged generator. Image i of a seed is the same image however many
        are drawn, by any number of ``jobs`` [all cores].
        """

    @property
    def members(self) -> list[str]:
        """Names of the members, sorted; none for an algorithm without an ensemble."""

    @property
    def weights(self) -> dict[str, float]:
        """Each member's share of the samples, by name; they sum to 1."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Shape ``(c, h, w)`` of the images."""

def run(
    config: str | os.PathLike[str] | dict[str, Any],
    *,
    out: str | os.PathLike[str] | None = None,
    jobs: int | None = None,
    seed: int | None = None,
    settings: dict[str, Any] | None = None,
    progress: Callable[[dict[str, Any]], object] | None = None,
) -> Path: ...
def resume(
    path: str | os.PathLike[str],
    *,
    jobs: int | None = None,
    settings: dict[str, Any] | None = None,
    progress: Callable[[dict[str, Any]], object] | None = None,
) -> None: ...
def evaluate(
    images_or_model: np.ndarray | Model,
    reference: str | dict[str, Any],
    *,
    n: int | None = None,
    seed: int = 1,
    jobs: int | None = None,
) -> str: ...
