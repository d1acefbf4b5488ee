"""The ServerApp: Rust decides what to send to which node, and Flower carries it."""

from __future__ import annotations

from collections.abc import Sequence
from logging import INFO
from pathlib import Path

from flwr.app import Context
from flwr.common.logger import log
from flwr.serverapp import Grid, ServerApp

from .. import UsageError, _effgan
from .pulling import pull
from .records import Content, request
from .strategy import aggregate

# Seconds for which Flower keeps a message after Rust stops waiting for the reply, so that Rust is always the one to report a late reply.
SPARE = 5.0

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Runs the config file ``config`` into the folder ``out``, or resumes the run that is there.

    ``server`` is the server's folder, whose list says which node is which site. Without it, as in experiments, the server trusts the names that
    nodes report.
    """
    config, out = _path(context, "config"), _path(context, "out")
    server = _path(context, "server") if context.run_config.get("server") else None
    _effgan.federate(
        config,
        out=out,
        nodes=lambda: list(grid.get_node_ids()),
        push=lambda node, kind, content, seconds: _push(grid, node, kind, content, seconds),
        pull=lambda messages: _pull(grid, messages),
        aggregate=aggregate,
        log=lambda line: log(INFO, "%s", line),
        server=server,
    )


def _path(context: Context, key: str) -> Path:
    """A path among the settings of ``flwr run --run-config``."""
    path = Path(str(context.run_config.get(key, "")))
    if not path.is_absolute():
        raise UsageError(f"{key} = {str(path)!r} is not an absolute path at the server; give one: --run-config \"{key}='/…'\"")
    return path


def _push(grid: Grid, node: int, kind: str, content: Content, seconds: float) -> str:
    [message] = grid.push_messages([request(content, node, kind, seconds + SPARE)])
    return message


def _pull(grid: Grid, messages: Sequence[tuple[str, int]]) -> tuple[str, Content | str] | None:
    """One of the replies that have arrived, so that at most one is in memory; ``None`` when none has."""
    for message, max_bytes in messages:
        reply = pull(grid, message, max_bytes)
        if reply is not None:
            return message, reply
    return None
