"""The content of messages as Flower's records, and back: arrays, numbers and words by name."""

from __future__ import annotations

import io
from math import prod

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from numpy.typing import NDArray

# Tensors, numbers and words, each by name.
Content = tuple[dict[str, NDArray[np.float32]], dict[str, float], dict[str, str]]

ARRAYS, NUMBERS, WORDS = "arrays", "metrics", "config"

# What a site's ledger records of a message of which nothing is known.
UNKNOWN = '{"run": "", "config": "", "kind": "unknown"}'

# Flower's error codes in words of our own: the text that comes with them is the site's.
ERRORS = {
    1: "the site's app cannot be started; its own log says why",
    2: "the site's app failed; its own log says why",
    3: "the message expired before the node fetched it",
    4: "the reply expired, or came too late",
    5: "the node is not available",
    6: "a mod at the site refused; its own log says why",
    7: "the site refuses the app",
    8: "the site's app ended without an answer",
}


def to_message(content: Content, node: int, kind: str, seconds: float) -> Message:
    """A message of the type ``kind`` to ``node``, which Flower drops after ``seconds``."""
    arrays, numbers, words = content
    records = RecordDict({WORDS: ConfigRecord({**numbers, **words})})
    if arrays:
        records[ARRAYS] = _arrays(arrays)
    return Message(records, dst_node_id=node, message_type=kind, ttl=seconds)


def content_of(message: Message) -> Content:
    """The content of a message from the server."""
    return _tensors(message), *numbers_and_words(message)


def numbers_and_words(message: Message) -> tuple[dict[str, float], dict[str, str]]:
    """Numbers and words of a message from the server; empty for any other message."""
    values = dict(message.content.config_records.get(WORDS, {})) if message.has_content() else {}
    numbers = {name: float(value) for name, value in values.items() if isinstance(value, int | float)}
    words = {name: value for name, value in values.items() if isinstance(value, str)}
    return numbers, words


def what_leaves(content: Content, message: Message) -> Message:
    """The reply to ``message``: all that ever leaves a site.

    Its arrays are params; its numbers are n_k, the shape of the images, the round and named metrics; its words are the site's name, the version of
    effgan, the head of the ledger, identifiers of the request, or the code of a refusal. docs/what-leaves-your-site.md lists all names, and a test
    compares the messages of whole runs with that list.
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
    """The content of a reply, or the reason why there is none, in words of our own."""
    if message.has_error():
        code = int(message.error.code)
        return f"Flower's error {code}: {ERRORS.get(code, 'its log says why')}"
    numbers = {name: float(value) for name, value in _only(message, NUMBERS).items() if isinstance(value, int | float)}
    words = {name: str(value) for name, value in _only(message, WORDS).items()}
    try:
        return _tensors(message), numbers, words
    except Exception:
        # Whatever a site sends as arrays, the run continues without that site.
        return "unusable reply: its arrays are not float32 in C order, as large as their shapes"


def _arrays(arrays: dict[str, NDArray[np.float32]]) -> ArrayRecord:
    return ArrayRecord({name: Array(array) for name, array in arrays.items()})


def _tensors(message: Message) -> dict[str, NDArray[np.float32]]:
    record = message.content.array_records.get(ARRAYS, ArrayRecord())
    return {name: _float32(array) for name, array in record.items()}


def _float32(array: Array) -> NDArray[np.float32]:
    """A view of the array's bytes. The header is checked before any memory is allocated for it."""
    if array.stype != "numpy.ndarray":
        raise TypeError(array.stype)
    data = io.BytesIO(array.data)
    # Version 1.0 of NumPy's format, which it uses for short headers.
    if np.lib.format.read_magic(data) != (1, 0):
        raise ValueError("format")
    shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(data)
    start = data.tell()
    is_whole = all(n >= 0 for n in shape) and 4 * prod(shape) == len(array.data) - start
    if is_fortran or dtype != np.dtype("<f4") or not is_whole:
        raise ValueError("header")
    return np.frombuffer(array.data, "<f4", offset=start).reshape(shape)


def _only(message: Message, key: str) -> dict[str, object]:
    """The numbers or words of the record ``key``; empty where there is none."""
    record = message.content.get(key)
    return dict(record) if isinstance(record, MetricRecord | ConfigRecord) else {}
