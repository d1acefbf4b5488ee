"""Converts the content of a message, which is arrays, numbers and words by name, to Flower's records and back."""

from __future__ import annotations

import io
from math import prod

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from numpy.typing import NDArray

# Tensors, numbers and words, each by name.
Content = tuple[dict[str, NDArray[np.float32]], dict[str, float], dict[str, str]]

ARRAYS, NUMBERS, WORDS = "arrays", "metrics", "config"

# What a site's ledger records of a request of which nothing is known.
UNKNOWN = '{"run": "", "config": "", "kind": "unknown"}'

# Flower's error codes in fixed words. The text of an error is the site's, and is not shown.
ERRORS = {
    1: "the site's app cannot be started; its own log says why",
    2: "the site's app failed; its own log says why",
    3: "the message expired before the node took it",
    4: "the reply is missing or came too late",
    5: "the node is not available",
    6: "a mod at the site refused; its own log says why",
    7: "the site refuses the app",
    8: "the site's app ended without an answer",
}


def request(content: Content, node: int, kind: str, seconds: float) -> Message:
    """A message of the type ``kind`` to ``node``, which Flower drops after ``seconds``."""
    arrays, numbers, words = content
    records = RecordDict({WORDS: ConfigRecord({**numbers, **words})})
    if arrays:
        records[ARRAYS] = _arrays(arrays)
    return Message(records, dst_node_id=node, message_type=kind, ttl=seconds)


def content_of_request(message: Message) -> Content:
    """The content of a message that :func:`request` made."""
    return _tensors(message), *numbers_and_words(message)


def numbers_and_words(message: Message) -> tuple[dict[str, float], dict[str, str]]:
    """A request's numbers and words; both are empty when the message is not a request."""
    values = dict(message.content.config_records.get(WORDS, {})) if message.has_content() else {}
    numbers = {name: float(value) for name, value in values.items() if isinstance(value, int | float)}
    words = {name: value for name, value in values.items() if isinstance(value, str)}
    return numbers, words


def what_leaves(content: Content, message: Message) -> Message:
    """The reply to ``message``, which is all that ever leaves a site.

    Its arrays are parameters. Its numbers are n_k, the shape of the images, the round and named metrics. Its words are the site's name and
    version of effgan, the head of its ledger, what was requested, or the code of a refusal. docs/what-leaves-your-site.md lists them by name,
    and a test compares the messages of whole runs with that list.
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


def content_of_reply(message: Message) -> Content | str:
    """The content of a reply, or why it has none, in effgan's own words."""
    if message.has_error():
        code = int(message.error.code)
        return f"Flower's error {code}: {ERRORS.get(code, 'its log says why')}"
    numbers = {name: float(value) for name, value in _only(message, NUMBERS).items() if isinstance(value, int | float)}
    words = {name: str(value) for name, value in _only(message, WORDS).items()}
    try:
        return _tensors(message), numbers, words
    except Exception:
        # The site chose these bytes: an error in them may cost the site the round, but must not end the run.
        return "unusable reply: its arrays are not float32 in C order, as large as their shapes"


def _arrays(arrays: dict[str, NDArray[np.float32]]) -> ArrayRecord:
    return ArrayRecord({name: Array(array) for name, array in arrays.items()})


def _tensors(message: Message) -> dict[str, NDArray[np.float32]]:
    record = message.content.array_records.get(ARRAYS, ArrayRecord())
    return {name: _float32(array) for name, array in record.items()}


def _float32(array: Array) -> NDArray[np.float32]:
    """The values, without a copy. The header is checked against the size of the data before any memory is allocated for it."""
    if array.stype != "numpy.ndarray":
        raise TypeError(array.stype)
    data = io.BytesIO(array.data)
    # Version 1.0 of NumPy's format, in which NumPy writes all short headers.
    if np.lib.format.read_magic(data) != (1, 0):
        raise ValueError("format")
    shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(data)
    start = data.tell()
    is_whole = all(n >= 0 for n in shape) and 4 * prod(shape) == len(array.data) - start
    if is_fortran or dtype != np.dtype("<f4") or not is_whole:
        raise ValueError("header")
    return np.frombuffer(array.data, "<f4", offset=start).reshape(shape)


def _only(message: Message, key: str) -> dict[str, object]:
    """The metric or config record ``key``; empty when there is none."""
    record = message.content.get(key)
    return dict(record) if isinstance(record, MetricRecord | ConfigRecord) else {}
