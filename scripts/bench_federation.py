"""Measures what a federation over Flower costs besides its training, on this machine: the tables in docs/performance.md.

    .venv/bin/python scripts/bench_federation.py

Real processes on 127.0.0.1 with TLS and node identity, the quick start's networks. Training is what `effgan run` takes for the same rounds on the same cores;
the rest of a round is Flower's. Bytes are counted between the sites and the server. "behind the gate" is a federation as `effgan federation init` makes it: gate,
forwarders, effgan's executor and policies. The last table compares simulations of one round.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
sys.path[:0] = [str(REPOSITORY / "bindings/python"), str(REPOSITORY / "bindings/python/tests")]

import effgan  # noqa: E402
from lab import Lab, free_port, wait_for  # noqa: E402

QUICKSTART = REPOSITORY / "configs/quickstart.toml"
ROUNDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, nargs="*", default=[2, 4, 8])
    nodes = parser.parse_args().nodes
    with tempfile.TemporaryDirectory() as folder:
        print("nodes  round s  training s  Flower s  MB of tensors  MB on the wire  overhead  SuperLink MB  ServerApp MB  behind the gate: round s")
        for number in nodes:
            gated = behind_the_gate(Path(folder) / f"gated-{number}", number)
            print(f"{over_flower(Path(folder) / f'nodes-{number}', number)}  {gated:>24.1f}", flush=True)
        print("\nsimulation                    clients  round s  ms per client")
        for name, clients in [("effgan run", 1000), ("effgan run", 100), ("Flower's on Ray", 100)]:
            on_ray = "Ray" in name
            seconds = simulated(Path(folder) / f"{clients}-{on_ray}", clients, on_ray=on_ray)
            print(f"{name:<28} {clients:>8}  {seconds:>7.1f}  {1000 * seconds / clients:>13.1f}", flush=True)


def config(path: Path, clients: int, local: str, algorithm: str) -> Path:
    """Writes a config with the quick start's networks and images that are split evenly among the clients."""
    text = QUICKSTART.read_text("utf-8")
    for key in ('kind = "by-label"          # also', "classes_per_client = 2 ", "epochs = 4                 # in", "fine_tune_epochs = 32", "rounds = 2 "):
        assert key in text, key
    text = text.replace('kind = "by-label"          # also', 'kind = "iid"               # also').replace("classes_per_client = 2 ", "# ")
    text = text.replace("clients = 5\n", f"clients = {clients}\n").replace("min_examples = 16", "min_examples = 2")
    text = text.replace("epochs = 4                 # in", f"{local}  # in").replace("fine_tune_epochs = 32", "# fine_tune_epochs = 32")
    text = text.replace('kind = "effgan"', 'kind = "fedgan"').replace("rounds = 2 ", f"{algorithm} ").replace("limit = 2500", "limit = 10000")
    path.write_text(text.replace("every = 1 ", "every = 1000 "))
    return path


def over_flower(folder: Path, number: int) -> str:
    folder.mkdir()
    file = config(folder / "config.toml", number, "steps = 20", f"rounds = {ROUNDS}")
    with Lab(folder / "lab") as lab, Counter(lab.port) as wire, Memory(lab) as memory:
        for i in range(number):
            lab.start_supernode(f"site-{i}", f"partition-id={i} jobs=1", port=wire.port)
        before = wire.bytes
        outcome = lab.run(file, folder / "run", timeout=900)
        assert outcome.status == "finished:completed", outcome.log
        sent = wire.bytes - before
    effgan.run(file, out=folder / "simulated", jobs=2)
    ours, simulated_ = rounds(folder / "run"), rounds(folder / "simulated")
    whole, training = (statistics.median(one["seconds"] for one in of) for of in (ours, simulated_))
    tensors = sum(one["bytes_down"] + one["bytes_up"] for one in ours)
    return (
        f"{number:>5}  {whole:>7.1f}  {training:>10.1f}  {whole - training:>8.1f}  {tensors / 1e6:>13.1f}  {sent / 1e6:>14.1f}"
        f"  {100 * (sent / tensors - 1):>6.1f} %  {memory.peaks['superlink']:>12.0f}  {memory.peaks['serverapp']:>12.0f}"
    )


# Sites of an experiment: no run needs an approval, and twenty steps are not a whole pass.
POLICY = 'approve = "any"\nwhole_pass = false\nmin_images = 2\n'


