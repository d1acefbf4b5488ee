"""What goes over the wire between sites and server in whole runs, with gate, forwarder and executor as in a deployment: every byte of it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import urllib.parse
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY
from deployment import Processes, command, federation, init
from lab import free_port, wait_for
from small_run import AS_THEY_ARE, SIZED, png, small_config
from traces import traces
from wiretap import Wiretap, heads

SITES = ["north", "south"]
PATIENT = "Erika Mustermann 1961-02-03"
CLASSES = ["hiv-positive", "hiv-negative"]
# Names of the machine and of its user.
HOST = "ward7-imaging"
ACCOUNT = "dr.mabuse"


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    (tmp_path / "logs").mkdir()
    processes = Processes(tmp_path / "logs")
    yield processes
    processes.stop()


def config_of(images: str) -> str:
    algorithm, sites = 'kind = "effgan"\nfine_tune_epochs = 1', f"sites = {json.dumps(SITES)}"
    return small_config(images, clients=1, held_out="held_out = 0.2", algorithm=algorithm, sites=sites)


def packed(text: bytes) -> dict[str, bytes]:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a", text)
    inside = {"zlib": zlib.compress(text), "gzip": gzip.compress(text), "zip": archive.getvalue()}
    return {**inside, "zip in gzip": gzip.compress(inside["zip"]), "torn": zlib.compress(text + os.urandom(5000))[:-500]}


@pytest.mark.parametrize("word", [PATIENT, CLASSES[0], f"/data of/{PATIENT}"])
def test_a_word_is_found_in_whatever_it_is_written_and_packed(word: str) -> None:
    """Without this test, a search that finds nothing would prove nothing."""
    noise = os.urandom(1000)
    written = {
        "plain": word.encode(),
        "small": word.lower().encode(),
        "large": word.upper().encode(),
        "UTF-16": word.encode("utf-16-le"),
        "UTF-16, the other way": word.encode("utf-16-be"),
        "hex": word.encode().hex().encode(),
        "HEX": word.encode().hex().upper().encode(),
        "URL": urllib.parse.quote(word).encode(),
        "URL, slashes too": urllib.parse.quote(word, safe="").encode(),
        "form": urllib.parse.urlencode({"a": word}).encode(),
        "JSON": json.dumps([word]).encode(),
    }
    written |= {"hex of UTF-16": written["UTF-16"].hex().encode(), "base64 of UTF-16": base64.b64encode(written["UTF-16"])}
    for before in range(6):
        for after in range(3):
            text = b"?" * before + word.encode() + b">" * after
            written |= {f"base64 {before} {after}": base64.b64encode(text), f"of URLs {before} {after}": base64.urlsafe_b64encode(text)}
    written |= packed(noise + word.encode() + noise)
    written |= {f"base64 of {name}": base64.b64encode(text) for name, text in packed(word.encode()).items()}
    for name, text in written.items():
        assert traces([word], noise + text + noise), name
    assert traces([word], noise * 9) == set()


def data_of(folder: Path, classes: list[str] = CLASSES) -> Path:
    """Images with telling names and folders. Each site has a different number of them, since Flower takes equal parts of replies from one site alone."""
    shutil.rmtree(folder, ignore_errors=True)
    for i in range(40 if folder.parent.name.endswith("north") else 44):
        png(folder / classes[i % 2] / f"thorax-{i:04}.png", 16)
    return folder


def missing(folder: Path) -> None:
    shutil.rmtree(folder)


def of_two_sizes(folder: Path) -> None:
    png(data_of(folder) / CLASSES[0] / f"{PATIENT}.png", 9)


def broken(folder: Path) -> None:
    (data_of(folder, LISTED) / LISTED[1] / f"{PATIENT}.png").write_bytes(b"no image")


def of_other_classes(folder: Path) -> None:
    data_of(folder)


# What happens to each site's images, and what the site then replies.
Fates = dict[str, tuple[Callable[[Path], None], str]]
LISTED = ["cat", "dog"]
FAILURES: list[tuple[str, Fates]] = [
    (AS_THEY_ARE, {"north": (missing, "data-unusable"), "south": (of_two_sizes, "data-unusable")}),
    (f"{SIZED}\n{AS_THEY_ARE}", {"north": (broken, "data-unusable"), "south": (of_other_classes, "unknown-class")}),
]


ON_ITS_OWN_HOST = ["unshare", "--uts", "sh", "-c", f'hostname {HOST} && exec "$@"', "sh"]


def may_name_hosts() -> bool:
    is_there = shutil.which("unshare") is not None
    return is_there and subprocess.run([*ON_ITS_OWN_HOST, "true"], capture_output=True, check=False).returncode == 0


def on_its_own_host(*words: object) -> list[object]:
    """A command under which the host is called ``HOST``, if this account may rename it."""
    return [*ON_ITS_OWN_HOST, *words] if may_name_hosts() else [*words]


@pytest.mark.skipif(not may_name_hosts(), reason="unshare --uts is not there or not allowed: in these tests a site's host has no name to be looked for")
def test_a_site_believes_that_its_host_is_called_so() -> None:
    done = subprocess.run([*ON_ITS_OWN_HOST, "uname", "-n"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == HOST


class Clinic:
    """A site that takes part through a wiretap."""

    def __init__(self, name: str, server: Path, folder: Path) -> None:
        self.name, self.folder = name, folder / f"clinic of {PATIENT} in the {name}"
        self.kit, self.data = self.folder / f"ward-seven of {PATIENT}", self.folder / f"thorax study of {PATIENT}"
        self.folder.mkdir()
        (server.parent / "kits" / name).rename(self.kit)
        (self.kit / "policy.toml").write_text('approve = "any"\nmin_images = 10\n')
        key = command("federation", "join", self.kit)[1].strip()
        assert federation("admit", key, "--server", server)[0] == 0
        self.tap = Wiretap(self.kit, server, folder)
        data_of(self.data)

    def start(self, processes: Processes) -> None:
        account = {"HOME": str(self.folder), "USER": ACCOUNT, "LOGNAME": ACCOUNT, "HOSTNAME": HOST}
        variables: dict[str, Any] = {"PORT": str(free_port()), "FORWARD_PORT": str(free_port()), **account}
        self.log = processes.start(self.name, *on_its_own_host(self.kit / "start.sh", self.data), **variables)

    def secrets(self) -> list[str]:
        parts = [*PATIENT.split()[1:], "clinic of", "ward-seven", "thorax"]
        return [*parts, *CLASSES, HOST, ACCOUNT, *map(str, (self.folder, self.kit, self.data))]

    def sent(self) -> bytes:
        return b"".join(connection.sent for connection in self.tap.connections)

    def received(self) -> bytes:
        return b"".join(connection.received for connection in self.tap.connections)


@pytest.mark.parametrize("failures", [FAILURES[:1], pytest.param(FAILURES, marks=pytest.mark.slow)], ids=["row 7", "more"])
def test_no_name_of_a_site_is_in_any_byte_between_it_and_the_server(
    tmp_path: Path, processes: Processes, failures: list[tuple[str, Fates]]
) -> None:
    """Searches a run that completes, runs in which each site fails in another way, and everything that the server keeps."""
    server = init(tmp_path / "federation", port=free_port(), superlink=free_port())
    clinics = [Clinic(name, server, tmp_path) for name in SITES]
    config, terminal = tmp_path / "config.toml", ""
    with ExitStack() as stack:
        server_log = processes.start("server", server / "start.sh", LISTEN="127.0.0.1")
        for clinic in clinics:
            stack.enter_context(clinic.tap)
            clinic.start(processes)
        wait_for("the server", lambda: federation("check", server)[0] == 0)
        config.write_text(config_of(SIZED))
        code, said = federation("run", config, "--server", server, "--out", tmp_path / "run")
        assert code == 0 and "round 2   collected 2 clients" in said, said
        terminal += said + federation("report", tmp_path / "run")[1]
        for images, fates in failures:
            for clinic in clinics:
                fates[clinic.name][0](clinic.data)
            config.write_text(config_of(images) + (f"classes = {json.dumps(LISTED)}\n" if SIZED in images else ""))
            code, said = federation("run", config, "--server", server, "--out", tmp_path / "failed")
            terminal += said
            answers = [f"{name} cannot take part: refused: {refusal} (" for name, (_, refusal) in fates.items()]
            assert code == 4 and all(answer in said for answer in answers), said
        processes.stop()

    kept = [path for folder in (server, tmp_path / "run", tmp_path / "failed") for path in folder.rglob("*") if path.is_file()]
    assert {"state.db", "gate.json", "metrics.jsonl", "report.html"} <= {path.name for path in kept}
    for clinic in clinics:
        sent, received, secrets = clinic.sent(), clinic.received(), clinic.secrets()
        assert traces(secrets, sent) == set() and traces(secrets, received) == set()
        for path in [*kept, server_log]:
            assert traces(secrets, path.read_bytes()) == set(), path
        assert traces(secrets, terminal.encode()) == set()
        assert "Mustermann" in clinic.log.read_text(), "the site's own log says what is wrong"
        saw_all_of(clinic, sent, received, [fates[clinic.name][1] for _, fates in failures])


def saw_all_of(clinic: Clinic, sent: bytes, received: bytes, refusals: list[str]) -> None:
    """Checks that the wiretap read each reply, with everything that the site's ledger says was in it."""
    lines = (clinic.kit / "ledger.jsonl").read_bytes().splitlines()
    entries = [json.loads(line) for line in lines]
    # The server repeats its request to a site that is slow to reply.
    answers = [answer for answer, _ in groupby((entry["config"], entry["kind"], entry.get("refused")) for entry in entries)]
    wanted = [("query", None), ("average", None), ("collect", None), *(("query", refusal) for refusal in refusals)]
    assert [answer[1:] for answer in answers] == wanted
    for line, entry in zip(lines, entries, strict=True):
        head = hashlib.sha256(line).hexdigest()
        if entry["event"] == "audited":
            assert head.encode() not in sent and b"auc" not in sent, "an audit stays at its site"
            continue
        names = [name for kind in ("arrays", "numbers", "words") for name in entry.get(kind, {})]
        for word in [head, entry["config"], entry["kind"], entry.get("refused", ""), *names]:
            assert word.encode() in sent, word
    assert b"generator" in sent and b"loss_g" in sent and b"num-examples" in sent
    assert b"latent_dim = 4" in received and b"discriminator" in received
    asked = [head for connection in clinic.tap.connections for head in heads(bytes(connection.sent))]
    told = [head for connection in clinic.tap.connections for head in heads(bytes(connection.received))]
    replies = [entry for entry in entries if entry["event"] != "audited"]
    assert [line for line, _ in asked].count("POST /v1/fleet/push-messages HTTP/1.1") >= len(replies)
    assert "HTTP/1.1 200 OK" in [line for line, _ in told]
    # All headers are named on the page for data-protection officers.
    page = (REPOSITORY / "docs/what-leaves-your-site.md").read_text("utf-8")
    assert [name for name in sorted(set().union(*(names for _, names in asked))) if f"`{name}`" not in page] == []
