"""A federation on this machine: a real SuperLink and real SuperNodes on 127.0.0.1, each process with a log of its own."""

from __future__ import annotations

import datetime
import ipaddress
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

# Seconds that each part of Flower may take to start.
PATIENCE = 60.0

# The app that `effgan federation run` sends.
APP = Path(__file__).parents[3] / "crates/effgan-cli/src/setup/app.toml"
OWN = "effgan.flower.client_app:app"


@dataclass(frozen=True)
class Outcome:
    """How a run ended: ``flwr run``'s exit status and what it streamed, and Flower's own status of the run."""

    code: int
    log: str
    status: str


@dataclass
class Lab:
    """A SuperLink and SuperNodes, whose files are in ``folder`` and whose processes are stopped at the end.

    With ``database`` the SuperLink keeps its state and runs apps in processes that outlive it; with ``executor`` each SuperNode has
    effgan's executor beside it, which runs the installed app whatever app is sent.
    """

    folder: Path
    tls: bool = True
    database: bool = False
    simulation: bool = False
    executor: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    server_app: str = "effgan.flower.server_app:app"
    client_app: str = OWN
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.port = free_port()
        self.app = self.folder / "app"
        self.app.mkdir(parents=True)
        app = APP.read_text("utf-8").replace("effgan.flower.server_app:app", self.server_app).replace(OWN, self.client_app)
        (self.app / "pyproject.toml").write_text(app)
        self.ca = self.folder / "ca.crt"
        connection = [f'address = "127.0.0.1:{self.port}"']
        if self.tls:
            certificates(self.folder)
            connection.append(f'root-certificates = "{self.ca}"')
        else:
            connection.append("insecure = true")
        home = self.home("server")
        (home / "config.toml").write_text("\n".join(['[superlink]\ndefault = "lab"\n[superlink.lab]', *connection, ""]))

    def __enter__(self) -> Lab:
        self.start_superlink()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for name in list(self.processes):
            self.stop(name)
        if kind is not None:
            for log in sorted(self.folder.glob("*.log")):
                print(f"--- {log.name}", log.read_text(errors="replace")[-3000:], sep="\n")

    def home(self, name: str) -> Path:
        home = self.folder / f"home-{name}"
        home.mkdir(exist_ok=True)
        return home

    def start(self, name: str, *command: object, home: str) -> None:
        """Starts a process in a group of its own."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [executable(str(command[0])), *map(str, command[1:])],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.env(home),
                start_new_session=True,
            )

    def env(self, home: str) -> dict[str, str]:
        flower = {"FLWR_HOME": str(self.home(home)), "FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        return {**os.environ, "PATH": path, **flower, **self.environment}

    def start_superlink(self) -> None:
        where = ["--host", "127.0.0.1", "--port", self.port]
        safe = ["--ssl-ca-certfile", self.ca, "--ssl-certfile", self.folder / "server.pem"]
        safe += ["--ssl-keyfile", self.folder / "server.key", "--enable-supernode-auth"]
        kept = ["--isolation", "process", "--database", self.folder / "state.db"] if self.database else []
        simulated = ["--simulation"] if self.simulation else []
        safety = safe if self.tls else ["--insecure"]
        options = [*where, *safety, *kept, *simulated, "--disable-runtime-dependency-installation"]
        self.start("superlink", "flower-superlink", *options, home="server")
        wait_for("the SuperLink", self.is_healthy)
        if self.database and "superexec" not in self.processes:
            trust = ["--root-certificates", self.ca] if self.tls else ["--insecure"]
            address = ["--runtime-api-address", f"127.0.0.1:{self.port}"]
            self.start("superexec", "flower-superexec", *trust, *address, home="server")

    def is_healthy(self) -> bool:
        import ssl

        scheme, context = ("https", ssl.create_default_context(cafile=str(self.ca))) if self.tls else ("http", None)
        try:
            with urllib.request.urlopen(f"{scheme}://127.0.0.1:{self.port}/health", timeout=2, context=context) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def start_supernode(
        self, name: str, config: str, *, registered: bool = True, ca: Path | None = None, port: int | None = None
    ) -> int:
        """Starts a SuperNode with this ``--node-config`` and a key of its own, which the SuperLink accepts if it is ``registered``. Returns the port of its
        Runtime API.

        With ``port`` it calls the SuperLink through a process in between that listens there.
        """
        runtime = free_port()
        address = ["--superlink", f"127.0.0.1:{port or self.port}", "--host", "127.0.0.1", "--port", runtime]
        safety: list[object] = ["--insecure"]
        if self.tls:
            key = self.folder / f"{name}.key"
            if not key.exists():
                node_key(key)
                if registered:
                    self.flwr("supernode", "register", f"{key}.pub", "lab")
            safety = ["--root-certificates", ca or self.ca, "--auth-supernode-private-key", key]
        if self.executor:
            safety += self.runtime_safety()
        self.start(name, "flower-supernode", *address, *safety, "--node-config", config, home=name)
        if self.executor:
            self.start_executor(f"{name}-executor", runtime, home=name)
        return runtime

    def runtime_safety(self) -> list[object]:
        """A SuperNode's options for a Runtime API with TLS and a secret."""
        secret = self.folder / "superexec.secret"
        secret.touch(0o600)
        secret.write_bytes(b"of this site")
        tls = ["--ssl-certfile", self.folder / "server.pem", "--ssl-keyfile", self.folder / "server.key", "--ssl-ca-certfile", self.ca]
        return [*tls, "--isolation", "process", "--superexec-auth-secret-file", secret]

    def start_executor(self, name: str, runtime: int, *, home: str, secret: Path | None = None) -> None:
        """Starts effgan's executor beside the SuperNode whose Runtime API has this port."""
        where = ["--runtime-api-address", f"127.0.0.1:{runtime}", "--root-certificates", self.ca]
        known = ["--superexec-auth-secret-file", secret or self.folder / "superexec.secret"]
        self.start(name, "python", "-m", "effgan.flower.executor", *where, *known, home=home)

    def stop(self, name: str, how: signal.Signals = signal.SIGTERM) -> None:
        """Ends the process and all processes that it started."""
        process = self.processes.pop(name)
        kill_group(process.pid, how)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            kill_group(process.pid, signal.SIGKILL)
            process.wait()

    def flwr(self, *arguments: object) -> str:
        """What ``flwr`` prints."""
        done = subprocess.run(
            [executable("flwr"), *map(str, arguments)], env=self.env("server"), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def run(self, config: Path, out: Path, timeout: float = 240.0, **options: str) -> Outcome:
        """``flwr run``, to its end."""
        running = self.submit(config, out, **options)
        try:
            log, _ = running.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            kill_group(running.pid, signal.SIGKILL)
            log, _ = running.communicate()
            raise AssertionError(f"flwr run took more than {timeout} s:\n{log}") from None
        statuses = self.statuses()
        assert statuses, log
        return Outcome(running.returncode, log, statuses[0])

    def submit(self, config: Path, out: Path, **options: str) -> subprocess.Popen[str]:
        """``flwr run``, whose lines are read from its pipe."""
        settings = f"config='{config}' out='{out}'"
        more = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", value)]
        return subprocess.Popen(
            [executable("flwr"), "run", str(self.app), "lab", "--stream", "--run-config", settings, *more],
            env=self.env("server"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def statuses(self) -> list[str]:
        """The status of each run, the newest first."""
        runs = json.loads(self.flwr("ls", "lab", "--format", "json"))["runs"]
        return [run["status"] for run in runs]

    def children(self, name: str, program: str) -> list[int]:
        """Processes below the one called ``name`` that run ``program``."""
        return [pid for pid in descendants(self.processes[name].pid) if program in command_line(pid)]


@contextmanager
def two_sites(folder: Path, **options: bool) -> Iterator[Lab]:
    """A lab with two nodes, ``a`` and ``b``, between which the config's data set is split."""
    with Lab(folder, **options) as lab:  # type: ignore[arg-type]
        lab.start_supernode("a", "partition-id=0")
        lab.start_supernode("b", "partition-id=1")
        yield lab


def wait_for(what: str, is_so: Callable[[], bool], patience: float = PATIENCE) -> None:
    deadline = time.monotonic() + patience
    while not is_so():
        assert time.monotonic() < deadline, f"{what} did not come within {patience} s"
        time.sleep(0.1)


def executable(name: str) -> str:
    return str(Path(sys.executable).parent / name)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def kill_group(pid: int, how: signal.Signals) -> None:
    try:
        os.killpg(pid, how)
    except ProcessLookupError:
        pass


def descendants(pid: int) -> list[int]:
    """The children of the process, and their children."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return []
    return [below for child in map(int, children) for below in (child, *descendants(child))]


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def certificates(folder: Path) -> None:
    """Writes a CA and its certificate for 127.0.0.1."""
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "lab CA")])
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    alternatives = x509.SubjectAlternativeName(
        [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    )
    ca = signed(ca_name, ca_key.public_key(), ca_name, ca_key, x509.BasicConstraints(True, None))
    server = signed(name, key.public_key(), ca_name, ca_key, alternatives)
    pem = serialization.Encoding.PEM
    (folder / "ca.crt").write_bytes(ca.public_bytes(pem))
    (folder / "server.pem").write_bytes(server.public_bytes(pem))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "server.key").write_bytes(private)


def signed(
    name: x509.Name,
    key: ec.EllipticCurvePublicKey,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
    extension: x509.ExtensionType,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
    builder = builder.not_valid_after(now + datetime.timedelta(days=1)).add_extension(extension, critical=True)
    return builder.sign(issuer_key, hashes.SHA256())


def node_key(path: Path) -> None:
    """Writes a key like that of ``ssh-keygen -t ecdsa -b 384``, with its public half beside it."""
    key = ec.generate_private_key(ec.SECP384R1())
    pem, ssh = serialization.Encoding.PEM, serialization.Encoding.OpenSSH
    private = key.private_bytes(pem, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
    path.write_bytes(private)
    path.chmod(0o600)
    Path(f"{path}.pub").write_bytes(key.public_key().public_bytes(ssh, serialization.PublicFormat.OpenSSH) + b"\n")
