"""What a hospital's IT does, from `effgan federation init` to a run over sites with folders of their own, by the commands of the wheel."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import matplotlib.image
import pytest
from conftest import REPOSITORY, TARGET, TINY
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from lab import free_port, kill_group, wait_for

import effgan

SITES = ["north", "south"]
PACKAGE = Path(effgan.__file__).parent
WHEEL = f"effgan-{effgan.__version__}-cp310-abi3-manylinux_2_28_x86_64.whl"


def command(*arguments: object) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of the program that the wheel brings."""
    words = [sys.executable, "-m", "effgan", *map(str, arguments)]
    done = subprocess.run(words, env=environment(), capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def environment(**variables: str) -> dict[str, str]:
    # An installed wheel brings the command `effgan` too; here it is the binary of the same build.
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
        """The gate alone: all of a server that `check` needs at a site."""
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


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    processes = Processes(tmp_path)
    yield processes
    processes.stop()


def init(out: Path, *more: object, port: int = 8123, superlink: int = 8124) -> Path:
    """The folder of a server on this machine."""
    where = ["--host", "127.0.0.1", "--port", port, "--superlink-port", superlink, "--out", out]
    code, said = federation("init", "--sites", ",".join(SITES), *where, *more)
    assert code == 0, said
    return out / "server"


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_init_makes_a_folder_for_the_server_and_kits_without_a_secret(tmp_path: Path) -> None:
    server = init(tmp_path / "federation")
    kits = tmp_path / "federation/kits"
    files = "ca.crt ca.key federation.toml flower server.crt server.key server.toml sites.toml start.sh superexec.secret"
    assert {path.name for path in server.iterdir()} == set(files.split())
    secrets = [server / name for name in ("ca.key", "server.key", "superexec.secret", "sites.toml")]
    assert {mode(path) for path in secrets} == {0o600}
    assert {mode(path) for path in (server.parent, server, kits, *kits.iterdir())} == {0o700}
    assert "superlink_port = 8124" in (server / "server.toml").read_text()
    assert re.findall('name = "(.*)"', (server / "sites.toml").read_text()) == SITES
    assert sorted(kit.name for kit in kits.iterdir()) == SITES
    for kit in kits.iterdir():
        names = "ca.crt site.toml start.sh README.txt policy.toml what-leaves-your-site.md"
        assert {path.name for path in kit.iterdir()} == set(names.split())
        assert not any("PRIVATE KEY" in path.read_text("utf-8") for path in kit.iterdir())
        assert 'server = "127.0.0.1:8123"' in (kit / "site.toml").read_text("utf-8")
        page = REPOSITORY / "docs/what-leaves-your-site.md"
        assert (kit / "what-leaves-your-site.md").read_bytes() == page.read_bytes()
    again = federation("init", "--sites", "a", "--host", "h", "--out", tmp_path / "federation")
    assert again[0] == 2 and "exists and nothing is overwritten" in again[1]


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (["--sites", "a,a", "--host", "h"], "--sites names a twice"),
        (["--sites", "a/b", "--host", "h"], "--sites: "),
        (["--sites", "a", "--host", "h;rm"], "is not a DNS name"),
        (["--sites", "a", "--host", "fl.example:9000"], "takes no port; use --port 9000"),
        (["--sites", "a", "--host", "10.0.0.256"], "ends in a number and is not an IPv4 address"),
        (["--sites", "a", "--host", "..."], "is not a DNS name"),
        (["--sites", "a", "--host", "0.0.0.0"], "is not an address that can be called"),
        (["--sites", "a", "--host", "h", "--port", "0"], "0 is not in 1..=65535"),
        (["--sites", "a", "--host", "h", "--port", "9091"], "two programs listen there"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_work_is_refused_before_anything_is_made(tmp_path: Path, wrong: list[str], reason: str) -> None:
    code, said = federation("init", *wrong, "--out", tmp_path / "federation")
    assert code == 2 and reason in said and not list(tmp_path.iterdir()), said


def test_a_host_that_is_this_machine_is_accepted_with_a_line_that_says_so(tmp_path: Path) -> None:
    code, said = federation("init", "--sites", "a", "--host", "::1", "--out", tmp_path / "federation")
    assert code == 0 and "::1 is this machine itself: sites on other machines cannot call it" in said, said
    assert 'server = "[::1]:8000"' in (tmp_path / "federation/kits/a/site.toml").read_text()


def test_a_site_reaches_a_server_by_an_ipv6_address(tmp_path: Path, processes: Processes) -> None:
    port = free_port()
    where = ["--host", "::1", "--port", port, "--superlink-port", free_port(), "--out", tmp_path / "federation"]
    assert federation("init", "--sites", "north", *where)[0] == 0
    server, kit = tmp_path / "federation/server", tmp_path / "federation/kits/north"
    federation("admit", federation("join", kit)[1].splitlines()[0], "--server", server)
    processes.start("gate", sys.executable, "-m", "effgan", "federation", "serve", server, "--host", "::1")
    wait_for("the gate", lambda: is_admitted(kit) or processes.started[0].poll() is not None)
    assert f"[::1]:{port} knows this site's key" in federation("check", kit)[1]


def make_wheel(path: Path, name: str = "effgan", version: str = effgan.__version__, module: str = "effgan/_effgan.abi3.so") -> Path:
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"effgan-{effgan.__version__}.dist-info/METADATA", f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n")
        wheel.writestr(module, b"\x7fELF")
    return path


def test_a_kit_brings_its_wheel_and_takes_no_other_file(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / WHEEL)
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    server = init(tmp_path / "federation", "--wheel", wheel)
    assert federation("add", "east", "--server", server)[0] == 0
    for folder in (server, *(tmp_path / "federation/kits").iterdir()):
        assert (folder / WHEEL).read_bytes() == wheel.read_bytes()
        requirements = (folder / "requirements.txt").read_text()
        assert f"./{WHEEL} --hash=sha256:{sha256}\n" in requirements and "--only-binary :all:" in requirements
        toml = (folder / ("server.toml" if folder == server else "site.toml")).read_text()
        assert f'file = "{WHEEL}"' in toml and f'sha256 = "{sha256}"' in toml
    readme = (tmp_path / "federation/kits/east/README.txt").read_text()
    assert "pip install --require-hashes -r requirements.txt" in readme and sha256 in readme

    kit = tmp_path / "federation/kits/east"
    make_wheel(kit / WHEEL, module="effgan/_effgan.other.so")
    assert_wrong(kit, f"wheel: {kit / WHEEL} has sha256 ")


def test_a_wheel_of_something_else_is_refused(tmp_path: Path) -> None:
    wrong = {
        make_wheel(tmp_path / WHEEL.replace(effgan.__version__, "0.0.7")): "its name is not effgan-",
        make_wheel(tmp_path / "effgan.whl"): "its name is not effgan-",
        make_wheel(tmp_path / WHEEL.replace("manylinux", "many linux")): "its name is not effgan-",
        make_wheel(tmp_path / WHEEL.replace("2_28", "2_29"), name="evil"): 'has no line "Name: effgan"',
        make_wheel(tmp_path / WHEEL.replace("2_28", "2_30"), version="0.0.7"): 'has no line "Version: ',
        make_wheel(tmp_path / WHEEL.replace("2_28", "2_31"), module="other.so"): "it has no module effgan._effgan",
        tmp_path / WHEEL.replace("2_28", "2_32"): "No such file",
    }
    (torn := tmp_path / WHEEL.replace("2_28", "2_33")).write_bytes(b"PK\x03\x04")
    for wheel, reason in (wrong | {torn: "it is no zip archive"}).items():
        code, said = federation("init", "--sites", "a", "--host", "h", "--wheel", wheel, "--out", tmp_path / "out")
        assert code == 2 and reason in said and said.count("\n") == 1 and not (tmp_path / "out").exists(), said


def installable(path: Path) -> Path:
    """This very package as a wheel, as maturin would pack it."""
    files = {f"effgan/{file.relative_to(PACKAGE)}": file.read_bytes() for file in PACKAGE.rglob("*") if file.suffix in (".py", ".pyi", ".so", ".typed")}
    info = f"effgan-{effgan.__version__}.dist-info"
    metadata = f"Metadata-Version: 2.4\nName: effgan\nVersion: {effgan.__version__}\nRequires-Dist: numpy>=1.24\n"
    files[f"{info}/METADATA"] = metadata.encode()
    files[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: cp310-abi3-linux_x86_64\n"
    files[f"{info}/entry_points.txt"] = b"[console_scripts]\neffgan = effgan.__main__:main\n"
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"]).encode()
    with zipfile.ZipFile(path, "w") as wheel:
        for name, content in files.items():
            wheel.writestr(name, content)
    return path


@pytest.mark.slow
@pytest.mark.skipif(sys.version_info < (3, 11), reason="Flower needs Python 3.11")
def test_pip_installs_what_a_kit_pins_and_no_other_wheel(tmp_path: Path) -> None:
    wheel = installable(tmp_path / f"effgan-{effgan.__version__}-cp310-abi3-linux_x86_64.whl")
    init(tmp_path / "federation", "--wheel", wheel)
    kit = tmp_path / "federation/kits/north"
    subprocess.run([sys.executable, "-m", "venv", kit / "venv"], check=True)
    install = ["venv/bin/pip", "install", "--disable-pip-version-check", "--require-hashes", "-r", "requirements.txt"]
    (kit / wheel.name).write_bytes(wheel.read_bytes() + b"\0")
    done = subprocess.run(install, cwd=kit, capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "DO NOT MATCH THE HASHES" in done.stderr, done.stderr
    (kit / wheel.name).write_bytes(wheel.read_bytes())
    subprocess.run(install, cwd=kit, check=True)
    assert subprocess.run(["venv/bin/effgan", "federation", "join", "."], cwd=kit, check=True, capture_output=True).stdout
    # What start.sh calls is there.
    assert {"effgan", "flower-supernode", "python3"} <= {path.name for path in (kit / "venv/bin").iterdir()}


def test_everything_that_a_kit_pins_has_a_hash_and_is_what_the_tests_use() -> None:
    lock = (REPOSITORY / "crates/effgan-cli/src/setup/requirements.lock").read_text().replace("\\\n", "")
    lines = [line for line in lock.splitlines() if line and not line.startswith("--")]
    assert len(lines) > 40 and all(re.match(r"[a-z0-9-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", line) for line in lines)
    pinned = (REPOSITORY / "bindings/python/requirements-dev.txt").read_text()
    assert {line.split()[0] for line in lines if line.startswith("flwr==")} <= set(pinned.splitlines())


def test_nothing_tells_anybody_to_install_effgan_by_its_name() -> None:
    texts = ["docs/**/*.md", "*.md", "bindings/python/*.md", "crates/effgan-cli/src/setup/**/*", "docker/*", "deploy/**/*"]
    files = [file for pattern in texts for file in REPOSITORY.glob(pattern) if file.is_file()]
    assert len(files) > 20
    for file in files:
        found = re.search(r"""(pip|uv)[^\n`]* install [^\n`]*['" ]effgan(\[[a-z]*\])?(['" =<>`]|$)""", file.read_text("utf-8"), re.MULTILINE)
        assert not found, f"{file}: {found[0] if found else ''}"


def test_a_certificate_is_renewed_by_its_own_ca_alone(tmp_path: Path) -> None:
    server, other = init(tmp_path / "federation"), init(tmp_path / "another")
    files = {name: (server / name).read_bytes() for name in ("server.crt", "ca.crt", "ca.key", "server.key")}
    torn = files["ca.key"][:60]
    for name, wrong, reason in [
        ("ca.key", None, "ca.key: No such file"),
        ("ca.key", torn, "ca.key is no key"),
        ("ca.key", (other / "ca.key").read_bytes(), "ca.key is not the key of ca.crt"),
        ("ca.crt", torn, "ca.crt is no certificate"),
        ("server.key", torn, "server.key is no key"),
    ]:
        (server / name).unlink() if wrong is None else (server / name).write_bytes(wrong)
        code, said = federation("renew", server)
        wanted = f"effgan: renewing takes ca.crt, ca.key and server.key in {server} as init wrote them: {reason}"
        assert code == 2 and said.count("\n") == 1 and said.startswith(wanted), said
        (server / name).write_bytes(files[name])
        (server / name).chmod(0o600)
    assert (server / "server.crt").read_bytes() == files["server.crt"]


def test_certificates_that_are_not_good_are_told_and_a_renewed_one_is_good_for_two_years(
    tmp_path: Path, processes: Processes
) -> None:
    server = init(tmp_path / "federation", port=free_port(), superlink=free_port())
    kit = tmp_path / "federation/kits/north"
    assert federation("admit", federation("join", kit)[1].splitlines()[0], "--server", server)[0] == 0
    ca, fresh = certificate(server / "ca.crt"), certificate(server / "server.crt")
    ca_key = serialization.load_pem_private_key((server / "ca.key").read_bytes(), None)
    assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
    now = datetime.now(timezone.utc)
    for days, host, reason in [
        ((-730, -1), "127.0.0.1", "has expired (effgan federation renew at the server), or this machine's clock is wrong"),
        ((1, 730), "127.0.0.1", "is not valid yet: this machine's clock is wrong"),
        ((-1, 730), "127.0.0.2", "is for another name than the kit"),
    ]:
        other = x509.CertificateBuilder(fresh.issuer, fresh.subject, fresh.public_key(), x509.random_serial_number())
        other = other.not_valid_before(now + timedelta(days[0])).not_valid_after(now + timedelta(days[1]))
        other = other.add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(host))]), critical=False)
        pem = other.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        (server / "server.crt").write_bytes(pem)
        assert_wrong(server, f"certificate: the server's certificate {reason}")
        processes.serve(server)
        assert_wrong(kit, f"certificate: the server's certificate {reason}")
        processes.stop()

    assert federation("renew", server) == (0, f"{server}/server.crt is renewed; start {server}/start.sh again\n")
    renewed = certificate(server / "server.crt")
    renewed.verify_directly_issued_by(ca)
    assert renewed.public_key() == fresh.public_key()
    good_for = [(one.not_valid_after_utc - now).total_seconds() / 86400 for one in (renewed, ca)]
    # The program read its clock some seconds before and after.
    assert good_for == pytest.approx([730, 3650], abs=0.01)
    processes.serve(server)
    said = federation("check", kit)[1]
    assert "is who it says" in said and is_admitted(kit), said


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_a_site_makes_its_secrets_itself_and_a_new_key_leaves_the_others(tmp_path: Path) -> None:
    init(tmp_path / "federation")
    kit = tmp_path / "federation/kits/north"
    kit.chmod(0o755)
    assert federation("join", kit)[0] == 0
    secrets = ["key", "local.key", "superexec.secret", "hold-out.secret"]
    assert {mode(kit / name) for name in secrets} == {0o600}
    assert {mode(folder) for folder in (kit, kit / "state")} == {0o700}
    before = {name: (kit / name).read_bytes() for name in secrets}
    code, said = federation("join", kit)
    assert code == 2 and "exists and is not overwritten" in said
    (kit / "key").rename(kit / "key.old")
    assert federation("join", kit)[0] == 0
    assert {name for name in secrets if (kit / name).read_bytes() != before[name]} == {"key"}


