"""The program on a terminal, as a person sees it: a pseudo-terminal, and an emulator of the few codes that the program uses."""

from __future__ import annotations

import codecs
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import TINY

COLUMNS, LINES = 80, 24
# Settings whose rounds are long enough to be looked at.
LOOKED_AT = ["--set=local.epochs=150", "--set=algorithm.rounds=2", "--set=algorithm.fine_tune_epochs=1", "--jobs=2"]
CODE = re.compile(r"\x1b\[(\d*)([A-Za-z])|(\r)|(\n)|([^\x1b\r\n])")
BEGUN = re.compile(r"\x1b(\[\d*)?$")


class Terminal:
    """A program with a pseudo-terminal as all of its standard streams."""

    def __init__(self, command: list[str], **environment: str) -> None:
        self.ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        kept = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
        variables = {**kept, "TERM": "xterm-256color", **environment}
        streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
        self.child = subprocess.Popen(command, env=variables, start_new_session=True, **streams)  # type: ignore[call-overload]
        os.close(theirs)
        self.said = ""
        self.screen: list[list[str]] = [[]]
        self.row = self.column = 0

    def frames(self) -> Iterator[str]:
        """The screen after each write, until the program ends."""
        decoder, begun = codecs.getincrementaldecoder("utf-8")(), ""
        while True:
            try:
                text = begun + decoder.decode(os.read(self.ours, 65536))
            except OSError:  # the program has ended
                break
            # An incomplete code waits for the rest of it.
            whole = BEGUN.sub("", text)
            begun = text[len(whole) :]
            self.said += whole
            self.show(whole)
            yield self.text()
        os.close(self.ours)
        self.child.wait()

    def show(self, text: str) -> None:
        for number, code, home, down, letter in CODE.findall(text):
            if home:
                self.column = 0
            elif down:
                self.row += 1
                self.screen += [[]] * (self.row + 1 - len(self.screen))
            elif letter:
                if self.column == COLUMNS:
                    self.show("\r\n")
                line = self.screen[self.row]
                self.screen[self.row] = [*line[: self.column], letter, *line[self.column + 1 :]]
                self.column += 1
            elif code == "A":
                self.row -= int(number or 1)
                assert self.row >= 0, "above the screen"
            elif code in "JK":
                self.screen[self.row] = self.screen[self.row][: self.column]
                if code == "J":
                    del self.screen[self.row + 1 :]
            else:
                assert code == "m", f"a code that is not expected: {code}"

    def text(self) -> str:
        return "\n".join("".join(line).rstrip() for line in self.screen).rstrip()


def command(program: Path, out: Path, *more: str) -> list[str]:
    return [str(program), "run", str(TINY), f"--out={out}", *more]


@pytest.fixture(scope="module")
def recorded(program: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Terminal, list[tuple[float, str]]]:
    """A finished run on a terminal, and its frames with their times."""
    terminal = Terminal(command(program, tmp_path_factory.mktemp("terminal") / "run", *LOOKED_AT))
    frames = [(time.monotonic(), frame) for frame in terminal.frames()]
    assert terminal.child.returncode == 0
    return terminal, frames


def test_a_person_sees_who_works_and_how_it_goes(recorded: tuple[Terminal, list[tuple[float, str]]]) -> None:
    terminal, frames = recorded
    of_round_2 = [frame for _, frame in frames if "round 2 of 3: training 3 clients" in frame]
    view = (
        r"\nround 1   averaged 3 clients: loss D ",
        r"\nround 2 of 3: training 3 clients, ([12] done, )?[12] at work",
        r"\n  ━*─*  +\d+ %   \d+:\d\d left of the round, \d+:\d\d of the run\n",
        r"\n  client-000\d  ━*─*  +\d+/\d+  loss D \d\.\d{3} +G \d+\.\d{3}\n",
        r"\n  \d+ images/s   0\.[1-9] MB sent   averaged generator fd_small \d+\.\d\d$",
    )
    # Not in every frame: a client that has just begun has no loss to show.
    partial = [frame for frame in of_round_2 if not all(re.search(line, frame) for line in view)]
    assert 2 * len(partial) < len(of_round_2), "\n".join([f"{len(partial)} of {len(of_round_2)} lack a line, such as", *partial[-1:]])
    assert "\x1b[36m" in terminal.said
    # The screen ends with the lines that are printed where there is no terminal.
    left = frames[-1][1].replace("\n", "")
    assert left.endswith("report.html") and left.count("averaged 3 clients") == 2 and "images/s" not in left


def test_time_left_is_about_the_time_it_takes(recorded: tuple[Terminal, list[tuple[float, str]]]) -> None:
    _, frames = recorded
    told = [(at, match) for at, frame in frames if (match := re.search(r"(\d+):(\d\d) of the run", frame))]
    at, match = told[len(told) // 4]
    left, took = 60 * int(match[1]) + int(match[2]), frames[-1][0] - at
    # A quarter into the run, with a round to come. The factor of three allows for a machine whose speed varies with its other work.
    assert took / 3 - 1 < left < 3 * took + 1


@pytest.mark.parametrize(("environment", "view"), [({"NO_COLOR": "1"}, True), ({"TERM": "dumb"}, False)])
def test_no_colours_where_they_are_not_wanted(
    program: Path, tmp_path: Path, environment: dict[str, str], view: bool
) -> None:
    terminal = Terminal(command(program, tmp_path / "run", "--set=local.epochs=40"), **environment)
    list(terminal.frames())
    assert terminal.child.returncode == 0
    assert not re.search(r"\x1b\[\d*m", terminal.said)
    assert ("images/s" in terminal.said) == view == ("\x1b" in terminal.said)


def test_without_a_terminal_there_are_only_lines(program: Path, tmp_path: Path) -> None:
    done = subprocess.run(command(program, tmp_path / "run"), capture_output=True, text=True, check=True)
    assert done.stderr == "" and "\x1b" not in done.stdout and "\r" not in done.stdout
    assert [line.split()[0] for line in done.stdout.splitlines() if line.startswith("round")] == ["round"] * 3


def test_json_is_json_on_a_terminal_too(program: Path, tmp_path: Path) -> None:
    with (tmp_path / "out").open("w+") as out:
        terminal = Terminal(["sh", "-c", 'exec "$@" > "$0"', out.name, *command(program, tmp_path / "run", "--json")])
        list(terminal.frames())
        lines = out.read().splitlines()
    assert [json.loads(line)["event"] for line in lines].count("round") == 3


def test_ctrl_c_leaves_a_clean_terminal(program: Path, tmp_path: Path) -> None:
    terminal = Terminal(command(program, tmp_path / "run", "--set=local.epochs=1000000"))
    last, sent = "", False
    for frame in terminal.frames():
        last = frame
        if not sent and "at work" in frame:
            # A signal instead of the keyboard's code, at which the kernel would discard output that this test has not read yet; a real terminal would have.
            os.kill(terminal.child.pid, signal.SIGINT)
            sent = True
    assert terminal.child.returncode == 130
    assert "at work" not in last and "images/s" not in last
    # The last line says how to continue; the terminal may wrap it anywhere, also at a space.
    assert "".join(last.split()).endswith("continuestherun")
