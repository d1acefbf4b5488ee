"""Replies of sites that send what they like: none of it ends the run."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict

from effgan.flower.records import Content, content_of_reply, request, what_leaves

pytestmark = pytest.mark.usefixtures("inside_of_a_server_app")

ASKED: Content = ({}, {"round": 1.0}, {"kind": "average"})


def npy(shape: str, dtype: str = "<f4") -> bytes:
    """The header of an array of this shape, in NumPy's format 1.0, with four bytes of values."""
    header = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(4)


def reply_of(data: bytes, stype: str = "numpy.ndarray") -> Message:
    array = Array(dtype="float32", shape=(1,), stype=stype, data=data)
    return Message(RecordDict({"arrays": ArrayRecord({"generator": array})}), reply_to=request(ASKED, 1, "train", 9.0))


def test_a_reply_says_what_left_the_site() -> None:
    content: Content = ({"generator": np.array([1, -2], np.float32)}, {"num-examples": 5.0}, {"tensors": "{}"})
    handmade: Content = ({"generator": np.zeros(1, np.float32)}, {}, {})
    for reply, left in [(what_leaves(content, request(ASKED, 1, "train", 9.0)), content), (reply_of(npy("(1,)")), handmade)]:
        said = content_of_reply(reply)
        assert not isinstance(said, str) and said[1:] == left[1:]
        np.testing.assert_array_equal(said[0]["generator"], left[0]["generator"], strict=True)


NO_ARRAYS = "unusable reply: its arrays are not float32 in C order, as large as their shapes"


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps([1.0]),
        npy("(1,)", "|O"),
        npy("(1,)", "<i4"),
        npy("(1,)", ">f4"),
        npy("(1000000000000000,)"),
        npy("(2,)"),
        npy("(-1,)"),
        npy("(-1, -1)"),
        npy("(1, 1)").replace(b"False", b"True "),
        b"",
    ],
)
def test_malformed_arrays_leave_their_site_out_before_memory_is_allocated(data: bytes) -> None:
    assert content_of_reply(reply_of(data)) == NO_ARRAYS


@pytest.mark.parametrize(("code", "words"), [(2, "the site's app failed; its own log says why"), (99, "its log says why")])
def test_flowers_error_is_reported_by_its_code_and_never_in_the_sites_words(code: int, words: str) -> None:
    error = Error(code, "cannot read /data/jane-doe-1961/01.png")
    assert content_of_reply(Message(error, reply_to=request(ASKED, 1, "train", 9.0))) == f"Flower's error {code}: {words}"


def test_records_of_other_kinds_and_values_leave_their_site_out() -> None:
    assert content_of_reply(reply_of(npy("(1,)"), stype="torch")) == NO_ARRAYS
    asked = request(ASKED, 1, "train", 9.0)
    swapped = RecordDict({"metrics": ConfigRecord({"tensors": b"{}"}), "config": MetricRecord({"loss_d": [1.0, 2.0]})})
    assert content_of_reply(Message(swapped, reply_to=asked)) == ({}, {}, {"loss_d": "[1.0, 2.0]"})
