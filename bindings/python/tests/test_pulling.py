"""Replies that are too long are not pulled to their end."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from flwr.app import Message
from flwr.app.message import remove_content_from_message
from flwr.common.serde import message_to_proto
from flwr.proto.runtime_pb2 import PullAppMessagesResponse
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree, no_object_id_recompute
from flwr.superlink.grid import HttpGrid, InMemoryGrid

from effgan import UsageError
from effgan.flower.pulling import pull
from effgan.flower.records import Content, request, what_leaves

pytestmark = pytest.mark.usefixtures("inside_of_a_server_app")

ASKED: Content = ({}, {"round": 1.0}, {"kind": "average"})


class SuperLink:
    """The part of a SuperLink from which a reply is pulled: objects by their hash, and how many of their bytes were sent."""

    def __init__(self, reply: Message) -> None:
        with no_object_id_recompute():
            reply.metadata.__dict__["_message_id"] = reply.object_id
            self.objects = {name: one.deflate() for name, one in get_all_nested_objects(reply).items()}
            self.tree, self.reply = get_object_tree(reply), message_to_proto(remove_content_from_message(reply))
        self.sent, self.confirmed = 0, list[str]()

    def PullMessages(self, _: Any) -> PullAppMessagesResponse:
        return PullAppMessagesResponse(messages_list=[self.reply], message_object_trees=[self.tree])

    def PullObject(self, request: Any) -> Any:
        content = self.objects[request.object_id]
        self.sent += len(content)
        return SimpleNamespace(object_found=True, object_available=True, object_content=content)

    def ConfirmMessageReceived(self, request: Any) -> None:
        self.confirmed.append(request.message_object_id)


def grid_of(reply: Message) -> tuple[HttpGrid, SuperLink]:
    grid, link = HttpGrid(insecure=True, token="none"), SuperLink(reply)
    grid._client, grid._run = link, SimpleNamespace(run_id=1)  # type: ignore[assignment]
    return grid, link


def answer(values: int) -> Message:
    content: Content = ({"generator": np.zeros(values, np.float32)}, {"num-examples": 5.0}, {"tensors": "{}"})
    return what_leaves(content, request(ASKED, 1, "train", 9.0))


def test_a_reply_of_a_sound_size_is_taken_and_confirmed() -> None:
    grid, link = grid_of(answer(10_000))
    said = pull(grid, "asked", 100_000)
    assert said is not None and not isinstance(said, str)
    assert said[0]["generator"].shape == (10_000,) and said[1] == {"num-examples": 5.0}
    assert len(link.confirmed) == 1 and grid._client is link  # type: ignore[comparison-overlap]


def test_four_hundred_megabytes_of_zeros_in_the_answer_to_a_query_are_not_taken() -> None:
    grid, link = grid_of(answer(100_000_000))
    assert pull(grid, "asked", 65_536) == "unusable reply: it is longer than 65536 bytes"
    # Flower cuts arrays into pieces of a few megabytes and stores equal pieces once; a few pieces may be in transit at the same time.
    assert link.sent < 64 << 20
    assert len(link.confirmed) == 1 and grid._client is link  # type: ignore[comparison-overlap]


def test_a_piece_that_an_array_names_a_thousand_times_counts_as_often() -> None:
    reply = answer(10_000)
    [array] = reply.content.array_records["arrays"].values()
    grid, link = grid_of(reply)
    [name] = [name for name, content in link.objects.items() if content.startswith(b"Array ")]
    [piece] = array.children
    body = json.dumps({"dtype": "float32", "shape": [10_000], "stype": "numpy.ndarray", "arraychunk_ids": [0] * 1000}).encode()
    link.objects[name] = f"Array {piece} {len(body)}".encode() + b"\x00" + body
    assert pull(grid, "asked", 65_536) == "unusable reply: it is longer than 65536 bytes"
    assert link.sent < 65_536 and len(link.confirmed) == 1


def test_what_is_no_message_of_flowers_costs_its_site_the_round_and_not_the_run() -> None:
    grid, link = grid_of(answer(10))
    link.objects = dict.fromkeys(link.objects, b"ArrayRecord  5\x00hello")
    assert pull(grid, "asked", 65_536) == "unusable reply: Flower cannot make a message of it"


def test_the_grid_of_flowers_simulation_has_the_same_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    grid, replies = InMemoryGrid.__new__(InMemoryGrid), [answer(100_000)]
    monkeypatch.setattr(grid, "pull_messages", lambda _: replies)
    assert pull(grid, "asked", 65_536) == "unusable reply: it is longer than 65536 bytes"
    assert not isinstance(pull(grid, "asked", 500_000), str)
    replies.clear()
    assert pull(grid, "asked", 500_000) is None


def test_of_a_grid_whose_replies_cannot_be_bounded_nothing_is_pulled() -> None:
    pulled = list[Any]()
    grid: Any = SimpleNamespace(pull_messages=pulled.append)
    with pytest.raises(UsageError, match="does not let the length of a reply be bounded"):
        pull(grid, "asked", 65_536)
    assert pulled == []
