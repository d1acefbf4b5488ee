"""What `start.sh` of a kit and of a server do, up to a run over sites with folders of their own."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
from pathlib import Path

import pytest
from conftest import TINY
from deployment import SITES, Processes, assert_wrong, command, federation, init, pictures
from lab import free_port, wait_for

import effgan

# Characters that a shell, Flower's settings or a terminal may mishandle.
NAMES = ["st mary's \"new\" $(touch pwned) `touch pwned` ; a & b | * été 🩻 back\\slash\ttab\nline", "ends\n", "-n"]


@pytest.fixture
def pretended(tmp_path: Path) -> Path:
    """Programs with the names that a kit's start.sh calls; they record their arguments and environment."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in ("effgan", "flower-supernode", "python3"):
        script = f'#!/bin/sh\n[ "$2" != prune ] || exit 0\nprintf "%s\\0" "$@" > "$SEEN/{name}.words"\nenv -0 > "$SEEN/{name}.env"\n[ {name} = python3 ]\n'
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    return folder


@pytest.mark.parametrize(
    ("shell", "name"), [*(("sh", name) for name in NAMES), ("bash", NAMES[0])], ids=["all", "end of line", "option", "all in bash"]
)
def test_a_data_folder_of_any_name_reaches_the_app_as_it_is(tmp_path: Path, pretended: Path, name: str, shell: str) -> None:
    home = tmp_path / "kits of st mary's"
    init(home)
    kit = home / "kits/north"
    assert federation("join", kit)[0] == 0
    (data := tmp_path / "data" / name).mkdir(parents=True)
    (seen := tmp_path / "seen").mkdir()
    variables = {"SEEN": str(seen), "PATH": f"{pretended}:{os.environ['PATH']}", "HTTPS_PROXY": "http://proxy:1", "CDPATH": "/"}
    words = [shell, "../kits of st mary's/kits/north/start.sh", name if name != "-n" else "./-n"]
    done = subprocess.run(words, cwd=data.parent, env=os.environ | variables, capture_output=True, timeout=20)
    assert done.returncode == 1 and not list(tmp_path.rglob("pwned")), done.stderr
    for program in ("flower-supernode", "python3"):
        told = dict(line.split("=", 1) for line in (seen / f"{program}.env").read_text().split("\0") if line)
        assert (told["EFFGAN_KIT"], Path(told["EFFGAN_DATA_DIR"])) == (str(kit), data)
        assert told["EFFGAN_DATA_DIR"].endswith(name)
        assert told["NO_PROXY"] == told["no_proxy"] == "127.0.0.1,localhost"
        assert (told["FLWR_TELEMETRY_ENABLED"], told["FLWR_DISABLE_UPDATE_CHECK"]) == ("0", "1")
    told = dict(line.split("=", 1) for line in (seen / "effgan.env").read_text().split("\0") if line)
    assert "NO_PROXY" not in told and told["HTTPS_PROXY"] == "http://proxy:1"
    supernode = (seen / "flower-supernode.words").read_text().split("\0")
    assert supernode[supernode.index("--node-config") + 1] == "client-name='north'"


def test_a_folder_that_is_not_there_starts_nothing(tmp_path: Path) -> None:
    init(tmp_path / "federation")
    kit = tmp_path / "federation/kits/north"
    for words, reason in [
        ([], "pass the folder of the images"),
        (["/nowhere"], "/nowhere does not exist"),
        (["--partition-id", "1;2"], "--partition-id needs the number of a client"),
        (["--help"], "there is no option --help"),
        ([str(tmp_path)], "there is no key yet; make it with effgan federation join"),
    ]:
        done = subprocess.run([kit / "start.sh", *words], capture_output=True, text=True, check=False)
        assert done.returncode == 2 and reason in done.stderr and done.stdout == "", done.stderr


def test_a_forwarder_whose_port_is_taken_says_how_to_take_another(tmp_path: Path) -> None:
    init(tmp_path / "federation")
    kit = tmp_path / "federation/kits/north"
    assert federation("join", kit)[0] == 0
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, said = federation("forward", kit, "--port", taken.getsockname()[1])
    assert code == 2 and said.count("\n") == 1 and "start with another FORWARD_PORT" in said, said


def test_from_init_to_a_run_over_two_folders(tmp_path: Path, processes: Processes) -> None:
    server = init(tmp_path / "federation", port=free_port(), superlink=free_port())
    kits = {name: server.parent / "kits" / name for name in SITES}
    # Everything below uses the renewed certificate.
    assert federation("renew", server)[0] == 0
    data = {name: pictures(tmp_path / f"st {name}'s", f"client-{i:04}") for i, name in enumerate(SITES)}
    assert_wrong(server, "superlink: ")
    # Some shells export HOST.
    processes.start("server", server / "start.sh", LISTEN="127.0.0.1", HOST="no address")
    wait_for("the server", lambda: federation("check", server)[0] == 0)
    code, said = federation("serve", server)
    assert code == 2 and "is in use: another effgan serves or prunes it" in said, said
    assert "state.db" not in federation("prune", server, "--older-than", "0")[1]
    for name, kit in kits.items():
        key = command("federation", "join", kit)[1].strip()
        # The policy's bounds are for real data: the tiny run has 40 images per site.
        policy = (kit / "policy.toml").read_text("utf-8")
        policy = policy.replace('approve = "each-run"', 'approve = "any"').replace("min_images = 100", "min_images = 10")
        (kit / "policy.toml").write_text(policy)
        # A site that is started before it is admitted waits.
        processes.start(name, kit / "start.sh", data[name], PORT=str(free_port()), FORWARD_PORT=str(free_port()))
        assert federation("admit", key, "--server", server)[0] == 0
        code, said = federation("check", kit, "--data", data[name])
        assert code == 0, said

    config = tmp_path / "folders.toml"
    text = TINY.read_text("utf-8").replace('name = "mnist-mini"\nlimit = 120', 'name = "folder"\nchannels = 1')
    text = text.replace('kind = "by-label"\nclasses_per_client = 5\nclients = 3', 'kind = "iid"\nclients = 1')
    config.write_text(f'{text}\n[federation]\nsites = ["north", "south"]\n')
    code, said = federation("run", config, "--server", server, "--out", tmp_path / "run")
    assert code == 0 and "round 3   collected 2 clients" in said, said
    assert effgan.Model.load(tmp_path / "run").members == SITES
    assert re.findall(r"(\w+): admitted [^\n]* last seen", federation("list", server)[1]) == SITES
    # The server has the head of each site's ledger after each reply, and the sites' ledgers have lines with these hashes.
    heads = [json.loads(line) for line in (tmp_path / "run/ledgers.jsonl").read_text("utf-8").splitlines()]
    assert [[line["kind"] for line in heads if line["client"] == site] for site in SITES] == [["query", "average", "average", "collect"]] * 2
    for line in heads:
        known = ["ledger", kits[line["client"]], "--verify", "--head", line["head"]]
        assert federation(*known)[0] == 0, line
        known[1] = kits[SITES[line["client"] == SITES[0]]]
        assert federation(*known)[0] == 4, line

    config.write_text(f'{text}\n[federation]\nsites = ["north", "south", "east"]\ndeadline = 8\n')
    code, said = federation("run", config, "--server", server, "--out", tmp_path / "never")
    assert code == 4 and "2 of 3 sites connected within 8 s, without east" in said.splitlines()[-1], said
    assert not (tmp_path / "never").exists()
