"""A site's half: every message is answered by the wheel, from the site's own images."""

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
from .records import UNKNOWN, of_letter, said, what_leaves

Call = Callable[[Message, Context], Message]
Mod = Callable[[Message, Context, Call], Message]

# Flower's types of message are "train" and "train." with one of these.
ACTIONS = ("finetune", "feedback", "logits", "swap")

# What says which question a message is, and most characters of each: a SHA-256 has so many.
TIE, LONGEST = ("kind", "config-hash", "round", "iteration"), 64

# Seconds after the deadline at which work that cannot be interrupted is ended with its process.
GRACE = 10.0

# No work takes longer: 30 years.
MOST_SECONDS = 1e9


def client_app(mods: list[Mod] | None = None) -> ClientApp:
    """The ClientApp, with Flower's ``mods`` around it."""
    app = ClientApp(mods=[one_way_out, end_at_deadline, *(mods or [])])
    app.query()(answer)
    app.train()(answer)
    for action in ACTIONS:
        app.train(action)(answer)
    return app


def answer(message: Message, context: Context) -> Message:
    """The site's answer, by the settings of its ``--node-config``, or of its kit's ``start.sh``, whose paths may hold any character."""
    node = context.node_config
    content = _effgan.answer(
        message.metadata.message_type,
        *of_letter(message),
        **_folders(context),
        client_name=_word(node, "client-name"),
        partition_id=_number(node, "partition-id"),
        jobs=_number(node, "jobs"),
    )
    return what_leaves(content, message)


def one_way_out(message: Message, context: Context, call_next: Call) -> Message:
    """Whatever goes wrong, Flower learns a code: it would send an exception's text, which may name files, folders and people.

    The wheel answers its own failures so; this is for what it cannot, and for a deadline that interrupts it.
    """
    try:
        return call_next(message, context)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        traceback.print_exception(error)
        code = "deadline" if isinstance(error, TimeoutError) else "work-failed"
        words = {"refused": code, **_echo(message, str)}
        if head := _written_down(message, context, code, f"{type(error).__name__}: {error}"):
            words["ledger"] = head
        return what_leaves(({}, _echo(message, float), words), message)


def _written_down(message: Message, context: Context, code: str, why: str) -> str | None:
    """The head of the site's ledger after a line for this refusal."""
    try:
        return _effgan.write_refusal(question_of(message), code, why, **_folders(context))
    except KeyboardInterrupt:
        raise
    except BaseException:
        traceback.print_exc()
        return None


def question_of(message: Message) -> str:
    """What the site's ledger has of the message."""
    try:
        return _effgan.question_of(message.metadata.message_type, *of_letter(message))
    except KeyboardInterrupt:
        raise
    except BaseException:
        return UNKNOWN


def _echo(message: Message, of_type: type) -> dict[str, Any]:
    """What an answer repeats of its question."""
    numbers, words = said(message)
    tie = {name: value for name, value in {**numbers, **words}.items() if name in TIE and len(str(value)) <= LONGEST}
    return {name: value for name, value in tie.items() if isinstance(value, of_type)}


def end_at_deadline(message: Message, context: Context, call_next: Call) -> Message:
    """Ends work that nobody waits for any more, by an exception: a node whose work hangs would answer no other message.

    Work that cannot be interrupted ends with its process, which the node notices a minute later.
    """
    _, numbers, _ = of_letter(message)
    deadline = numbers.get("deadline", 0.0)
    if not 0.0 < deadline <= MOST_SECONDS:
        raise ValueError(f"the message's deadline is {deadline} s")
    timer = threading.Timer(deadline + GRACE, os._exit, (1,))
    timer.daemon = True
    timer.start()
    # Only a main thread has signals; under Ray it is another one.
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
    raise TimeoutError("nobody waits for this answer any more")


def _folders(context: Context) -> dict[str, Any]:
    """Where the site's policy, its images and what it remembers lie."""
    node = context.node_config
    return {
        "state_dir": _state_dir(context),
        "policy": _word(node, "policy") or _of_kit("policy.toml"),
        "data_dir": _word(node, "data-dir") or os.environ.get("EFFGAN_DATA_DIR"),
    }


def _state_dir(context: Context) -> Path:
    """Where the site keeps what it remembers: without a kit, a folder for each node, as several may share a machine."""
    home = Path(os.environ.get("FLWR_HOME") or Path.home() / ".flwr")
    return Path(_word(context.node_config, "state-dir") or _of_kit("state") or home / "effgan" / str(context.node_id))


def _of_kit(name: str) -> str | None:
    """A path in the kit whose ``start.sh`` this comes from."""
    kit = os.environ.get("EFFGAN_KIT")
    return kit and os.path.join(kit, name)


def _word(node: dict[str, Any], key: str) -> str | None:
    value = node.get(key)
    return None if value is None else str(value)


def _number(node: dict[str, Any], key: str) -> int | None:
    value = node.get(key)
    return None if value is None else int(value)


app = client_app()
