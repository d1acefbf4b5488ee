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
    "audit",
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
    """Base class of effgan's exceptions; the message is one line."""

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
    """The generators of a model folder. Each is read when it is needed."""

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Model:
        """Opens a model folder, or the one inside a run folder."""

    def sample(
        self,
        n: int,
        seed: int = 1,
        *,
        member: str | Sequence[str] | None = None,
        classes: str | int | Sequence[str | int] | None = None,
        jobs: int | None = None,
        device: str | None = None,
    ) -> NDArray[np.uint8]:
        """Generates images ``0..n`` of ``seed``, u8 ``[n, c, h, w]``, as ``effgan sample`` does.

        The images come from the ensemble, from one or several members, or from ``"global"``, the averaged generator. Image i of a seed does not depend
        on ``n`` or on the number of threads, ``jobs`` (default: all cores). ``device`` draws them: ``"cpu"``, the default, ``"auto"``, or a GPU as
        ``effgan devices`` lists it, such as ``"gpu:0"``.

        The images of a conditional model take ``classes`` in turn, which are names or numbers, or ``"all"`` (default: random classes). A class of
        which no client had a training image is refused.
        """

    def __reduce__(self) -> tuple[object, tuple[Path, str]]:
        """Pickles the model as the path of its folder, from which it is opened again with all checks of :meth:`load`.

        So a process pool and ``copy.deepcopy`` take models. Where there is no such folder, or its manifest has changed, unpickling raises ``DataError``.
        """

    @property
    def members(self) -> list[str]:
        """Names of the members, sorted; empty for an algorithm without an ensemble."""

    @property
    def weights(self) -> dict[str, float]:
        """Each member's share of the samples, by name; they sum to 1."""

    @property
    def classes(self) -> list[str]:
        """Names of the classes of a conditional model, in the order of their labels; empty where they are not known."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Shape ``(c, h, w)`` of the images."""

@final
class State:
    """The state of the server between exchanges."""

    def __new__(cls, round: int, exchanges: int, arrays: dict[str, NDArray[np.float32]]) -> State: ...
    @property
    def round(self) -> int:
        """Finished rounds."""

    @property
    def exchanges(self) -> int:
        """Finished exchanges of the round that follows; 0 between rounds."""

    @property
    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """``generator.*``, ``discriminator.*``, and other state of the algorithm."""

@final
class Exchange:
    """The next exchange: its kind and its cohort."""

    @property
    def round(self) -> int:
        """The round, from 1."""

    @property
    def kind(self) -> str:
        """The kind: ``average``, ``collect``, ``feedback``, ``logits`` or ``swap``."""

    @property
    def iteration(self) -> int:
        """The index of the server's step in the round, from 0."""

    @property
    def cohort(self) -> list[str]:
        """The clients that take part, sorted."""

@final
class Broadcast:
    """A message from the server to a client."""

    def __new__(
        cls, round: int, kind: str, iteration: int, iterations: int, arrays: dict[str, NDArray[np.float32]]
    ) -> Broadcast: ...
    @property
    def round(self) -> int:
        """The round, from 1."""

    @property
    def kind(self) -> str:
        """The kind of the exchange."""

    @property
    def iteration(self) -> int:
        """The index of the server's step in the round, from 0."""

    @property
    def iterations(self) -> int:
        """The number of the server's steps in the round."""

    @property
    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """The tensors for the client."""

@final
class Update:
    """A message from a client to the server."""

    def __new__(
        cls, arrays: dict[str, NDArray[np.float32]], num_examples: int, metrics: dict[str, float]
    ) -> Update: ...
    @property
    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """The tensors of the reply: both networks, only the generator when it is collected, or as the algorithm defines."""

    @property
    def num_examples(self) -> int:
        """n_k: the number of the client's training images."""

    @property
    def metrics(self) -> dict[str, float]:
        """``loss_d`` and ``loss_g`` (means over the steps) and ``steps``; empty in an exchange without training."""

@final
class Steps:
    """The steps of an algorithm on named arrays, for programs with a loop or a transport of their own.

    No step reads a clock, a file or a global random generator: equal arguments give equal bits.
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
        """The algorithm of ``config`` for ``clients``, a dict from names to n_k, on images of shape ``(c, h, w)``."""

    def init(self) -> State:
        """The state before round 1."""

    def next(self, state: State) -> Exchange | None:
        """The exchange that follows ``state``; ``None`` when the algorithm is done.

        Clients of the cohort may be left out, but then of all exchanges of a round.
        """

    def prepare(self, state: State, exchange: Exchange) -> State:
        """The state after what the server computes once per exchange, before it broadcasts."""

    def broadcast(self, state: State, exchange: Exchange, client: str) -> Broadcast:
        """The broadcast to ``client``."""

    def local_update(
        self,
        broadcast: Broadcast,
        client: str,
        images: NDArray[np.uint8],
        labels: NDArray[np.uint8],
        memory: dict[str, NDArray[np.float32]] | None = None,
    ) -> tuple[Update, dict[str, NDArray[np.float32]]]:
        """The update of ``client`` from its images, u8 ``[n, c, h, w]``, and their labels ``[n]``.

        Also returns the state that the client keeps until its next update, to be passed as ``memory``; it never leaves the client.
        """

    def aggregate(
        self, state: State, exchange: Exchange, updates: dict[str, Update]
    ) -> tuple[State, list[tuple[str, int, dict[str, NDArray[np.float32]]]]]:
        """Combines the updates, given by client, into the next state; also returns collected members as ``(client, n_k, arrays)``.

        Raises ``RunFailed`` for an update with wrong names, shapes or n_k, or with NaN.
        """

def deal(
    config: str | os.PathLike[str] | dict[str, Any], *, settings: dict[str, Any] | None = None
) -> dict[str, tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Splits the data set of ``config``: the training images u8 ``[n, c, h, w]`` and labels ``[n]`` of each client, by name."""

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
def audit(path: str | os.PathLike[str], *, samples: int = 10_000, jobs: int | None = None) -> str: ...
def evaluate(
    images_or_model: np.ndarray | Model | str | os.PathLike[str],
    reference: np.ndarray | str | os.PathLike[str] | dict[str, Any] | None,
    *,
    n: int | None = None,
    seed: int = 1,
    jobs: int | None = None,
    device: str | None = None,
    features: str | os.PathLike[str] | None = None,
    weights: str | os.PathLike[str] | None = None,
    resize: str = "pytorch-fid",
) -> str: ...