def test_two_people_read_the_same_fingerprint_to_each_other(tmp_path: Path) -> None:
    server = init(tmp_path / "federation")
    kit = tmp_path / "federation/kits/north"
    code, out, error = command("federation", "join", kit)
    key, fingerprint = out.strip(), error.splitlines()[-1].strip()
    blob = base64.b64decode(key.split()[1])
    digits = hashlib.sha256(blob).hexdigest()
    assert (code, fingerprint) == (0, " ".join(digits[i : i + 4] for i in range(0, 64, 4)))
    if shutil.which("ssh-keygen"):
        line = subprocess.run(["ssh-keygen", "-l", "-f", kit / "key"], check=True, capture_output=True, text=True).stdout
        assert base64.b64decode(line.split()[1].removeprefix("SHA256:") + "=").hex() == digits
    # Whoever forges the last digits alone is found out.
    forged = ("0" if digits[0] != "0" else "1") + digits[1:]
    code, said = federation("admit", key, "--server", server, "--fingerprint", forged)
    assert code == 2 and f"the key's fingerprint is {fingerprint}, and not {forged}" in said, said
    code, said = federation("admit", kit / "key.pub", "--server", server, "--fingerprint", digits.upper())
    assert code == 0 and said == f"north is admitted, with the key\n  {fingerprint}\n", said


