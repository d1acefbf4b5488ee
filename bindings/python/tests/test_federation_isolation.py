"""Other accounts of a machine, and the network: what deploy/systemd promises, with the kernel's namespaces and without systemd."""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import REPOSITORY
from deployment import Processes, command, federation, init, pictures
from lab import free_port, wait_for

from effgan import _effgan

# An account that owns nothing here.
STRANGER = 61002
UNITS = sorted((REPOSITORY / "deploy/systemd").iterdir())


def why_not() -> str | None:
    if os.geteuid() != 0:
        return "only root makes a network and becomes another user"
    if not (shutil.which("unshare") and shutil.which("ip")):
        return "unshare (util-linux) or ip (iproute2) is missing"
    if subprocess.run(["unshare", "--net", "ip", "link", "set", "lo", "up"], capture_output=True, check=False).returncode != 0:
        return "this machine lets nobody make a network"
    return None


def as_stranger(is_so: Callable[[], bool]) -> bool:
    """The result of a function that runs as another account of this machine, in the network of the machine itself."""
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(STRANGER)
            os.setuid(STRANGER)
            os._exit(0 if is_so() else 1)
        except BaseException:
            os._exit(2)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, 1)
    return code == 0


def is_reached(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def can_read(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            file.read(1)
    except PermissionError:
        return False
    return True


# Runs a command in a network with nothing but its own loopback.
ALONE = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]


def hand_over(listener: socket.socket) -> dict[str, object]:
    """Passes a socket as systemd does, as file descriptor 3."""
    return {"preexec_fn": lambda: os.dup2(listener.fileno(), 3), "pass_fds": [3]}


def socket_in_network_of(pid: int, port: int) -> socket.socket:
    """Listens on a loopback port in the network of the process, as a .socket unit with JoinsNamespaceOf= does."""
    libc = ctypes.CDLL(None, use_errno=True)
    new_net = 0x40000000
    with open("/proc/self/ns/net") as home, open(f"/proc/{pid}/ns/net") as there:
        assert libc.setns(there.fileno(), new_net) == 0
        try:
            return socket.create_server(("127.0.0.1", port))
        finally:
            assert libc.setns(home.fileno(), new_net) == 0


@pytest.mark.skipif(why_not() is not None, reason=why_not() or "")
def test_another_account_reaches_nothing_of_flowers_and_reads_no_secret(tmp_path: Path, processes: Processes) -> None:
    public, superlink, runtime, forward = (free_port() for _ in range(4))
    server = init(tmp_path / "federation", port=public, superlink=superlink)
    kit = server.parent / "kits/north"
    assert federation("admit", command("federation", "join", kit)[1].strip(), "--server", server)[0] == 0
    # The program creates the ledger at the first request; here there is none.
    question = _effgan.question_of("query", {}, {}, {})
    _effgan.write_refusal(question, "work-failed", "a name", state_dir=kit / "state", policy=kit / "policy.toml")
    data = pictures(tmp_path / "images", "client-0000")
    # Everybody may enter the folders above, so only the folders below protect the files.
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)

    with socket.create_server(("127.0.0.1", public)) as gate:
        processes.start("server", *ALONE, server / "start.sh", options=hand_over(gate), LISTEN_FDS="1")
    alone = [*ALONE, kit / "start.sh", data]
    processes.start("site", *alone, FORWARDER="elsewhere", PORT=str(runtime), FORWARD_PORT=str(forward))
    site = processes.started[-1].pid
    wait_for("the site's network", lambda: os.readlink(f"/proc/{site}/ns/net") != os.readlink("/proc/self/ns/net"))
    with socket_in_network_of(site, forward) as listener:
        words = [sys.executable, "-m", "effgan", "federation", "forward", kit]
        processes.start("forwarder", *words, options=hand_over(listener), LISTEN_FDS="1")
    # The site's node has reached the SuperLink through the forwarder and the gate.
    wait_for("the site", lambda: "last seen" in federation("list", server)[1])

    assert as_stranger(lambda: is_reached(public))
    for what, port in [("Control", superlink), ("Runtime", runtime), ("the forwarder", forward)]:
        assert not as_stranger(lambda port=port: is_reached(port)), what  # type: ignore[misc]
    files = [path for folder in (server, kit) for path in folder.rglob("*") if path.is_file()]
    names = {path.name for path in files}
    assert {"ca.key", "server.key", "superexec.secret", "sites.toml", "gate.json", "state.db", "key", "hold-out.secret", "ledger.jsonl"} <= names
    readable = [str(path) for path in files if as_stranger(lambda path=path: can_read(path))]  # type: ignore[misc]
    assert readable == []
    # Each secret is protected by its own mode, too, if the folders are open.
    for folder in (server, kit):
        folder.chmod(0o755)
    secret = ["ca.key", "server.key", "superexec.secret", "sites.toml", "gate.json", "state.db", "key", "local.key", "hold-out.secret", "ledger.jsonl"]
    for path in files:
        if path.name in secret or "state" in path.parts:
            assert not as_stranger(lambda path=path: can_read(path)), path  # type: ignore[misc]


