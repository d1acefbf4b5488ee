"""The ClientApp: Rust makes the reply to every message, from the site's own images."""

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
from .records import UNKNOWN, content_of_request, numbers_and_words, what_leaves

Call = Callable[[Message, Context], Message]
Mod = Callable[[Message, Context, Call], Message]

# Flower's message types are "query", "train", and "train." with one of these.
ACTIONS = ("finetune", "feedback", "logits", "swap")

# What a reply repeats of its request, and the maximum number of characters of each: as many as a SHA-256 has in hex.
REQUEST_ID, LONGEST = ("kind", "config-hash", "round", "iteration"), 64

# Seconds from the deadline until the process is ended whose work cannot be interrupted.
GRACE = 10.0

# Maximum deadline in seconds: 30 years.
MAX_SECONDS = 1e9


def client_app(mods: list[Mod] | None = None) -> ClientApp:
    """The ClientApp, with Flower's ``mods`` around it."""
    app = ClientApp(mods=[one_way_out, end_at_deadline, *(mods or [])])
    app.query()(answer)
    app.train()(answer)
    for action in ACTIONS:
        app.train(action)(answer)
    return app


def answer(message: Message, context: Context) -> Message:
    """The site's reply. Settings are in Flower's ``--node-config``; a kit's ``start.sh`` passes paths, which may hold any character, in the
    environment instead."""
    node = context.node_config
    content = _effgan.answer(
        message.metadata.message_type,
        *content_of_request(message),
        **_folders(context),
        client_name=_word(node, "client-name"),
        partition_id=_number(node, "partition-id"),
        jobs=_number(node, "jobs"),
    )
    return what_leaves(content, message)


def one_way_out(message: Message, context: Context, call_next: Call) -> Message:
    """Turns every exception into a reply with a code. Flower would send the exception's text, which may name files, folders and people.

    Rust turns its own failures into codes; this function handles failures outside Rust, and a deadline that interrupts Rust.
    """
    try:
        return call_next(message, context)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        traceback.print_exception(error)
        code = "deadline" if isinstance(error, TimeoutError) else "work-failed"
        words = {"refused": code, **_request_id(message, str)}
        if head := _record_refusal(message, context, code, f"{type(error).__name__}: {error}"):
            words["ledger"] = head
        return what_leaves(({}, _request_id(message, float), words), message)


def _record_refusal(message: Message, context: Context, code: str, why: str) -> str | None:
    """Writes the refusal into the site's ledger. Returns the ledger's head; ``None`` when it cannot be written or the site has no ledger."""
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
        return _effgan.question_of(message.metadata.message_type, *content_of_request(message))
    except KeyboardInterrupt:
        raise
    except BaseException:
        return UNKNOWN


def _request_id(message: Message, of_type: type) -> dict[str, Any]:
    """What a reply repeats of its request: the values of one type."""
    numbers, words = numbers_and_words(message)
    repeated = {name: value for name, value in {**numbers, **words}.items() if name in REQUEST_ID and len(str(value)) <= LONGEST}
    return {name: value for name, value in repeated.items() if isinstance(value, of_type)}


def end_at_deadline(message: Message, context: Context, call_next: Call) -> Message:
    """Ends work at the server's deadline, by an exception: a node whose work hangs would reply to no other message.

    Work that cannot be interrupted is ended with its process after ``GRACE`` seconds more; Flower notices that a minute later.
    """
    _, numbers, _ = content_of_request(message)
    deadline = numbers.get("deadline", 0.0)
    if not 0.0 < deadline <= MAX_SECONDS:
        raise ValueError(f"the message's deadline is {deadline} s, and must be from 0 to {MAX_SECONDS}")
    timer = threading.Timer(deadline + GRACE, os._exit, (1,))
    timer.daemon = True
    timer.start()
    # Signals reach only the main thread; under Ray the app runs in another one.
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
    raise TimeoutError("the server's deadline has passed")


def _folders(context: Context) -> dict[str, Any]:
    """The paths of the site's policy, of its images, and of the state that it keeps between rounds."""
    node = context.node_config
    return {
        "state_dir": _state_dir(context),
        "policy": _word(node, "policy") or _of_kit("policy.toml"),
        "data_dir": _word(node, "data-dir") or os.environ.get("EFFGAN_DATA_DIR"),
    }


def _state_dir(context: Context) -> Path:
    """The folder of the state that the site keeps between rounds. Without a kit each node has its own, because several may share a machine."""
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