def test_no_text_speaks_of_the_end_of_a_key() -> None:
    for file in [*REPOSITORY.glob("docs/*.md"), *REPOSITORY.glob("crates/effgan-cli/src/**/*.*"), *REPOSITORY.glob("*.md")]:
        assert "last letters" not in file.read_text("utf-8"), file


def test_keys_that_are_none_or_of_nobody_are_not_admitted(tmp_path: Path) -> None:
    server = init(tmp_path / "federation")
    kit, south = tmp_path / "federation/kits/north", tmp_path / "federation/kits/south"
    key = command("federation", "join", kit)[1].strip()
    assert key.startswith("ecdsa-sha2-nistp384 ") and key.endswith(" north")
    ed25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPKSUTyz1HwHReFVvD5obVsALAgJRNarH4TRpNePnAS north"
    for wrong, reason in [
        ("nonsense", "the key cannot be read"),
        (ed25519, "the key is of the kind ssh-ed25519"),
        (key.replace(" north", " west"), 'the key is of "west", and the sites are north, south'),
    ]:
        code, said = federation("admit", wrong, "--server", server)
        assert code == 2 and reason in said, said
    for said in ["north is admitted, with the key", "north is admitted already, with the key"]:
        code, out, _ = command("federation", "admit", key, "--server", server)
        assert code == 0 and out.startswith(said)
    fingerprint = out.splitlines()[1].strip()
    code, said = federation("admit", key, "--server", server, "--fingerprint", fingerprint[-9:])
    assert code == 2 and "has 8 of a fingerprint's 64 digits; let the site read you all 16 groups of four" in said, said
    code, said = federation("admit", key.replace(" north", " south"), "--server", server)
    assert code == 2 and "this key is admitted already, as north's" in said, said
    other = command("federation", "join", south)[1].strip()
    code, said = federation("admit", other.replace(" south", " north"), "--server", server)
    assert code == 2 and "north is admitted already, with the key" in said, said


