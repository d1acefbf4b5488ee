"""A tiny run that all tests may read, and the program that it is compared with."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import effgan

if TYPE_CHECKING:
    from deployment import Processes

REPOSITORY = Path(__file__).parents[3]
TINY = REPOSITORY / "crates/effgan-run/tests/tiny.toml"
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))

# The type of the fixture `script`.
Script = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="session")
def program() -> Path:
    """The `effgan` binary of the same build."""
    return TARGET / "release" / "effgan"


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> effgan.Run:
    """A tiny run, made from Python."""
    return effgan.run(TINY, out=tmp_path_factory.mktemp("runs") / "python", jobs=2)


@pytest.fixture
def inside_of_a_server_app() -> Iterator[None]:
    """Flower makes messages only inside a task; this pretends to be one."""
    from flwr.supercore.task_identity import TaskIdentity

    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1
    yield
    for name in ("_task_id", "_run_id", "_node_id"):
        setattr(TaskIdentity, name, None)


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """Starts Python with a script and arguments; its output is read from its pipes."""

    def start(text: str, *arguments: object, **options: object) -> subprocess.Popen[str]:
        file = tmp_path / "script.py"
        file.write_text(text)
        command = [sys.executable, str(file), *map(str, arguments)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, text=True, **pipes, **options)  # type: ignore[call-overload, no-any-return]

    return start


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """Scripts of a federation, all of which are stopped at the end."""
    from deployment import Processes

    processes = Processes(tmp_path)
    yield processes
    processes.stop()


@pytest.fixture
def admitted(tmp_path: Path, processes: Processes) -> tuple[Path, Path, Path]:
    """A server whose gate runs, the kit of a site that is admitted, and its images."""
    from deployment import command, federation, init, pictures
    from lab import free_port

    server = init(tmp_path / "federation", port=free_port(), superlink=free_port())
    kit = tmp_path / "federation/kits/north"
    assert federation("admit", command("federation", "join", kit)[1].strip(), "--server", server)[0] == 0
    processes.serve(server)
    return server, kit, pictures(tmp_path / "images", "client-0000")
