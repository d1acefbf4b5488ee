"""The server's half: Rust says what to send to whom, and Flower carries it."""

from __future__ import annotations

from collections.abc import Sequence
from logging import INFO
from pathlib import Path

from flwr.app import Context
from flwr.common.logger import log
from flwr.serverapp import Grid, ServerApp

from .. import UsageError, _effgan
from .pulling import pull
from .records import Content, letter
from .strategy import aggregate

# Seconds that Flower keeps a message longer than Rust waits for its answer: who is late is called so, and by nothing else.
SPARE = 5.0

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Runs the config at ``config`` into the folder ``out``, or goes on with the run that is there.

    ``server`` is the folder whose list says which node is whose; without it, as in experiments, nodes are believed who they are.
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
    """A setting of ``flwr run --run-config``."""
    path = Path(str(context.run_config.get(key, "")))
    if not path.is_absolute():
        raise UsageError(f"{key} = {str(path)!r} is no absolute path at the server; give one: --run-config \"{key}='/…'\"")
    return path


def _push(grid: Grid, node: int, kind: str, content: Content, seconds: float) -> str:
    [message] = grid.push_messages([letter(content, node, kind, seconds + SPARE)])
    return message


def _pull(grid: Grid, messages: Sequence[tuple[str, int]]) -> tuple[str, Content | str] | None:
    """One reply, so that no more than one is in memory."""
    for message, most in messages:
        said = pull(grid, message, most)
        if said is not None:
            return message, said
    return None