def test_sites_come_and_go_while_the_server_runs(tmp_path: Path, processes: Processes) -> None:
    server = init(tmp_path / "federation", port=free_port(), superlink=free_port())
    north = tmp_path / "federation/kits/north"
    key = command("federation", "join", north)[1].strip()
    assert federation("list", server) == (0, "north: not admitted\nsouth: not admitted\n")
    code, said = federation("remove", "north", "--server", server)
    assert code == 2 and "north is not admitted" in said
    processes.serve(server)
    assert_wrong(north, "admitted: 127.0.0.1:")
    assert federation("admit", key, "--server", server)[0] == 0
    assert is_admitted(north)
    code, said = federation("list", "--server", server)
    assert code == 0 and re.search(r"north: admitted \d{4}-\d\d-\d\d \d\d:\d\d UTC, never seen\n  ([0-9a-f]{4} ?){16}\n", said), said

    code, said = federation("remove", "north", "--server", server)
    assert code == 0 and "north is removed" in said
    wait_for("the removal", lambda: not is_admitted(north), patience=5)
    assert_wrong(north, "admitted: 127.0.0.1:")
    # With the same key again, and then with a new one.
    assert federation("admit", key, "--server", server)[0] == 0
    assert is_admitted(north)
    (north / "key").rename(north / "key.old")
    new = command("federation", "join", north)[1].strip()
    assert federation("remove", "north", "--server", server)[0] == 0
    assert federation("admit", new, "--server", server)[0] == 0
    assert is_admitted(north)

    assert federation("add", "east", "--server", server) == (
        0,
        f"{tmp_path}/federation/kits/east goes to east; it holds no secret\n"
        "east takes part in runs whose config names it in federation.sites, or names no sites\n",
    )
    east = tmp_path / "federation/kits/east"
    assert federation("admit", command("federation", "join", east)[1].strip(), "--server", server)[0] == 0
    assert is_admitted(east)
    # One who lost the kit gets another, and not over one that is there.
    code, said = federation("add", "east", "--server", server)
    assert code == 2 and "exists and nothing is overwritten" in said
    code, said = federation("add", "east", "--server", server, "--out", tmp_path / "again")
    assert code == 0 and "east was on the list already" in said
    assert "east: admitted" in federation("list", server)[1]


