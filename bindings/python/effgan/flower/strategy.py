"""Aggregation by Flower's strategies, one round at a time, so that a run can be resumed from any checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import flwr.serverapp.strategy as strategies
import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from numpy.typing import NDArray

from .. import UsageError

Arrays = dict[str, NDArray[np.float32]]

# An attribute that a strategy is given in each round and that is not part of its memory.
GIVEN = "current_arrays"


def aggregate(
    name: str,
    settings: Mapping[str, Any],
    round_: int,
    current: Arrays,
    replies: Sequence[tuple[int, Arrays]],
    memory: Arrays,
) -> tuple[Arrays, Arrays]:
    """The arrays that follow ``current`` given the replies, ``(n_k, arrays)`` each, and the memory of the strategy.

    The memory (moments, momentum) is kept as float32 between rounds, even in an uninterrupted run, so that resuming changes no bit.
    """
    strategy = made(name, settings)
    remember(strategy, memory)
    asked = list(strategy.configure_train(round_, record(current), ConfigRecord(), Nodes(len(replies))))
    answers = [answer(asked[0], n, arrays) for n, arrays in replies]
    arrays, _ = strategy.aggregate_train(round_, answers)
    if arrays is None:
        raise UsageError(f"federation.strategy: {name} returns no result for {len(replies)} replies")
    return plain(arrays), remembered(strategy)


def made(name: str, settings: Mapping[str, Any]) -> Any:
    """Creates Flower's strategy ``name`` with ``settings``."""
    kind = getattr(strategies, name, None)
    known = sorted(one for one in strategies.__all__ if hasattr(getattr(strategies, one), "aggregate_train"))
    if not (isinstance(kind, type) and hasattr(kind, "aggregate_train")):
        raise UsageError(f"federation.strategy.name = {name!r} is not a strategy of Flower: {', '.join(known)}")
    try:
        return kind(**settings)
    except (TypeError, ValueError) as error:
        raise UsageError(f"federation.strategy: {name}: {error}") from None


class Nodes:
    """As much of a grid as a strategy uses: a list of node ids."""

    def __init__(self, replies: int) -> None:
        self.ids = range(1, max(replies, 1000) + 1)

    def get_node_ids(self) -> list[int]:
        return list(self.ids)


def answer(asked: Message, n: int, arrays: Arrays) -> Message:
    records = RecordDict({"arrays": record(arrays), "metrics": MetricRecord({"num-examples": n})})
    return Message(records, reply_to=asked)


def record(arrays: Arrays) -> ArrayRecord:
    return ArrayRecord({name: Array(array) for name, array in arrays.items()})


def plain(arrays: ArrayRecord) -> Arrays:
    return {name: np.asarray(array.numpy(), np.float32) for name, array in arrays.items()}


def remember(strategy: Any, memory: Arrays) -> None:
    """Restores in the strategy what :func:`remembered` returned."""
    attributes: dict[str, Any] = {}
    for path, array in memory.items():
        attribute, kind, key = path.split("/", 2)
        held = attributes.setdefault(attribute, [] if kind == "list" else {})
        if kind == "list":
            held.append(array)
        else:
            held[key] = array
    for attribute, held in attributes.items():
        setattr(strategy, attribute, held)


def remembered(strategy: Any) -> Arrays:
    """All arrays in the attributes of the strategy, by path."""
    memory: Arrays = {}
    for attribute, held in vars(strategy).items():
        if attribute == GIVEN:
            continue
        if isinstance(held, dict) and held and all(isinstance(value, np.ndarray) for value in held.values()):
            memory |= {f"{attribute}/dict/{key}": np.asarray(value, np.float32) for key, value in held.items()}
        if isinstance(held, list) and held and all(isinstance(value, np.ndarray) for value in held):
            memory |= {f"{attribute}/list/{i:06}": np.asarray(value, np.float32) for i, value in enumerate(held)}
    return memory
