"""Runs a server and three sites on this machine, with TLS and node identity, by the commands that a hospital would use: `make demo-federation`.

They train the quick start, split among three clients, and their model is compared with the one that `effgan run` trains from the same config.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
SITES = [f"client-{i:04}" for i in range(3)]


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="effgan-demo-") as folder:
        processes: list[subprocess.Popen[bytes]] = []
        try:
            return demo(Path(folder), processes)
        except SystemExit:
            for log in sorted(Path(folder).glob("*.log")):
                print(f"\n--- {log.name}", log.read_text("utf-8")[-2000:], sep="\n", file=sys.stderr)
            raise
        finally:
            for process in reversed(processes):
                os.killpg(process.pid, signal.SIGTERM)
            for process in processes:
                process.wait()


def demo(folder: Path, processes: list[subprocess.Popen[bytes]]) -> int:
    config = folder / "quickstart.toml"
    text = (REPOSITORY / "configs/quickstart.toml").read_text("utf-8")
    # With two digits per client, three clients would leave four digits unused.
    text = text.replace("clients = 5\n", f"clients = {len(SITES)}\n").replace("classes_per_client = 2", "classes_per_client = 4")
    config.write_text(text)
    [port, superlink, *ports] = free_ports(2 + 2 * len(SITES))
    federation, server = folder / "federation", folder / "federation/server"

    where = ["--host", "127.0.0.1", "--port", port, "--superlink-port", superlink]
    show("effgan federation init", "--sites", ",".join(SITES), *where, "--out", federation)
    start(processes, server / "start.sh", log=folder / "server.log", LISTEN="127.0.0.1")
    wait_until_up(port, processes[0], folder / "server.log")
    kits = [federation / "kits" / site for site in SITES]
    for i, kit in enumerate(kits):
        key = show("effgan federation join", kit)
        show("effgan federation admit", key, "--server", server)
        show("effgan federation check", kit, "--config", config)
        own = {"PORT": str(ports[2 * i]), "FORWARD_PORT": str(ports[2 * i + 1])}
        start(processes, kit / "start.sh", "--partition-id", i, log=folder / f"{kit.name}.log", **own)
    run = ["federation", "run", config, "--server", server, "--out", folder / "run"]
    print(f"\n$ effgan {shortened(' '.join(map(str, run)))}", flush=True)
    running = subprocess.Popen(["effgan", *map(str, run)], env=environment())
    # The people at each site approve the run once they have seen what it asks for.
    for kit in kits:
        show("effgan federation approve", kit, "--yes", waiting(kit, running))
    if running.wait() != 0:
        sys.exit(f"the run ended with {running.returncode}")
    show("effgan federation ledger", kits[0])
    simulate(folder, config, kits)

    over_sites, simulated = (model_hash(folder / name) for name in ("run", "simulated"))
    print(f"\nmodel of the federation  {over_sites}\nmodel of the simulation  {simulated}")
    print("the same" if over_sites == simulated else "NOT the same")
    return 0 if over_sites == simulated else 1


def waiting(kit: Path, running: subprocess.Popen[bytes]) -> str:
    """SHA-256 of the config that waits for approval at the site, from the request in the site's ledger."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and running.poll() is None:
        with contextlib.suppress(FileNotFoundError):
            for line in map(json.loads, (kit / "ledger.jsonl").read_text("utf-8").splitlines()):
                if line.get("refused") == "waiting-for-approval":
                    return str(line["config"])
        time.sleep(0.2)
    sys.exit(f"{kit.name} received no request")


def simulate(folder: Path, config: Path, kits: list[Path]) -> None:
    """Simulates the same run on one machine. Which images are held out is each site's secret, which this demo reads from the kits."""
    clients = []
    for i, kit in enumerate(kits):
        split = folder / f"{kit.name}.json"
        show("effgan federation split", config, "--site", kit, "--partition-id", i, "--out", split)
        clients += json.loads(split.read_text("utf-8"))["clients"]
    (folder / "split.json").write_text(json.dumps({"clients": clients}))
    partition = f'[partition]\nkind = "file"\npath = "{folder / "split.json"}"\n'
    told = folder / "simulated.toml"
    told.write_text(re.sub(r"\[partition\]\n.*?\n(?=\n\[)", partition, config.read_text("utf-8"), flags=re.DOTALL))
    show("effgan run", told, "--out", folder / "simulated")


def show(command: str, *arguments: object) -> str:
    """Runs a command and returns what it printed; a command that fails ends the demo."""
    words = [*command.split(), *map(str, arguments)]
    print(f"\n$ {shortened(' '.join(words))}", flush=True)
    done = subprocess.run(words, stdout=subprocess.PIPE, env=environment(), text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{command} ended with {done.returncode}")
    printed = done.stdout.strip()
    for line in printed.splitlines():
        print(f"  {shortened(line)}")
    return printed


def shortened(line: str) -> str:
    """The line without the demo's folder, and with the middle of each key left out."""
    line = line.replace(tempfile.gettempdir() + "/", "")
    return re.sub(r"\S{100,}", lambda key: f"{key[0][:20]}…{key[0][-8:]}", line)


def start(processes: list[subprocess.Popen[bytes]], *command: object, log: Path, **variables: str) -> None:
    with log.open("wb") as output:
        words = list(map(str, command))
        started = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment() | variables,
            start_new_session=True,
        )
    processes.append(started)


def environment() -> dict[str, str]:
    target = REPOSITORY / os.environ.get("CARGO_TARGET_DIR", "target")
    programs = [target / "release", REPOSITORY / ".venv/bin"]
    return os.environ | {"PATH": os.pathsep.join([*map(str, programs), os.environ["PATH"]])}


def wait_until_up(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if server.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"the server did not start:\n{log.read_text('utf-8')}")
        time.sleep(0.2)


def free_ports(number: int) -> list[int]:
    listeners = [socket.socket() for _ in range(number)]
    for listener in listeners:
        listener.bind(("127.0.0.1", 0))
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


def model_hash(run: Path) -> str:
    text: str = json.loads((run / "run.json").read_text("utf-8"))["model_hash"]
    return text


if __name__ == "__main__":
    sys.exit(main())
