import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Broadcast",
    "DataError",
    "EffganError",
    "Exchange",
    "InternalError",
    "Model",
    "RunFailed",
    "State",
    "Steps",
    "Update",
    "UsageError",
    "__version__",
    "answer",
    "deal",
    "evaluate",
    "federate",
    "main",
    "question_of",
    "resume",
    "run",
    "write_refusal",
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
    def classes(self) -> list[str]:
        """What the classes of a conditional model are called, in the order of their labels; none where nobody said."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Shape ``(c, h, w)`` of the images."""

@final
class State:
    """What the server carries from exchange to exchange."""

    def __new__(cls, round: int, exchanges: int, arrays: dict[str, NDArray[np.float32]]) -> State: ...
    @property
    def round(self) -> int:
        """Rounds done."""

    @property
    def exchanges(self) -> int:
        """Exchanges done of the round after those; 0 between rounds."""

    @property
    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """``generator.*``, ``discriminator.*``, and what else the algorithm remembers."""

@final
class Exchange:
    """What is to be done next, and with whom."""

    @property
    def round(self) -> int:
        """Round, from 1."""

    @property
    def kind(self) -> str:
        """What for: ``average``, ``collect``, ``feedback``, ``logits`` or ``swap``."""

    @property
    def iteration(self) -> int:
        """Which of the server's steps in the round, from 0."""

    @property
    def cohort(self) -> list[str]:
        """With whom, sorted."""

@final
class Broadcast:
    """Server to client."""

    def __new__(
        cls, round: int, kind: str, iteration: int, iterations: int, arrays: dict[str, NDArray[np.float32]]
    ) -> Broadcast: ...
    @property
    def round(self) -> int:
        """Round, from 1."""

    @property
    def kind(self) -> str:
        """As the exchange's."""

    @property
    def iteration(self) -> int:
        """Which of the server's steps in the round, from 0."""

    @property
    def iterations(self) -> int:
        """The server's steps in the round."""

    @property
    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """What the client is to work on."""

@final
class Update:
    """Client to server."""

    def __new__(
        cls, arrays: dict[str, NDArray[np.float32]], num_examples: int, metrics: dict[str, float]
    ) -> Update: ...
    @property
    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """What the client answers: both networks, its generator alone when that is collected, or what the algorithm says."""

    @property
    def num_examples(self) -> int:
        """n_k: the images that the client trained on."""

    @property
    def metrics(self) -> dict[str, float]:
        """``loss_d`` and ``loss_g`` (means over the steps) and ``steps``; empty where nothing was trained."""

@final
class Steps:
    """The steps of an algorithm on named arrays, for a loop or a transport of one's own.

    No step reads a clock, a file or a global generator: with equal arguments it gives equal bits, wherever it runs.
    """

    def __new__(
        cls,
        config: str | os.PathLike[str] | dict[str, Any],
        clients: dict[str, int],
        *,
        image_shape: Sequence[int],
        num_classes: int,
        settings: dict[str, Any] | None = None,
        jobs: int | None = None,
    ) -> Steps:
        """Of ``config``'s algorithm for ``clients`` with so many training images each, of the shape ``(c, h, w)``."""

    def init(self) -> State:
        """The state before round 1."""

    def next(self, state: State) -> Exchange | None:
        """What follows ``state``; ``None`` when the algorithm is done. Clients of the cohort may be left out, of all exchanges of a round alike."""

    def prepare(self, state: State, exchange: Exchange) -> State:
        """What the server computes once, before it sends."""

    def broadcast(self, state: State, exchange: Exchange, client: str) -> Broadcast:
        """The message to ``client``."""

    def local_update(
        self,
        broadcast: Broadcast,
        client: str,
        images: NDArray[np.uint8],
        labels: NDArray[np.uint8],
        memory: dict[str, NDArray[np.float32]] | None = None,
    ) -> tuple[Update, dict[str, NDArray[np.float32]]]:
        """The work of ``client`` on its images, u8 ``[n, c, h, w]``, and their labels ``[n]``.

        Answers with its update and what it is to remember until its next one, which stays with it.
        """

    def aggregate(
        self, state: State, exchange: Exchange, updates: dict[str, Update]
    ) -> tuple[State, list[tuple[str, int, dict[str, NDArray[np.float32]]]]]:
        """Folds the updates by client, in the order of names, and answers with the state and what was collected: ``(client, n_k, arrays)``.

        Raises ``RunFailed`` for an update with wrong names, shapes or n_k, or with NaN.
        """

def deal(
    config: str | os.PathLike[str] | dict[str, Any], *, settings: dict[str, Any] | None = None
) -> dict[str, tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """What each client of ``config`` trains on: u8 images ``[n, c, h, w]`` and labels ``[n]``, by name."""

def main(arguments: list[str]) -> int: ...
def federate(
    config: str | os.PathLike[str] | dict[str, Any],
    *,
    out: str | os.PathLike[str],
    nodes: Callable[[], list[int]],
    push: Callable[[int, str, Any, float], str],
    pull: Callable[[list[tuple[str, int]]], Any],
    aggregate: Callable[..., Any],
    log: Callable[[str], object],
    server: str | os.PathLike[str] | None = None,
    settings: dict[str, Any] | None = None,
    jobs: int | None = None,
) -> Path: ...
def answer(
    kind: str,
    arrays: dict[str, NDArray[np.float32]],
    numbers: dict[str, float],
    words: dict[str, str],
    *,
    state_dir: str | os.PathLike[str],
    policy: str | os.PathLike[str] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    client_name: str | None = None,
    partition_id: int | None = None,
    jobs: int | None = None,
) -> tuple[dict[str, NDArray[np.float32]], dict[str, float], dict[str, str]]: ...
def question_of(kind: str, arrays: dict[str, NDArray[np.float32]], numbers: dict[str, float], words: dict[str, str]) -> str: ...
def write_refusal(
    question: str,
    refusal: str,
    why: str,
    *,
    state_dir: str | os.PathLike[str],
    policy: str | os.PathLike[str] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
) -> str | None: ...
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
