"""What a hospital's IT does first: keys, certificates, and admission."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path

import pytest
from conftest import REPOSITORY
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from deployment import SITES, Processes, assert_wrong, command, federation, init, is_admitted, mode
from lab import free_port, wait_for


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
        (["--sites", "a", "--host", "h", "--port", "0"], "0 must be from 1 to 65535"),
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
    assert f"[::1]:{port} accepts this site's key" in federation("check", kit)[1]


def test_a_certificate_is_renewed_by_its_own_ca_alone(tmp_path: Path) -> None:
    server, other = init(tmp_path / "federation"), init(tmp_path / "another")
    files = {name: (server / name).read_bytes() for name in ("server.crt", "ca.crt", "ca.key", "server.key")}
    torn = files["ca.key"][:60]
    for name, wrong, reason in [
        ("ca.key", None, "ca.key: No such file"),
        ("ca.key", torn, "ca.key is not a key"),
        ("ca.key", (other / "ca.key").read_bytes(), "ca.key is not the key of ca.crt"),
        ("ca.crt", torn, "ca.crt is not a certificate"),
        ("server.key", torn, "server.key is not a key"),
    ]:
        (server / name).unlink() if wrong is None else (server / name).write_bytes(wrong)
        code, said = federation("renew", server)
        wanted = f"effgan: renew needs ca.crt, ca.key and server.key in {server} as init wrote them: {reason}"
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
        ((-1, 730), "127.0.0.2", "is for another name than the one in the kit"),
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

    assert federation("renew", server) == (0, f"{server}/server.crt is renewed; restart {server}/start.sh\n")
    renewed = certificate(server / "server.crt")
    renewed.verify_directly_issued_by(ca)
    assert renewed.public_key() == fresh.public_key()
    good_for = [(one.not_valid_after_utc - now).total_seconds() / 86400 for one in (renewed, ca)]
    # The program read its clock some seconds before and after.
    assert good_for == pytest.approx([730, 3650], abs=0.01)
    processes.serve(server)
    said = federation("check", kit)[1]
    assert "certificate verified" in said and is_admitted(kit), said


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
    # At a site that has replied to a request, a new secret would let images train that were held out.
    (kit / "ledger.jsonl").touch()
    for name in ["key", "hold-out.secret"]:
        (kit / name).rename(kit / f"{name}.lost")
    code, said = federation("join", kit)
    assert code == 2 and "hold-out.secret is gone" in said and not (kit / "key").exists(), said


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
    # A fingerprint that agrees in all digits but the first is refused.
    forged = ("0" if digits[0] != "0" else "1") + digits[1:]
    code, said = federation("admit", key, "--server", server, "--fingerprint", forged)
    assert code == 2 and f"the key's fingerprint is {fingerprint}, not {forged}" in said, said
    code, said = federation("admit", kit / "key.pub", "--server", server, "--fingerprint", digits.upper())
    assert code == 0 and said == f"north is admitted, with the key\n  {fingerprint}\n", said


def test_no_text_speaks_of_the_end_of_a_key() -> None:
    end = r"\b(last|final|trailing)( \w+)? (letters|characters|digits|groups|hex)\b|\blast four\b|\b(key|fingerprint) (that )?ends (in|with)\b"
    for file in [*REPOSITORY.glob("docs/*.md"), *REPOSITORY.glob("crates/*/src/**/*.*"), *REPOSITORY.glob("*.md")]:
        assert not re.search(end, " ".join(file.read_text("utf-8").split()), re.IGNORECASE), file


def test_keys_that_are_none_or_of_nobody_are_not_admitted(tmp_path: Path) -> None:
    server = init(tmp_path / "federation")
    kit, south = tmp_path / "federation/kits/north", tmp_path / "federation/kits/south"
    key = command("federation", "join", kit)[1].strip()
    assert key.startswith("ecdsa-sha2-nistp384 ") and key.endswith(" north")
    ed25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPKSUTyz1HwHReFVvD5obVsALAgJRNarH4TRpNePnAS north"
    for wrong, reason in [
        ("nonsense", "the key cannot be read"),
        (ed25519, "the key is of the kind ssh-ed25519"),
        (key.replace(" north", " west"), 'the key is for "west", and the sites are north, south'),
    ]:
        code, said = federation("admit", wrong, "--server", server)
        assert code == 2 and reason in said, said
    for said in ["north is admitted, with the key", "north is admitted already, with the key"]:
        code, out, _ = command("federation", "admit", key, "--server", server)
        assert code == 0 and out.startswith(said)
    fingerprint = out.splitlines()[1].strip()
    code, said = federation("admit", key, "--server", server, "--fingerprint", fingerprint[-9:])
    assert code == 2 and "has 8 of a fingerprint's 64 digits; ask the site to read you all 16 groups of four" in said, said
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
    # The site is admitted again with the same key, and then with a new one.
    assert federation("admit", key, "--server", server)[0] == 0
    assert is_admitted(north)
    (north / "key").rename(north / "key.old")
    new = command("federation", "join", north)[1].strip()
    assert federation("remove", "north", "--server", server)[0] == 0
    assert federation("admit", new, "--server", server)[0] == 0
    assert is_admitted(north)

    assert federation("add", "east", "--server", server) == (
        0,
        f"send {tmp_path}/federation/kits/east to east; it holds no secret\n"
        "east takes part in runs whose federation.sites names it, or names no site\n",
    )
    east = tmp_path / "federation/kits/east"
    assert federation("admit", command("federation", "join", east)[1].strip(), "--server", server)[0] == 0
    assert is_admitted(east)
    # A site that lost its kit gets another, which overwrites nothing.
    code, said = federation("add", "east", "--server", server)
    assert code == 2 and "exists and nothing is overwritten" in said
    code, said = federation("add", "east", "--server", server, "--out", tmp_path / "again")
    assert code == 0 and "east was on the list already" in said
    assert "east: admitted" in federation("list", server)[1]