def pictures(folder: Path, client: str, size: int = 28) -> Path:
    """What the tiny run deals to the client, as PNG files by class."""
    pixels, labels = effgan.deal(TINY)[client]
    for i, (image, label) in enumerate(zip(pixels, labels, strict=True)):
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
        matplotlib.image.imsave(folder / str(label) / f"{i:03}.png", image[0, :size], cmap="gray", vmin=0, vmax=255)
    return folder


@pytest.fixture
def admitted(tmp_path: Path, processes: Processes) -> tuple[Path, Path, Path]:
    """A server whose gate runs, the kit of a site that is admitted, and its images."""
    server = init(tmp_path / "federation", port=free_port(), superlink=free_port())
    kit = tmp_path / "federation/kits/north"
    assert federation("admit", command("federation", "join", kit)[1].strip(), "--server", server)[0] == 0
    processes.serve(server)
    return server, kit, pictures(tmp_path / "images", "client-0000")


def test_check_is_content_where_a_run_would_work(admitted: tuple[Path, Path, Path]) -> None:
    _, kit, data = admitted
    code, said = federation("check", kit)
    assert code == 4 and said.endswith("data: not looked at; say where this site's images lie: --data DIR\n"), said
    code, said = federation("check", kit, "--data", data)
    assert code == 4 and re.search(r"policy: it refuses every run: \d\d images for training are fewer than min_images = 100", said), said
    (kit / "policy.toml").write_text("min_images = 10\n")
    code, said = federation("check", kit, "--data", data)
    assert code == 0, said
    words = [line.split()[0] for line in said.splitlines()]
    assert words == ["wheel", "files", "data", "policy", "disk", "port", "certificate", "clock", "admitted"]
    assert "images of 5 classes (0, 1, 2, 3, 4), 28 × 28 pixels, colour" in said or "28 × 28 pixels" in said, said


