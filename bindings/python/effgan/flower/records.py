"""What a message says, as Flower's records and back: arrays, numbers and words by name."""

from __future__ import annotations

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from numpy.typing import NDArray

# Tensors, numbers and words, each by name.
Content = tuple[dict[str, NDArray[np.float32]], dict[str, float], dict[str, str]]

ARRAYS, NUMBERS, WORDS = "arrays", "metrics", "config"


def letter(content: Content, node: int, kind: str, seconds: float) -> Message:
    """A message of the type ``kind`` to ``node``, which Flower drops after ``seconds``."""
    arrays, numbers, words = content
    records = RecordDict({WORDS: ConfigRecord({**numbers, **words})})
    if arrays:
        records[ARRAYS] = _arrays(arrays)
    return Message(records, dst_node_id=node, message_type=kind, ttl=seconds)


def of_letter(message: Message) -> Content:
    """What a letter says."""
    said = dict(message.content.config_records[WORDS])
    numbers = {name: float(value) for name, value in said.items() if isinstance(value, int | float)}
    words = {name: value for name, value in said.items() if isinstance(value, str)}
    return _tensors(message), numbers, words


def what_leaves(content: Content, message: Message) -> Message:
    """All that ever leaves a site: the reply to ``message``.

    Its arrays are parameters, its numbers n_k, the shape of the images and named metrics, its words the site's name, the version of its
    effgan, or why it has no answer. docs/what-leaves-your-site.md lists them by name; a test holds the messages of whole runs to it.
    """
    arrays, numbers, words = content
    records = RecordDict()
    if arrays:
        records[ARRAYS] = _arrays(arrays)
    if numbers:
        records[NUMBERS] = MetricRecord(dict(numbers))
    if words:
        records[WORDS] = ConfigRecord(dict(words))
    return Message(records, reply_to=message)


def of_reply(message: Message) -> Content | str:
    """What a reply says, or why there is none."""
    if message.has_error():
        reason = message.error.reason or "no reason was given"
        return f"{reason} (Flower's error {message.error.code})"
    numbers = {name: float(value) for name, value in _only(message, NUMBERS).items() if isinstance(value, int | float)}
    words = {name: str(value) for name, value in _only(message, WORDS).items()}
    try:
        return _tensors(message), numbers, words
    except Exception as error:
        # Whatever a site says are arrays, the run goes on without the site. NumPy's own words would advise to allow pickles.
        return f"unusable reply: arrays that NumPy cannot read ({type(error).__name__})"


def _arrays(arrays: dict[str, NDArray[np.float32]]) -> ArrayRecord:
    return ArrayRecord({name: Array(array) for name, array in arrays.items()})


def _tensors(message: Message) -> dict[str, NDArray[np.float32]]:
    record = message.content.array_records.get(ARRAYS, ArrayRecord())
    return {name: array.numpy() for name, array in record.items()}


def _only(message: Message, key: str) -> dict[str, object]:
    """The record ``key``, whatever kind it is of; nothing where there is none."""
    record = message.content.get(key)
    return dict(record) if isinstance(record, MetricRecord | ConfigRecord) else {}
