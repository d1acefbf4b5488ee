"""What a message says, as Flower's records and back: arrays, numbers and words by name."""

from __future__ import annotations

import io
from math import prod

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from numpy.typing import NDArray

# Tensors, numbers and words, each by name.
Content = tuple[dict[str, NDArray[np.float32]], dict[str, float], dict[str, str]]

ARRAYS, NUMBERS, WORDS = "arrays", "metrics", "config"

# What a site's ledger has of a question of which nothing is known.
UNKNOWN = '{"run": "", "config": "", "kind": "unknown"}'

# Flower's errors, in words of our own: the text that comes with them is the site's.
ERRORS = {
    1: "the site's app cannot be started; its own log says why",
    2: "the site's app failed; its own log says why",
    3: "the message is gone: nobody took it in time",
    4: "the reply is gone, or came too late",
    5: "the node is not available",
    6: "a mod at the site refused; its own log says why",
    7: "the site refuses the app",
    8: "the site's app ended without an answer",
}


def letter(content: Content, node: int, kind: str, seconds: float) -> Message:
    """A message of the type ``kind`` to ``node``, which Flower drops after ``seconds``."""
    arrays, numbers, words = content
    records = RecordDict({WORDS: ConfigRecord({**numbers, **words})})
    if arrays:
        records[ARRAYS] = _arrays(arrays)
    return Message(records, dst_node_id=node, message_type=kind, ttl=seconds)


def of_letter(message: Message) -> Content:
    """What a letter says."""
    return _tensors(message), *said(message)


def said(message: Message) -> tuple[dict[str, float], dict[str, str]]:
    """A letter's numbers and words; none of a message that is no letter."""
    values = dict(message.content.config_records.get(WORDS, {})) if message.has_content() else {}
    numbers = {name: float(value) for name, value in values.items() if isinstance(value, int | float)}
    words = {name: value for name, value in values.items() if isinstance(value, str)}
    return numbers, words


def what_leaves(content: Content, message: Message) -> Message:
    """All that ever leaves a site: the reply to ``message``.

    Its arrays are parameters, its numbers n_k, the shape of the images, the round and named metrics, its words the site's name, the version
    of its effgan, the head of its ledger, what it was asked, or the code of a refusal. docs/what-leaves-your-site.md lists them by name; a test holds the messages of whole runs to it.
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
    """What a reply says, or why there is none, in words of our own."""
    if message.has_error():
        code = int(message.error.code)
        return f"Flower's error {code}: {ERRORS.get(code, 'its log says why')}"
    numbers = {name: float(value) for name, value in _only(message, NUMBERS).items() if isinstance(value, int | float)}
    words = {name: str(value) for name, value in _only(message, WORDS).items()}
    try:
        return _tensors(message), numbers, words
    except Exception:
        # Whatever a site says are arrays, the run goes on without the site.
        return "unusable reply: its arrays are not float32 in C order, as large as their shapes"


def _arrays(arrays: dict[str, NDArray[np.float32]]) -> ArrayRecord:
    return ArrayRecord({name: Array(array) for name, array in arrays.items()})


def _tensors(message: Message) -> dict[str, NDArray[np.float32]]:
    record = message.content.array_records.get(ARRAYS, ArrayRecord())
    return {name: _float32(array) for name, array in record.items()}


def _float32(array: Array) -> NDArray[np.float32]:
    """The values where they lie. What a header says is checked before any memory is taken for it."""
    if array.stype != "numpy.ndarray":
        raise TypeError(array.stype)
    data = io.BytesIO(array.data)
    # The first of NumPy's formats, in which it writes short headers.
    if np.lib.format.read_magic(data) != (1, 0):
        raise ValueError("format")
    shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(data)
    start = data.tell()
    is_whole = all(n >= 0 for n in shape) and 4 * prod(shape) == len(array.data) - start
    if is_fortran or dtype != np.dtype("<f4") or not is_whole:
        raise ValueError("header")
    return np.frombuffer(array.data, "<f4", offset=start).reshape(shape)


def _only(message: Message, key: str) -> dict[str, object]:
    """The record ``key``, whatever kind it is of; nothing where there is none."""
    record = message.content.get(key)
    return dict(record) if isinstance(record, MetricRecord | ConfigRecord) else {}
