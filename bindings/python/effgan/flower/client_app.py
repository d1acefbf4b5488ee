"""A site's half: every message is answered by the wheel, from the site's own images."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from .. import _effgan
from .records import of_letter, what_leaves

# Flower's types of message are "train" and "train." with one of these.
ACTIONS = ("finetune", "feedback", "logits", "swap")

# Seconds after the deadline at which work that does not look at the clock is ended from outside.
GRACE = 10.0


def client_app(mods: list[Callable[..., Any]] | None = None) -> ClientApp:
    """The ClientApp, with Flower's ``mods`` around it."""
    app = ClientApp(mods=mods)
    app.query()(answer)
    app.train()(answer)
    for action in ACTIONS:
        app.train(action)(answer)
    return app


def answer(message: Message, context: Context) -> Message:
    """The site's answer, by the settings of its ``--node-config``."""
    arrays, numbers, words = of_letter(message)
    node = context.node_config
    with _ended_after(numbers.get("deadline", 0.0) + GRACE):
        said = _effgan.answer(
            message.metadata.message_type,
            arrays,
            numbers,
            words,
            state_dir=_state_dir(context),
            data_dir=_word(node, "data-dir"),
            client_name=_word(node, "client-name"),
            partition_id=_number(node, "partition-id"),
            jobs=_number(node, "jobs"),
        )
    return what_leaves(said, message)


def _state_dir(context: Context) -> Path:
    """Where the site keeps what it remembers: its own folder for each node, as several may share a machine."""
    home = Path(os.environ.get("FLWR_HOME") or Path.home() / ".flwr")
    return Path(_word(context.node_config, "state-dir") or home / "effgan" / str(context.node_id))


def _word(node: dict[str, Any], key: str) -> str | None:
    value = node.get(key)
    return None if value is None else str(value)


def _number(node: dict[str, Any], key: str) -> int | None:
    value = node.get(key)
    return None if value is None else int(value)


@contextmanager
def _ended_after(seconds: float) -> Any:
    """Ends the process when the block takes longer: a node whose work hangs would answer no other message."""
    timer = threading.Timer(seconds, os._exit, (1,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


app = client_app()
