"""Flower's strategies instead of effgan's averaging.

A strategy is created anew for each round and restored from what it remembered, so that a run with a strategy can be resumed at any round.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import flwr.serverapp.strategy as strategies
import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from numpy.typing import NDArray

from .. import UsageError

Arrays = dict[str, NDArray[np.float32]]

# An attribute that Flower sets again in each round, so it is not part of what the strategy remembers.
GIVEN = "current_arrays"


def aggregate(
    name: str,
    settings: Mapping[str, Any],
    round_: int,
    current: Arrays,
    replies: Sequence[tuple[int, Arrays]],
    memory: Arrays,
) -> tuple[Arrays, Arrays]:
    """Aggregates ``replies``, ``(n_k, arrays)`` each, into ``current``. Returns the new arrays and what the strategy is to remember.

    What a strategy remembers (moments, momentum) is rounded to float32 after each round, whether or not the run is interrupted.
    """
    strategy = create(name, settings)
    restore(strategy, memory)
    requests = list(strategy.configure_train(round_, record(current), ConfigRecord(), Nodes(len(replies))))
    messages = [reply(requests[0], n, arrays) for n, arrays in replies]
    arrays, _ = strategy.aggregate_train(round_, messages)
    if arrays is None:
        raise UsageError(f"federation.strategy: {name} returns no parameters for {len(replies)} replies")
    return plain(arrays), remembered(strategy)


def create(name: str, settings: Mapping[str, Any]) -> Any:
    """Creates Flower's strategy ``name`` with these keyword arguments."""
    kind = getattr(strategies, name, None)
    known = sorted(one for one in strategies.__all__ if hasattr(getattr(strategies, one), "aggregate_train"))
    if not (isinstance(kind, type) and hasattr(kind, "aggregate_train")):
        raise UsageError(f"federation.strategy.name = {name!r} is not one of Flower's: {', '.join(known)}")
    try:
        return kind(**settings)
    except (TypeError, ValueError) as error:
        raise UsageError(f"federation.strategy: {name}: {error}") from None


class Nodes:
    """The part of a grid that a strategy needs before it gets the replies: node ids, at least as many as it may wait for."""

    def __init__(self, replies: int) -> None:
        self.ids = range(1, max(replies, 1000) + 1)

    def get_node_ids(self) -> list[int]:
        return list(self.ids)


def reply(request: Message, n: int, arrays: Arrays) -> Message:
    records = RecordDict({"arrays": record(arrays), "metrics": MetricRecord({"num-examples": n})})
    return Message(records, reply_to=request)


def record(arrays: Arrays) -> ArrayRecord:
    return ArrayRecord({name: Array(array) for name, array in arrays.items()})


def plain(arrays: ArrayRecord) -> Arrays:
    return {name: np.asarray(array.numpy(), np.float32) for name, array in arrays.items()}


def restore(strategy: Any, memory: Arrays) -> None:
    """Gives the strategy what :func:`remembered` returned after the last round."""
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
    """All arrays in the strategy's attributes, whatever their names."""
    memory: Arrays = {}
    for attribute, held in vars(strategy).items():
        if attribute == GIVEN:
            continue
        if isinstance(held, dict) and held and all(isinstance(value, np.ndarray) for value in held.values()):
            memory |= {f"{attribute}/dict/{key}": np.asarray(value, np.float32) for key, value in held.items()}
        if isinstance(held, list) and held and all(isinstance(value, np.ndarray) for value in held):
            memory |= {f"{attribute}/list/{i:06}": np.asarray(value, np.float32) for i, value in enumerate(held)}
    return memory