def behind_the_gate(folder: Path, number: int) -> float:
    """Seconds of the median round of a federation that is set up by the commands of docs/deploy.md."""
    folder.mkdir()
    file = config(folder / "config.toml", number, "steps = 20", f"rounds = {ROUNDS}")
    sites, made = [f"client-{i:04}" for i in range(number)], folder / "federation"
    port, superlink = free_port(), free_port()
    effgan_("init", "--sites", ",".join(sites), "--host", "127.0.0.1", "--port", port, "--superlink-port", superlink, "--out", made)
    processes = [started(made / "server/start.sh", LISTEN="127.0.0.1")]
    try:
        wait_for("the gate", lambda: effgan_("check", made / "server", must=False) == 0)
        for i, kit in enumerate(made / "kits" / site for site in sites):
            effgan_("join", kit)
            effgan_("admit", kit / "key.pub", "--server", made / "server")
            (kit / "policy.toml").write_text(POLICY)
            processes.append(started(kit / "start.sh", "--partition-id", i, PORT=free_port(), FORWARD_PORT=free_port()))
        effgan_("run", file, "--server", made / "server", "--out", folder / "run")
    finally:
        for process in processes:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()
    return statistics.median(one["seconds"] for one in rounds(folder / "run"))


def effgan_(*arguments: object, must: bool = True) -> int:
    """Runs `effgan federation` and returns its exit code."""
    done = subprocess.run(
        [sys.executable, "-m", "effgan", "federation", *map(str, arguments)],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 or not must, done.stdout + done.stderr
    return done.returncode


def started(*command: object, **variables: object) -> subprocess.Popen[bytes]:
    nothing = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    env = environment() | {name: str(value) for name, value in variables.items()}
    return subprocess.Popen(list(map(str, command)), env=env, start_new_session=True, **nothing)


def environment() -> dict[str, str]:
    programs = [REPOSITORY / "target/release", REPOSITORY / ".venv/bin"]
    return os.environ | {"PATH": os.pathsep.join([*map(str, programs), os.environ["PATH"]])}


def rounds(run: Path) -> list[dict[str, float]]:
    return [event for event in effgan.Run(run).metrics if event["event"] == "round"]


def simulated(folder: Path, clients: int, *, on_ray: bool) -> float:
    """Seconds of the median round with two steps per client."""
    folder.mkdir()
    file = config(folder / "config.toml", clients, "steps = 2", "rounds = 3")
    if on_ray:
        nodes = f"num-supernodes={clients} client-resources-num-cpus=1 init-args-num-cpus=2"
        with Lab(folder / "lab", tls=False, simulation=True) as lab:
            outcome = lab.run(file, folder / "run", timeout=900, federation_config=nodes)
            assert outcome.status == "finished:completed", outcome.log
    else:
        effgan.run(file, out=folder / "run", jobs=2)
    return statistics.median(one["seconds"] for one in rounds(folder / "run"))


class Counter:
    """Relays connections to a port and counts their bytes."""

    def __init__(self, behind: int) -> None:
        self.behind, self.port, self.bytes = behind, free_port(), 0

    def __enter__(self) -> Counter:
        self.listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.close()

    def accept(self) -> None:
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self.behind))
            except OSError:  # the SuperLink has ended
                near.close()
                continue
            for source, target in [(near, far), (far, near)]:
                threading.Thread(target=self.pass_on, args=(source, target), daemon=True).start()

    def pass_on(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(1 << 20):
                self.bytes += len(data)
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            source.close()
            target.close()


class Memory:
    """The peak memory of the server's processes, in MB."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.peaks, self.ended = lab, {"superlink": 0.0, "serverapp": 0.0}, threading.Event()

    def __enter__(self) -> Memory:
        threading.Thread(target=self.watch, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()

    def watch(self) -> None:
        superlink = self.lab.processes["superlink"].pid
        while not self.ended.wait(0.2):
            self.look("superlink", superlink)
            for process in self.lab.children("superlink", "flwr-serverapp"):
                self.look("serverapp", process)

    def look(self, name: str, process: int) -> None:
        try:
            lines = Path(f"/proc/{process}/status").read_text("utf-8").splitlines()
        except OSError:
            return
        peak = [int(line.split()[1]) / 1000 for line in lines if line.startswith("VmHWM")]
        self.peaks[name] = max([self.peaks[name], *peak])


if __name__ == "__main__":
    main()