def test_the_program_finds_the_flwr_that_was_installed_with_it(admitted: tuple[Path, Path, Path]) -> None:
    _, kit, data = admitted
    words = [sys.executable, "-m", "effgan", "federation", "check", str(kit), "--data", str(data)]
    done = subprocess.run(words, env=os.environ | {"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_check_knows_a_key_that_was_never_admitted(admitted: tuple[Path, Path, Path]) -> None:
    _, kit, data = admitted
    south = kit.parent / "south"
    (south / "policy.toml").write_text("min_images = 10\n")
    assert_wrong(south, f"key: there is none; effgan federation join {south} makes it")
    fingerprint = command("federation", "join", south)[2].splitlines()[-1].strip()
    found, _, error = command("federation", "check", south, "--data", data)
    assert found == 4 and error.startswith("effgan: admitted: ") and error.endswith(f"fingerprint: {fingerprint}\n"), error


@pytest.mark.parametrize("name", ["ca.key", "server.key", "superexec.secret"])
def test_check_knows_a_secret_of_the_server_that_others_can_read(tmp_path: Path, name: str) -> None:
    server = init(tmp_path / "federation")
    (server / name).chmod(0o644)
    assert_wrong(server, f"files: other accounts may read {server / name} (mode 644); chmod 600 {server / name}")
    (server / name).chmod(0o600)
    server.chmod(0o755)
    assert_wrong(server, f"files: other accounts may look into {server} (mode 755); chmod 700 {server}")


def test_check_knows_a_secret_of_the_site_that_others_can_read(admitted: tuple[Path, Path, Path]) -> None:
    _, kit, _ = admitted
    for name in ("key", "local.key", "superexec.secret", "hold-out.secret"):
        (kit / name).chmod(0o640)
        assert_wrong(kit, f"files: other accounts may read {kit / name} (mode 640)")
        (kit / name).chmod(0o600)
    (kit / "state").chmod(0o755)
    assert_wrong(kit, f"files: other accounts may look into {kit / 'state'} (mode 755)")


def test_check_knows_a_folder_that_is_neither_a_kit_nor_a_servers(tmp_path: Path) -> None:
    assert_wrong(tmp_path, f"{tmp_path} is neither a site's kit (site.toml) nor a server's folder (server.toml)", code=2)


def test_a_forwarder_whose_port_is_taken_says_how_to_take_another(tmp_path: Path) -> None:
    init(tmp_path / "federation")
    kit = tmp_path / "federation/kits/north"
    assert federation("join", kit)[0] == 0
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, said = federation("forward", kit, "--port", taken.getsockname()[1])
    assert code == 2 and said.count("\n") == 1 and "start with another FORWARD_PORT" in said, said


def test_check_knows_the_folder_above_several_data_sets(admitted: tuple[Path, Path, Path], tmp_path: Path) -> None:
    _, kit, _ = admitted
    above = tmp_path / "above"
    for i, site in enumerate(["east", "north", "west"]):
        pictures(above / site, f"client-{i:04}")
    wanted = f"data: {above} holds several data sets and not one: east, north, west have folders of classes; give one of them"
    assert_wrong(kit, wanted, "--data", above, code=3)


def test_check_knows_images_of_other_sizes_and_whether_the_config_brings_them_to_one(
    admitted: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    _, kit, data = admitted
    matplotlib.image.imsave(data / "0/odd.png", [[0.0, 1.0, 0.5]], cmap="gray")
    wanted = "data: the images have 2 sizes, "
    assert_wrong(kit, wanted, "--data", data, code=3)
    assert "0/odd.png is 3 × 1" in federation("check", kit, "--data", data)[1]
    config = tmp_path / "run.toml"
    text = TINY.read_text("utf-8").replace('name = "mnist-mini"\nlimit = 120', 'name = "folder"\nchannels = 1')
    config.write_text(text)
    assert_wrong(kit, wanted, "--data", data, "--config", config, code=3)
    config.write_text(text.replace("channels = 1", "channels = 1\nsize = 32"))
    code, said = federation("check", kit, "--data", data, "--config", config)
    assert "2 sizes" in said and "dataset.size" not in said, said


def test_check_holds_the_policy_to_a_run_that_is_going_to_be(admitted: tuple[Path, Path, Path], tmp_path: Path) -> None:
    _, kit, data = admitted
    config = tmp_path / "run.toml"
    text = TINY.read_text("utf-8").replace('name = "mnist-mini"\nlimit = 120', 'name = "folder"\nchannels = 1\nsize = 32')
    config.write_text(text)
    wanted = 'policy: it refuses the run "tiny" (too-few-images): images that train: '
    assert_wrong(kit, wanted, "--data", data, "--config", config)
    (kit / "policy.toml").write_text("min_images = 10\n")
    code, said = federation("check", kit, "--data", data, "--config", config)
    assert code == 0, said
    assert re.search(r'policy       ok: allows the run "tiny": \d\d images here train, and \d are held out', said), said
    config.write_text(text.replace("held_out = 0.2", "held_out = 0.9"))
    assert_wrong(kit, 'policy: it refuses the run "tiny" (hold-out-too-large)', "--data", data, "--config", config)


def test_check_knows_images_that_cannot_be_read_and_a_folder_that_is_not_there(admitted: tuple[Path, Path, Path]) -> None:
    _, kit, data = admitted
    assert_wrong(kit, "data: ", "--data", data / "nowhere", code=3)
    (data / "0/torn.png").write_bytes(b"\x89PNG")
    assert_wrong(kit, "data: 1 of ", "--data", data, code=3)


def test_check_knows_another_server_another_version_and_a_policy_that_is_none(
    admitted: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    _, kit, _ = admitted
    other = init(tmp_path / "another")
    real = (kit / "ca.crt").read_bytes()
    (kit / "ca.crt").write_bytes((other / "ca.crt").read_bytes())
    assert_wrong(kit, "certificate: the server's certificate is not signed by this kit's ca.crt")
    (kit / "ca.crt").write_bytes(real)
    site = (kit / "site.toml").read_text("utf-8")
    (kit / "site.toml").write_text(site.replace(f'effgan = "{effgan.__version__}"', 'effgan = "0.0.7"'))
    assert_wrong(kit, f"wheel: effgan here is {effgan.__version__}, and the federation's is 0.0.7")
    (kit / "site.toml").write_text(re.sub(r"127.0.0.1:\d+", f"127.0.0.1:{free_port()}", site))
    assert_wrong(kit, "port: 127.0.0.1:")
    (kit / "site.toml").write_text(site)
    (kit / "policy.toml").write_text("min_images = -1\n")
    assert_wrong(kit, "policy: ", code=2)


# Whatever a shell, Flower's own settings or a terminal may stumble over.
NAMES = ["st mary's \"new\" $(touch pwned) `touch pwned` ; a & b | * été 🩻 back\\slash\ttab\nline", "ends\n", "-n"]


@pytest.fixture
def pretended(tmp_path: Path) -> Path:
    """Programs of the names that a kit's start.sh calls, which write down what they are told."""
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
        ([], "say where the images lie"),
        (["/nowhere"], "there is nothing at /nowhere"),
        (["--partition-id", "1;2"], "--partition-id takes the number of a client"),
        (["--help"], "there is no option --help"),
        ([str(tmp_path)], "there is no key yet: effgan federation join"),
    ]:
        done = subprocess.run([kit / "start.sh", *words], capture_output=True, text=True, check=False)
        assert done.returncode == 2 and reason in done.stderr and done.stdout == "", done.stderr


def test_from_init_to_a_run_over_two_folders(tmp_path: Path, processes: Processes) -> None:
    server = init(tmp_path / "federation", port=free_port(), superlink=free_port())
    kits = {name: server.parent / "kits" / name for name in SITES}
    # What follows goes by the renewed certificate.
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
        # The policy's bounds are for real data: the tiny run has 40 images a site.
        policy = (kit / "policy.toml").read_text("utf-8")
        policy = policy.replace('approve = "each-run"', 'approve = "any"').replace("min_images = 100", "min_images = 10")
        (kit / "policy.toml").write_text(policy)
        # One that is started first waits until it is admitted.
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
    # The server has the head of each site's ledger after each answer, and the sites have lines of these hashes.
    heads = [json.loads(line) for line in (tmp_path / "run/ledgers.jsonl").read_text("utf-8").splitlines()]
    assert [[line["kind"] for line in heads if line["client"] == site] for site in SITES] == [["average", "average", "collect"]] * 2
    for line in heads:
        known = ["ledger", kits[line["client"]], "--verify", "--head", line["head"]]
        assert federation(*known)[0] == 0, line
        known[1] = kits[SITES[line["client"] == SITES[0]]]
        assert federation(*known)[0] == 4, line

    config.write_text(f'{text}\n[federation]\nsites = ["north", "south", "east"]\ndeadline = 8\n')
    code, said = federation("run", config, "--server", server, "--out", tmp_path / "never")
    assert code == 4 and "2 of 3 sites are there after 8 s, without east" in said.splitlines()[-1], said
    assert not (tmp_path / "never").exists()


def is_admitted(kit: Path) -> bool:
    """Whether `check`, which is told of no images here, finds that the gate lets the site in."""
    return "knows this site's key" in federation("check", kit)[1]


def assert_wrong(folder: Path, line: str, *arguments: object, code: int = 4) -> None:
    """`check` ends with this one line."""
    found, _, error = command("federation", "check", folder, *arguments)
    assert found == code and error.count("\n") == 1 and error.startswith(f"effgan: {line}"), error
