"""A federation on this machine as people set it up: by the wheel's commands and the scripts that these write."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib.image
from conftest import TARGET, TINY
from lab import kill_group, wait_for

import effgan

SITES = ["north", "south"]


def command(*arguments: object) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of the wheel's program."""
    words = [sys.executable, "-m", "effgan", *map(str, arguments)]
    done = subprocess.run(words, env=environment(), capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def environment(**variables: str) -> dict[str, str]:
    # An installed wheel also installs the command `effgan`; here it is the binary of the same build.
    programs = [str(TARGET / "release"), str(Path(sys.executable).parent), os.environ["PATH"]]
    return os.environ | {"PATH": os.pathsep.join(programs)} | variables


def federation(*arguments: object) -> tuple[int, str]:
    """Exit code, and the lines of both outputs."""
    code, out, error = command("federation", *arguments)
    return code, out + error


class Processes:
    """Scripts of a federation, each in a group of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.started = folder, []

    started: list[subprocess.Popen[bytes]]

    def start(self, name: str, *words: object, options: Mapping[str, Any] | None = None, **variables: str) -> Path:
        log = self.folder / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                list(map(str, words)),
                stdout=output,
                stderr=output,
                env=environment(**variables),
                start_new_session=True,
                **(options or {}),
            )
        self.started.append(process)
        return log

    def serve(self, server: Path) -> None:
        """Starts the gate alone, which is all of a server that `check` needs at a site."""
        log = self.start("gate", sys.executable, "-m", "effgan", "federation", "serve", server, "--host", "127.0.0.1")
        port = re.search(r"^port = (\d+)", (server / "server.toml").read_text(), re.MULTILINE)
        assert port
        wait_for("the gate", lambda: is_listening(int(port[1])) or self.started[-1].poll() is not None)
        assert self.started[-1].poll() is None, log.read_text()

    def stop(self) -> None:
        for process in reversed(self.started):
            kill_group(process.pid, signal.SIGTERM)
        for process in self.started:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                kill_group(process.pid, signal.SIGKILL)
                process.wait()
        self.started.clear()


def is_listening(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def init(out: Path, *more: object, port: int = 8123, superlink: int = 8124) -> Path:
    """The folder of a server on this machine."""
    where = ["--host", "127.0.0.1", "--port", port, "--superlink-port", superlink, "--out", out]
    code, said = federation("init", "--sites", ",".join(SITES), *where, *more)
    assert code == 0, said
    return out / "server"


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def pictures(folder: Path, client: str, size: int = 28) -> Path:
    """The images that the tiny run assigns to the client, as PNG files by class."""
    pixels, labels = effgan.deal(TINY)[client]
    for i, (image, label) in enumerate(zip(pixels, labels, strict=True)):
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
        matplotlib.image.imsave(folder / str(label) / f"{i:03}.png", image[0, :size], cmap="gray", vmin=0, vmax=255)
    return folder


def is_admitted(kit: Path) -> bool:
    """Whether `check`, without a data folder, reports that the gate accepts the site's key."""
    return "accepts this site's key" in federation("check", kit)[1]


def assert_wrong(folder: Path, line: str, *arguments: object, code: int = 4) -> None:
    """`check` ends with this one line."""
    found, _, error = command("federation", "check", folder, *arguments)
    assert found == code and error.count("\n") == 1 and error.startswith(f"effgan: {line}"), error
