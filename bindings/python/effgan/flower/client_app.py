"""The ClientApp of a site: the native module answers every message, from the site's own images."""

from __future__ import annotations

import os
import signal
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from .. import _effgan
from .records import UNKNOWN, content_of, numbers_and_words, what_leaves

Call = Callable[[Message, Context], Message]
Mod = Callable[[Message, Context, Call], Message]

# Flower's message types are "train", and "train." followed by one of these.
ACTIONS = ("finetune", "feedback", "logits", "swap")

# The entries that identify a request, which its reply repeats, and the most characters of each: those of a SHA-256.
IDENTIFIERS, LONGEST = ("kind", "config-hash", "round", "iteration"), 64

# Seconds from the deadline until the process is ended, for work that cannot be interrupted.
GRACE = 10.0

# The longest deadline, in seconds: 30 years.
MOST_SECONDS = 1e9


def client_app(mods: list[Mod] | None = None) -> ClientApp:
    """The ClientApp, wrapped in Flower's ``mods``."""
    app = ClientApp(mods=[one_way_out, end_at_deadline, *(mods or [])])
    app.query()(answer)
    app.train()(answer)
    for action in ACTIONS:
        app.train(action)(answer)
    return app


def answer(message: Message, context: Context) -> Message:
    """The site's reply.

    Settings come from ``--node-config``, or from environment variables of the kit's ``start.sh``, where paths may contain any character.
    """
    node = context.node_config
    content = _effgan.answer(
        message.metadata.message_type,
        *content_of(message),
        **_folders(context),
        client_name=_word(node, "client-name"),
        partition_id=_number(node, "partition-id"),
        jobs=_number(node, "jobs"),
    )
    return what_leaves(content, message)


def one_way_out(message: Message, context: Context, call_next: Call) -> Message:
    """Replaces any exception by a reply with a code. Flower would send its text, which may name files, folders and people.

    The native module does so for its own failures; this is for all others, and for the deadline that interrupts it.
    """
    try:
        return call_next(message, context)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        traceback.print_exception(error)
        code = "deadline" if isinstance(error, TimeoutError) else "work-failed"
        words = {"refused": code, **_echo(message, str)}
        if head := _write_refusal(message, context, code, f"{type(error).__name__}: {error}"):
            words["ledger"] = head
        return what_leaves(({}, _echo(message, float), words), message)


def _write_refusal(message: Message, context: Context, code: str, why: str) -> str | None:
    """Records the refusal in the site's ledger and returns the ledger's head."""
    try:
        return _effgan.write_refusal(question_of(message), code, why, **_folders(context))
    except KeyboardInterrupt:
        raise
    except BaseException:
        traceback.print_exc()
        return None


def question_of(message: Message) -> str:
    """What the site's ledger records of the message, as JSON."""
    try:
        return _effgan.question_of(message.metadata.message_type, *content_of(message))
    except KeyboardInterrupt:
        raise
    except BaseException:
        return UNKNOWN


def _echo(message: Message, of_type: type) -> dict[str, Any]:
    """The identifiers of the request, which the reply repeats."""
    numbers, words = numbers_and_words(message)
    entries = {**numbers, **words}.items()
    return {name: value for name, value in entries if name in IDENTIFIERS and len(str(value)) <= LONGEST and isinstance(value, of_type)}


def end_at_deadline(message: Message, context: Context, call_next: Call) -> Message:
    """Interrupts work at its deadline by an exception: a node that still works answers no other message.

    Work that cannot be interrupted is ended with its process, which the node notices a minute later.
    """
    _, numbers, _ = content_of(message)
    deadline = numbers.get("deadline", 0.0)
    if not 0.0 < deadline <= MOST_SECONDS:
        raise ValueError(f"the message's deadline is {deadline} s")
    timer = threading.Timer(deadline + GRACE, os._exit, (1,))
    timer.daemon = True
    timer.start()
    # Only the main thread receives signals; under Ray this is a different thread.
    is_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGALRM, _time_is_up) if is_main else None
    if is_main:
        signal.setitimer(signal.ITIMER_REAL, deadline)
    try:
        return call_next(message, context)
    finally:
        timer.cancel()
        if is_main:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)


def _time_is_up(*_: object) -> None:
    raise TimeoutError("the deadline of this message has passed")


def _folders(context: Context) -> dict[str, Any]:
    """Paths of the site's policy, images and state."""
    node = context.node_config
    return {
        "state_dir": _state_dir(context),
        "policy": _word(node, "policy") or _of_kit("policy.toml"),
        "data_dir": _word(node, "data-dir") or os.environ.get("EFFGAN_DATA_DIR"),
    }


def _state_dir(context: Context) -> Path:
    """The folder of the site's state: without a kit, one per node, since several nodes may share a machine."""
    home = Path(os.environ.get("FLWR_HOME") or Path.home() / ".flwr")
    return Path(_word(context.node_config, "state-dir") or _of_kit("state") or home / "effgan" / str(context.node_id))


def _of_kit(name: str) -> str | None:
    """A path in the kit whose ``start.sh`` started this process; ``None`` without a kit."""
    kit = os.environ.get("EFFGAN_KIT")
    return kit and os.path.join(kit, name)


def _word(node: dict[str, Any], key: str) -> str | None:
    value = node.get(key)
    return None if value is None else str(value)


def _number(node: dict[str, Any], key: str) -> int | None:
    value = node.get(key)
    return None if value is None else int(value)


app = client_app()
