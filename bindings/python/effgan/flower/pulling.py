"""Pulls replies with a bound on their size, which is checked before their bytes are received."""

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
from .records import Content, of_reply


def pull(grid: Grid, message: str, most: int) -> Content | str | None:
    """The reply to ``message``, or the reason why it is unusable; ``None`` where it has not arrived yet.

    A reply of more than ``most`` bytes is not pulled any further, and the SuperLink is told to drop it.
    """
    client = getattr(grid, "_runtime_client", None)
    if client is None and not isinstance(grid, InMemoryGrid):
        # Possibly another version of Flower, where a reply arrives whole before its length is known.
        kind = f"{type(grid).__module__}.{type(grid).__name__}"
        raise UsageError(f"the length of a reply cannot be bounded with {kind}; install a version of flwr that effgan's requirements allow")
    if client is None:
        # The grid of Flower's simulation is in this process and already has the whole reply.
        replies = list(grid.pull_messages([message]))
        return _of(replies[0], most) if replies else None
    bounded: Any = Bounded(client, most)
    grid._client = bounded  # type: ignore[attr-defined]
    try:
        replies = list(grid.pull_messages([message]))
    except httpx.HTTPError:
        raise
    except Exception as error:
        # Whatever a site sends, the run continues without that site.
        for found in bounded.found:
            client.ConfirmMessageReceived(found)
        return _too_long(most) if isinstance(error, TooLong) else "unusable reply: Flower cannot decode it"
    finally:
        grid._client = client  # type: ignore[attr-defined]
    return _of(replies[0], most) if replies else None


class TooLong(Exception):
    """The reply has more bytes than allowed."""


class Bounded:
    """Flower's client of the SuperLink, which stops pulling objects once they exceed ``most`` bytes in total."""

    def __init__(self, client: Any, most: int) -> None:
        self.client, self.most, self.left = client, most, most
        # Requests that confirm the received messages to the SuperLink.
        self.found: list[ConfirmMessageReceivedRequest] = []
        self.sizes: dict[str, int] = {}
        # Flower's objects that list the pieces of an array.
        self.arrays: list[bytes] = []
        # Several threads pull objects.
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
        """Counts the bytes of the assembled arrays, before they are assembled: a piece counts as often as an array names it."""
        self.found.clear()
        response = self.client.ConfirmMessageReceived(request)
        self.left = self.most
        for content in self.arrays:
            pieces = get_object_children_ids_from_object_content(content)
            for index in json.loads(get_object_body(content, Array))["arraychunk_ids"]:
                self.take(self.sizes[pieces[index]])
        return response

    def take(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise TooLong


def _of(reply: Message, most: int) -> Content | str:
    if reply.has_content():
        arrays = reply.content.array_records.values()
        if sum(len(array.data) for record in arrays for array in record.values()) > most:
            return _too_long(most)
    return of_reply(reply)


def _too_long(most: int) -> str:
    return f"unusable reply: it is longer than {most} bytes"