@pytest.mark.skipif(why_not() is not None, reason=why_not() or "")
def test_a_site_in_a_network_of_its_own_has_no_way_out(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        call = "import socket, sys; socket.create_connection(('127.0.0.1', int(sys.argv[1])), 5)"
        assert subprocess.run([sys.executable, "-c", call, str(port)], check=False).returncode == 0
        alone = subprocess.run([*ALONE, sys.executable, "-c", call, str(port)], capture_output=True, text=True, check=False)
        assert alone.returncode != 0 and "Connection refused" in alone.stderr
    interfaces = subprocess.run([*ALONE, "ip", "-brief", "link"], capture_output=True, text=True, check=True).stdout
    assert [line.split()[0] for line in interfaces.splitlines()] == ["lo"]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is missing")
def test_systemd_understands_the_units() -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *UNITS], capture_output=True, text=True, check=False
    )
    wrong = [line for line in done.stderr.splitlines() if "is not executable: No such file" not in line]
    assert wrong == []


def lines_of(suffix: str) -> dict[str, list[str]]:
    return {path.name: path.read_text("utf-8").splitlines() for path in UNITS if path.suffix == suffix}


def values(lines: list[str], key: str) -> list[str]:
    return [value for line in lines if line.startswith(f"{key}=") for value in line.removeprefix(f"{key}=").split()]


def test_only_the_forwarder_of_a_site_and_no_part_of_a_server_is_in_the_machines_network() -> None:
    services = lines_of(".service")
    outside = [name for name, lines in services.items() if "PrivateNetwork=yes" not in lines]
    assert outside == ["effgan-forward.service"]
    for name, lines in services.items():
        assert {"NoNewPrivileges=yes", "CapabilityBoundingSet=", "UMask=0077", "ProtectSystem=strict"} <= set(lines), name


def test_what_reaches_the_network_is_no_account_that_opens_images_or_the_kit() -> None:
    services = lines_of(".service")
    # A dynamic user of systemd is named like its unit.
    users = {
        name: values(lines, "User") or [name.removesuffix(".service")] * ("DynamicUser=yes" in lines)
        for name, lines in services.items()
    }
    assert all(len(user) == 1 for user in users.values()), users
    inside = {users[name][0] for name, lines in services.items() if "PrivateNetwork=yes" in lines}
    assert inside == {"effgan-server", "effgan-site"}
    for name in services:
        if "PrivateNetwork=yes" not in services[name]:
            assert users[name][0] not in inside, name
    forwarder = services["effgan-forward.service"]
    assert not values(forwarder, "ReadWritePaths") and not values(forwarder, "SupplementaryGroups")
    assert "TemporaryFileSystem=/srv:ro" in forwarder and values(forwarder, "BindReadOnlyPaths") == ["/srv/effgan/venv"]
    copied = [credential.partition(":")[0] for credential in values(forwarder, "LoadCredential")]
    assert copied == ["site.toml", "ca.crt", "key", "local.crt", "local.key"]


def test_no_service_can_write_the_program_that_it_runs() -> None:
    for name, lines in lines_of(".service").items():
        for folder in map(Path, values(lines, "ReadWritePaths")):
            assert not Path("/srv/effgan/venv").is_relative_to(folder), name


def test_a_unit_joins_the_network_of_one_that_starts_before_it() -> None:
    # A unit that joins another's network must start after it: systemd looks for that network when it starts the joining unit.
    joining = {name: lines for name, lines in (lines_of(".service") | lines_of(".socket")).items() if values(lines, "JoinsNamespaceOf")}
    assert sorted(joining) == ["effgan-run@.service", "effgan-site.service"]
    for name, lines in joining.items():
        assert set(values(lines, "JoinsNamespaceOf")) <= set(values(lines, "After")) & set(values(lines, "Requires")), name


def test_a_forwarder_needs_of_a_kit_what_its_unit_hands_over_and_writes_nothing(tmp_path: Path, processes: Processes) -> None:
    kit = init(tmp_path / "federation", port=free_port()).parent / "kits/north"
    assert federation("join", kit)[0] == 0
    handed = tmp_path / "credentials"
    handed.mkdir()
    unit = lines_of(".service")["effgan-forward.service"]
    for name, path in (credential.split(":") for credential in values(unit, "LoadCredential")):
        shutil.copy(kit / Path(path).name, handed / name)
        (handed / name).chmod(0o400)
    handed.chmod(0o500)
    before = sorted(path.stat().st_mtime_ns for path in [handed, *handed.iterdir()])
    port = free_port()
    log = processes.start("forwarder", sys.executable, "-m", "effgan", "federation", "forward", handed, "--port", port)
    wait_for("the forwarder", lambda: is_reached(port) or processes.started[-1].poll() is not None)
    assert processes.started[-1].poll() is None, log.read_text()
    assert sorted(path.stat().st_mtime_ns for path in [handed, *handed.iterdir()]) == before
