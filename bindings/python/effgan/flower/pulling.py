"""Pulls a reply from the SuperLink without taking more bytes than a reply to its request can have."""

from __future__ import annotations

import json
import threading
from typing import Any

import httpx
from flwr.app import Array, Message
from flwr.proto.message_pb2 import ConfirmMessageReceivedRequest
from flwr.proto.node_pb2 import Node
from flwr.serverapp import Grid
from flwr.supercore.inflatable.inflatable_object import get_object_body, get_object_children_ids_from_object_content
from flwr.superlink.grid import InMemoryGrid

from .. import UsageError
from .records import Content, content_of_reply


def pull(grid: Grid, message: str, max_bytes: int) -> Content | str | None:
    """The content of the reply to ``message``, or why it cannot be used; ``None`` when no reply has come.

    A reply longer than ``max_bytes`` is not pulled to its end, and the SuperLink is told that it was taken.
    """
    client = getattr(grid, "_runtime_client", None)
    if client is None and not isinstance(grid, InMemoryGrid):
        # Another version of Flower, for example: its replies would be in memory as a whole before their length is known.
        kind = f"{type(grid).__module__}.{type(grid).__name__}"
        raise UsageError(f"a {kind} does not let the length of a reply be bounded; install a version of flwr that effgan requires")
    if client is None:
        # The grid of Flower's simulation is in this process, and holds the whole reply already.
        replies = list(grid.pull_messages([message]))
        return _of(replies[0], max_bytes) if replies else None
    bounded: Any = Bounded(client, max_bytes)
    grid._client = bounded  # type: ignore[attr-defined]
    try:
        replies = list(grid.pull_messages([message]))
    except httpx.HTTPError:
        raise
    except Exception as error:
        # The site chose these bytes: an error in them may cost the site the round, but must not end the run.
        for found in bounded.found:
            client.ConfirmMessageReceived(found)
        return _too_long(max_bytes) if isinstance(error, TooLong) else "unusable reply: Flower cannot make a message of it"
    finally:
        grid._client = client  # type: ignore[attr-defined]
    return _of(replies[0], max_bytes) if replies else None


class TooLong(Exception):
    """The reply is longer than a reply to its request can be."""


class Bounded:
    """Flower's client of the SuperLink, which stops pulling objects when they exceed ``max_bytes`` in all."""

    def __init__(self, client: Any, max_bytes: int) -> None:
        self.client, self.max_bytes, self.left = client, max_bytes, max_bytes
        # Requests that tell the SuperLink that a message was taken.
        self.found: list[ConfirmMessageReceivedRequest] = []
        self.sizes: dict[str, int] = {}
        # Flower's objects that say which chunks an array consists of.
        self.arrays: list[bytes] = []
        # Objects are pulled by several threads.
        self.lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    def PullMessages(self, request: Any) -> Any:
        response = self.client.PullMessages(request)
        for message in response.messages_list:
            of = message.metadata
            self.found.append(
                ConfirmMessageReceivedRequest(
                    node=Node(node_id=of.dst_node_id), run_id=of.run_id, message_object_id=of.message_id
                )
            )
        return response

    def PullObject(self, request: Any) -> Any:
        with self.lock:
            self.take(0)
        response = self.client.PullObject(request)
        content = response.object_content
        with self.lock:
            self.take(len(content))
            self.sizes[request.object_id] = len(content)
            if content.startswith(b"Array "):
                self.arrays.append(content)
        return response

    def ConfirmMessageReceived(self, request: Any) -> Any:
        """Called when all objects are there and before arrays are made of them. A chunk counts as often as arrays name it."""
        self.found.clear()
        response = self.client.ConfirmMessageReceived(request)
        self.left = self.max_bytes
        for content in self.arrays:
            chunks = get_object_children_ids_from_object_content(content)
            for index in json.loads(get_object_body(content, Array))["arraychunk_ids"]:
                self.take(self.sizes[chunks[index]])
        return response

    def take(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise TooLong


def _of(reply: Message, max_bytes: int) -> Content | str:
    if reply.has_content():
        arrays = reply.content.array_records.values()
        if sum(len(array.data) for record in arrays for array in record.values()) > max_bytes:
            return _too_long(max_bytes)
    return content_of_reply(reply)


def _too_long(max_bytes: int) -> str:
    return f"unusable reply: it is longer than {max_bytes} bytes"
