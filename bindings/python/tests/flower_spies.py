"""The real ClientApp with mods around it: a spy that records every message, and faults that a site may have.

``spy`` in the ``--node-config`` is the folder that messages are written into; ``fault`` is one of :data:`FAULTS` and the round in which it
happens, as in ``fault='nan@2'``.
"""

from __future__ import annotations

import json
import os
import pickle
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message, RecordDict
from flwr.supernode.runtime import run_clientapp

from effgan.flower.client_app import client_app

Call = Callable[[Message, Context], Message]


def spy(message: Message, context: Context, call_next: Call) -> Message:
    """Records the request and the reply."""
    asked = written(message.content)
    reply = call_next(message, context)
    folder = Path(str(context.node_config["spy"]))
    folder.mkdir(exist_ok=True)
    line = {"type": message.metadata.message_type, "asked": asked, "answered": written(reply.content)}
    (folder / f"{time.time_ns()}-{uuid.uuid4().hex[:8]}.json").write_text(json.dumps(line))
    return reply


def written(content: RecordDict) -> dict[str, dict[str, Any]]:
    """All records by name: the shapes of arrays, the values of others."""
    arrays = {key: {name: array.shape for name, array in record.items()} for key, record in content.array_records.items()}
    numbers = {key: dict(record) for key, record in content.metric_records.items()}
    return arrays | numbers | {key: dict(record) for key, record in content.config_records.items()}


def fault(message: Message, context: Context, call_next: Call) -> Message:
    """Commits the site's ``fault`` in its round, and does the work in all others."""
    what, _, round_ = str(context.node_config.get("fault", "")).partition("@")
    settings = message.content.config_records["config"]
    if not what or settings.get("round") != float(round_):
        return call_next(message, context)
    return FAULTS[what](message, context, call_next)


def raises(message: Message, context: Context, call_next: Call) -> Message:
    raise RuntimeError("the disk is full")


def hangs(message: Message, context: Context, call_next: Call) -> Message:
    while True:
        time.sleep(1)


def dies(message: Message, context: Context, call_next: Call) -> Message:
    os._exit(9)


def is_cut_off(message: Message, context: Context, call_next: Call) -> Message:
    """Ends the process after its reply was announced to the SuperNode and before it was sent."""
    setattr(run_clientapp, "push_objects", lambda *_, **__: os._exit(9))
    return call_next(message, context)


def is_late(message: Message, context: Context, call_next: Call) -> Message:
    time.sleep(float(message.content.config_records["config"]["deadline"]) + 2)  # type: ignore[arg-type]
    return call_next(message, context)


def waits(message: Message, context: Context, call_next: Call) -> Message:
    """Sends a good reply long after the other site's, but within the deadline."""
    time.sleep(8)
    return call_next(message, context)


def nan(message: Message, context: Context, call_next: Call) -> Message:
    return changed(call_next(message, context), lambda array: np.full_like(array, np.nan))


def shape(message: Message, context: Context, call_next: Call) -> Message:
    return changed(call_next(message, context), lambda array: array[:-1])


def garbage(message: Message, context: Context, call_next: Call) -> Message:
    reply = call_next(message, context)
    array = Array(dtype="float32", shape=(1,), stype="numpy.ndarray", data=pickle.dumps([1.0]))
    reply.content["arrays"] = ArrayRecord({name: array for name in reply.content.array_records["arrays"]})
    return reply


def changed(reply: Message, change: Callable[[Any], Any]) -> Message:
    record = reply.content.array_records["arrays"]
    reply.content["arrays"] = ArrayRecord({name: Array(change(array.numpy())) for name, array in record.items()})
    return reply


FAULTS: dict[str, Callable[[Message, Context, Call], Message]] = {
    "raises": raises,
    "hangs": hangs,
    "dies": dies,
    "is-cut-off": is_cut_off,
    "is-late": is_late,
    "waits": waits,
    "nan": nan,
    "shape": shape,
    "garbage": garbage,
}

spied = client_app(mods=[spy])
faulty = client_app(mods=[spy, fault])
