"""What a hospital's IT does, from `effgan federation init` to a run over sites with folders of their own, by the commands of the wheel."""

from __future__ import annotations

import os
import shutil
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import ip_address
from pathlib import Path

import matplotlib.image
import pytest
from conftest import TINY
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from lab import free_port, kill_group, wait_for

import effgan

SITES = ["north", "south"]


def command(*arguments: object) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of the program that the wheel brings."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    words = [sys.executable, "-m", "effgan", *map(str, arguments)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def federation(*arguments: object) -> tuple[int, str]:
    """Exit code, and the lines of both outputs."""
    code, out, error = command("federation", *arguments)
    return code, out + error


class Processes:
    """Scripts of a federation, each in a group of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.started = folder, []

    started: list[subprocess.Popen[bytes]]

    def start(self, name: str, *words: object, **variables: str) -> Path:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        log = self.folder / f"{name}.log"
        with log.open("wb") as output:
            environment = os.environ | {"PATH": path} | variables
            process = subprocess.Popen(
                list(map(str, words)), stdout=output, stderr=output, env=environment, start_new_session=True
            )
        self.started.append(process)
        return log

    def stop(self) -> None:
        for process in reversed(self.started):
            kill_group(process.pid, signal.SIGTERM)
        for process in self.started:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                kill_group(process.pid, signal.SIGKILL)
                process.wait()


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    processes = Processes(tmp_path)
    yield processes
    processes.stop()


def init(out: Path, port: int) -> None:
    code, said = federation("init", "--sites", ",".join(SITES), "--host", "127.0.0.1", "--port", port, "--out", out)
    assert code == 0, said


def test_init_makes_a_folder_for_the_server_and_kits_without_a_secret(tmp_path: Path) -> None:
    init(tmp_path / "federation", 8123)
    server, kits = tmp_path / "federation/server", tmp_path / "federation/kits"
    names = {path.name for path in server.iterdir()}
    assert names == {"ca.crt", "ca.key", "server.crt", "server.key", "server.toml", "start.sh", "federation.toml", "flower"}
    assert [oct(path.stat().st_mode & 0o777) for path in (server / "ca.key", server / "server.key")] == ["0o600"] * 2
    assert sorted(kit.name for kit in kits.iterdir()) == SITES
    for kit in kits.iterdir():
        assert {path.name for path in kit.iterdir()} == {"ca.crt", "site.toml", "start.sh", "README.txt"}
        assert not any("PRIVATE KEY" in path.read_text("utf-8") for path in kit.iterdir())
        assert "127.0.0.1:8123" in (kit / "start.sh").read_text("utf-8")
    again = federation("init", "--sites", "a", "--host", "h", "--out", tmp_path / "federation")
    assert again[0] == 2 and "exists and nothing is overwritten" in again[1]
    for wrong, reason in [
        (["--sites", "a,a", "--host", "h"], "--sites names a twice"),
        (["--sites", "a/b", "--host", "h"], "--sites: "),
        (["--sites", "a", "--host", "h;rm"], '--host "h;rm" is no DNS name and no IP address'),
    ]:
        code, said = federation("init", *wrong, "--out", tmp_path / "other")
        assert code == 2 and reason in said and not (tmp_path / "other").exists(), said


def test_a_certificate_is_renewed_by_its_own_ca_alone(tmp_path: Path) -> None:
    init(tmp_path / "federation", 8123)
    init(tmp_path / "another", 8123)
    server = tmp_path / "federation/server"
    files = {name: (server / name).read_bytes() for name in ("server.crt", "ca.crt", "ca.key", "server.key")}
    torn = files["ca.key"][:60]
    for name, wrong, reason in [
        ("ca.key", None, "ca.key: No such file"),
        ("ca.key", torn, "ca.key is no key"),
        ("ca.key", (tmp_path / "another/server/ca.key").read_bytes(), "ca.key is not the key of ca.crt"),
        ("ca.crt", torn, "ca.crt is no certificate"),
        ("server.key", torn, "server.key is no key"),
    ]:
        (server / name).unlink() if wrong is None else (server / name).write_bytes(wrong)
        code, said = federation("renew", server)
        wanted = f"effgan: renewing takes ca.crt, ca.key and server.key in {server} as init wrote them: {reason}"
        assert code == 2 and said.count("\n") == 1 and said.startswith(wanted), said
        (server / name).write_bytes(files[name])
    assert (server / "server.crt").read_bytes() == files["server.crt"]


class Health(BaseHTTPRequestHandler):
    """As much of a SuperLink as `check` looks at."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(server: Path, port: int) -> Iterator[None]:
    """TLS with the certificate and the key of the folder."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server / "server.crt", server / "server.key")
    with HTTPServer(("127.0.0.1", port), Health) as http:
        http.socket = context.wrap_socket(http.socket, server_side=True)
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        try:
            yield
        finally:
            http.shutdown()
            thread.join()


def test_certificates_that_are_not_good_are_told_and_a_renewed_one_is_good_for_two_years(tmp_path: Path) -> None:
    port = free_port()
    init(tmp_path / "federation", port)
    server = tmp_path / "federation/server"
    ca, fresh = certificate(server / "ca.crt"), certificate(server / "server.crt")
    ca_key = serialization.load_pem_private_key((server / "ca.key").read_bytes(), None)
    assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
    now = datetime.now(timezone.utc)
    for days, host, reason in [
        ((-730, -1), "127.0.0.1", "has expired (effgan federation renew at the server), or this machine's clock is wrong"),
        ((1, 730), "127.0.0.1", "is not valid yet: this machine's clock is wrong"),
        ((-1, 730), "127.0.0.2", "is for another name than the kit calls it by"),
    ]:
        other = x509.CertificateBuilder(fresh.issuer, fresh.subject, fresh.public_key(), x509.random_serial_number())
        other = other.not_valid_before(now + timedelta(days[0])).not_valid_after(now + timedelta(days[1]))
        other = other.add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(host))]), critical=False)
        pem = other.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        (server / "server.crt").write_bytes(pem)
        with served(server, port):
            assert_wrong(server, f"certificate: the server's certificate {reason}: ")

    assert federation("renew", server) == (0, f"{server}/server.crt is renewed; start {server}/start.sh again\n")
    renewed = certificate(server / "server.crt")
    renewed.verify_directly_issued_by(ca)
    assert renewed.public_key() == fresh.public_key()
    good_for = [(one.not_valid_after_utc - now).total_seconds() / 86400 for one in (renewed, ca)]
    # The program read its clock some seconds before and after.
    assert good_for == pytest.approx([730, 3650], abs=0.01)
    with served(server, port):
        code, said = federation("check", server)
        assert code == 0 and f"certificate  ok: 127.0.0.1:{port} is who it says" in said, said


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_keys_that_are_none_or_of_nobody_are_not_admitted(tmp_path: Path) -> None:
    init(tmp_path / "federation", 8123)
    server, kit = tmp_path / "federation/server", tmp_path / "federation/kits/north"
    code, key = federation("join", kit)
    assert code == 0 and (kit / "key").stat().st_mode & 0o777 == 0o600
    key = key.splitlines()[0]
    assert key.startswith("ecdsa-sha2-nistp384 ") and key.endswith(" north")
    subprocess.run(["ssh-keygen", "-l", "-f", kit / "key"], check=True) if shutil.which("ssh-keygen") else None
    code, said = federation("join", kit)
    assert code == 2 and "exists and is not overwritten" in said
    ed25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPKSUTyz1HwHReFVvD5obVsALAgJRNarH4TRpNePnAS north"
    for wrong, reason in [
        ("nonsense", "the key cannot be read"),
        (ed25519, "the key is of the kind ssh-ed25519, and Flower takes ecdsa-sha2-nistp384"),
        (key.replace(" north", " west"), "the key is of \"west\", and the sites are north, south"),
    ]:
        code, said = federation("admit", wrong, "--server", server)
        assert code == 2 and reason in said, said


def images(folder: Path, client: str) -> Path:
    """What the tiny run deals to the client, as PNG files by class."""
    pixels, labels = effgan.deal(TINY)[client]
    for i, (image, label) in enumerate(zip(pixels, labels, strict=True)):
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
        matplotlib.image.imsave(folder / str(label) / f"{i:03}.png", image[0], cmap="gray", vmin=0, vmax=255)
    return folder


def test_from_init_to_a_run_over_two_folders(tmp_path: Path, processes: Processes) -> None:
    out, port = tmp_path / "federation", free_port()
    init(out, port)
    server, north, south = out / "server", out / "kits/north", out / "kits/south"
    # What follows goes by the renewed certificate.
    assert federation("renew", server)[0] == 0
    data = {name: images(tmp_path / f"images-{name}", f"client-{i:04}") for i, name in enumerate(SITES)}

    assert_wrong(north, "key: there is none; effgan federation join")
    keys = {kit: federation("join", kit)[1].splitlines()[0] for kit in (north, south)}
    assert_wrong(north, f"port: 127.0.0.1:{port} does not answer: Connection refused (os error 111); start the server there")
    processes.start("server", server / "start.sh", HOST="127.0.0.1")
    wait_for("the server", lambda: federation("check", server)[0] == 0)

    code, said = federation("check", north, "--data", data["north"])
    assert code == 0 and f"images of 5 classes in {data['north']}" in said, said
    assert [line.split()[0] for line in said.splitlines()] == ["wheel", "key", "data", "port", "certificate", "clock"]
    assert_wrong(north, "data: ", "--data", tmp_path / "nowhere", code=3)
    init(tmp_path / "another", port)
    real, another = (north / "ca.crt").read_bytes(), (tmp_path / "another/server/ca.crt").read_bytes()
    (north / "ca.crt").write_bytes(another)
    assert_wrong(north, "certificate: the server's certificate is not signed by this kit's ca.crt")
    (north / "ca.crt").write_bytes(real)
    kit = (north / "site.toml").read_text("utf-8")
    (north / "site.toml").write_text(kit.replace(f'effgan = "{effgan.__version__}"', 'effgan = "0.0.7"'))
    assert_wrong(north, f"wheel: effgan here is {effgan.__version__}, and the federation's is 0.0.7")
    (north / "site.toml").write_text(kit)

    for kit_folder, name in [(north, "north"), (south, "south")]:
        assert federation("admit", keys[kit_folder], "--server", server) == (0, f"{name} is admitted\n")
        processes.start(name, kit_folder / "start.sh", data[name], PORT=str(free_port()))
    code, said = federation("admit", keys[north], "--server", server)
    assert code == 2 and "north is admitted already" in said

    config = tmp_path / "folders.toml"
    text = TINY.read_text("utf-8").replace('name = "mnist-mini"\nlimit = 120', 'name = "folder"\nchannels = 1')
    text = text.replace('kind = "by-label"\nclasses_per_client = 5\nclients = 3', 'kind = "iid"\nclients = 1')
    config.write_text(f'{text}\n[federation]\nsites = ["north", "south"]\n')
    code, said = federation("run", config, "--server", server, "--out", tmp_path / "run")
    assert code == 0 and "round 3   collected 2 clients" in said, said
    assert effgan.Model.load(tmp_path / "run").members == SITES

    config.write_text(f'{text}\n[federation]\nsites = ["north", "south", "east"]\ndeadline = 8\n')
    code, said = federation("run", config, "--server", server, "--out", tmp_path / "never")
    assert code == 4 and "2 of 3 sites are there after 8 s, without east" in said.splitlines()[-1], said
    assert not (tmp_path / "never").exists()


def assert_wrong(folder: Path, line: str, *arguments: object, code: int = 4) -> None:
    """`check` ends with this one line."""
    found, _, error = command("federation", "check", folder, *arguments)
    assert found == code and error.count("\n") == 1 and error.startswith(f"effgan: {line}"), error
