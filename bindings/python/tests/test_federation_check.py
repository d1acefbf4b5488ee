"""`effgan federation check` succeeds where a run would work, and otherwise names the first thing that is wrong."""

from __future__ import annotations

import ctypes
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import matplotlib.image
import pytest
from conftest import TINY
from deployment import assert_wrong, command, environment, federation, init, pictures
from lab import free_port

import effgan


def test_check_is_content_where_a_run_would_work(admitted: tuple[Path, Path, Path]) -> None:
    _, kit, data = admitted
    code, said = federation("check", kit)
    assert code == 4 and said.endswith("data: not checked; pass the folder of this site's images: --data DIR\n"), said
    code, said = federation("check", kit, "--data", data)
    assert code == 4 and re.search(r"policy: it refuses every run: \d\d images for training are fewer than min_images = 100", said), said
    (kit / "policy.toml").write_text("min_images = 10\n")
    code, said = federation("check", kit, "--data", data)
    assert code == 0, said
    words = [line.split()[0] for line in said.splitlines()]
    assert words == ["wheel", "files", "data", "policy", "disk", "port", "certificate", "clock", "admitted"]
    assert re.search(r"\d\d images of 5 classes \(\d(, \d){4}\), 28 × 28 pixels", said), said


def test_the_program_finds_the_flwr_that_was_installed_with_it(admitted: tuple[Path, Path, Path]) -> None:
    _, kit, data = admitted
    (kit / "policy.toml").write_text("min_images = 10\n")
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
    assert_wrong(server, f"files: other accounts can read {server / name} (mode 644); chmod 600 {server / name}")
    (server / name).chmod(0o600)
    server.chmod(0o755)
    assert_wrong(server, f"files: other accounts can list {server} (mode 755); chmod 700 {server}")


def test_check_knows_a_secret_of_the_site_that_others_can_read(admitted: tuple[Path, Path, Path]) -> None:
    _, kit, _ = admitted
    for name in ("key", "local.key", "superexec.secret", "hold-out.secret"):
        (kit / name).chmod(0o640)
        assert_wrong(kit, f"files: other accounts can read {kit / name} (mode 640)")
        (kit / name).chmod(0o600)
    (kit / "state").chmod(0o755)
    assert_wrong(kit, f"files: other accounts can list {kit / 'state'} (mode 755)")


def test_check_knows_a_folder_that_is_neither_a_kit_nor_a_servers(tmp_path: Path) -> None:
    assert_wrong(tmp_path, f"{tmp_path} is neither a site kit (site.toml) nor a server folder (server.toml)", code=2)


def test_check_knows_the_folder_above_several_data_sets(admitted: tuple[Path, Path, Path], tmp_path: Path) -> None:
    _, kit, _ = admitted
    above = tmp_path / "above"
    for i, site in enumerate(["east", "north", "west"]):
        pictures(above / site, f"client-{i:04}")
    wanted = f"data: {above} holds several data sets: east, north, west have folders of classes; give one of them"
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
    wanted = 'policy: it refuses the run "tiny" (too-few-images): training images: '
    assert_wrong(kit, wanted, "--data", data, "--config", config)
    (kit / "policy.toml").write_text("min_images = 10\n")
    code, said = federation("check", kit, "--data", data, "--config", config)
    assert code == 0, said
    assert re.search(r'policy       ok: allows the run "tiny": \d\d images here train, \d are held out', said), said
    few = r"\d\d images train and \d are held out, and an audit needs 20 of both, so the generator"
    assert re.search(rf"audit        ok: {few} leaves without\n", said), said
    (kit / "policy.toml").write_text("min_images = 10\n[release]\nmax_auc = 0.6\n")
    code, said = federation("check", kit, "--data", data, "--config", config)
    assert code == 4 and re.search(rf"audit: {few} would not leave; ask the server operator for a larger partition.held_out", said), said
    (kit / "policy.toml").write_text("min_images = 10\n")
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
    assert_wrong(kit, f"wheel: effgan here is {effgan.__version__}, the federation's is 0.0.7")
    (kit / "site.toml").write_text(site.replace('"north"', '"south"'))
    assert_wrong(kit, "key: it was made for north, and site.toml is for south")
    (kit / "site.toml").write_text(re.sub(r"127.0.0.1:\d+", f"127.0.0.1:{free_port()}", site))
    assert_wrong(kit, "port: 127.0.0.1:")
    (kit / "site.toml").write_text(site)
    (kit / "policy.toml").write_text("min_images = -1\n")
    assert_wrong(kit, "policy: ", code=2)


def _enlarged(data: Path, side: int) -> None:
    for path in data.rglob("*.png"):
        matplotlib.image.imsave(path, [[0.5] * side] * side, cmap="gray", vmin=0, vmax=1)


def _torn(data: Path) -> None:
    path = next(data.rglob("*.png"))
    path.write_bytes(path.read_bytes()[:-40])


def _linked(data: Path) -> None:
    path = next(data.rglob("*.png"))
    path.symlink_to(path.rename(data.parent / "outside.png"))


def _linked_class(data: Path) -> None:
    path = next(data.rglob("*.png")).parent
    path.symlink_to(path.rename(data.parent / "outside"))


def _parents(data: Path) -> None:
    for i, path in enumerate(sorted(data.iterdir())):
        path.rename(data.parent / path.name)
        site = data / f"site{'ab'[i % 2]}"
        site.mkdir(exist_ok=True)
        (data.parent / path.name).rename(site / path.name)


def _split_before(kit: Path) -> None:
    said = {"event": "answered", "run": "", "config": "0" * 64, "identity": "1" * 64, "kind": "query", "numbers": {}, "words": {}}
    more = {"time": "", "held_out": 0.3, "trained": {"rounds": 0, "steps": 0, "passes": 0.0}, "previous": "0" * 64}
    (kit / "ledger.jsonl").write_text(json.dumps(said | more) + "\n")
    (kit / "ledger.jsonl").chmod(0o600)


# Changes of config, policy, images and kit, and the beginning of the line that reports each.
REFUSED: dict[str, tuple[dict[str, str], str, Callable[[Path], object] | None, Callable[[Path], object] | None, str]] = {
    "another site": ({"": '[federation]\nsites = ["south", "west"]\n'}, "", None, None, r"\S+run.toml: federation.sites names south, west, but not north"),
    "simulation": ({"": "[simulation]\ndropout = 0.5\n"}, "", None, None, r"\S+run.toml: \[simulation\] describes simulated dropouts"),
    "labels without names": (
        {"base_channels = 8": "base_channels = 8\nconditional = true"}, "", None, None,
        r"\S+run.toml: network.conditional = true with dataset.name = \"folder\" needs federation.classes",
    ),
    "large images": (
        {}, "", lambda data: _enlarged(data, 256), None,
        r'policy: it refuses the run "tiny" \(image-too-large\): pixels per side: 256, and policy.toml has max_image_size = 128',
    ),
    "a size of no network": ({}, "", lambda data: _enlarged(data, 30), None, r"rehearsal: this site would refuse the run \(work-failed\): .*30"),
    "few images": (
        {"clients = 3": "clients = 3\nmin_examples = 1000"}, "", None, None,
        r"rehearsal: this site would refuse the run \(too-few-images\): \d\d images train, fewer than min_examples = 1000",
    ),
    "little memory": (
        {"channels = 1": "channels = 3\nsize = 128\nmax_memory = 1"}, "", None, None,
        r"rehearsal: this site would refuse the run \(too-much-memory\): .*dataset.max_memory",
    ),
    "memory of the images": (
        {"channels = 1": "channels = 3\nsize = 128", "batch_size = 16": "batch_size = 2", "base_channels = 8": "base_channels = 1"},
        'min_batch_size = 1\nmax_memory = "2 MiB"\n', None, None,
        r'policy: it refuses the run "tiny" \(too-much-memory\): memory: [\d.]+ MiB, and policy.toml has max_memory = ',
    ),
    "a link": ({}, "", _linked, None, r"data: \S+\.png is a link to outside of the data folder; allow_links = true allows it"),
    "a linked class": ({}, "", _linked_class, None, r"data: \S+ is a link to outside of the data folder; allow_links = true allows it"),
    "a torn image": ({}, "", _torn, None, r"data: .*1 of \d\d images"),
    "another hold-out": (
        {}, "", None, _split_before,
        r"rehearsal: this site would refuse the run \(hold-out-differs\): this site's hold-out was fixed by its first answer, with held_out = 0.3, and the run requests 0.2",
    ),
    "no secret of the hold-out": ({}, "", None, lambda kit: (kit / "hold-out.secret").write_text(""), r"files: \S+/hold-out.secret: is not 32 bytes in hex"),
    "no secret of the processes": ({}, "", None, lambda kit: (kit / "superexec.secret").write_text(""), r"files: \S+/superexec.secret is missing or empty"),
    "no certificate": ({}, "", None, lambda kit: (kit / "local.crt").write_text("none"), r"certificate: \S+/local.crt cannot be used .*is not a certificate"),
    "another's key": (
        {}, "", None, lambda kit: (kit / "local.key").write_bytes((kit.parents[1] / "server/server.key").read_bytes()),
        r"certificate: \S+/local.crt cannot be used .*\S+/local.key is not its key",
    ),
    "an old certificate": ({}, "", None, lambda kit: _dated(kit / "local.crt", kit / "local.key"), r"certificate: \S+/local.crt cannot be used .*expired"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_check_is_not_content_where_the_site_would_refuse(what: str, admitted: tuple[Path, Path, Path], tmp_path: Path) -> None:
    _, kit, data = admitted
    changes, policy, of_images, of_kit, line = REFUSED[what]
    text = _of_folders()
    for old, new in changes.items():
        text = text.replace(old, new) if old else text + new
    (tmp_path / "run.toml").write_text(text)
    (kit / "policy.toml").write_text("min_images = 10\n" + policy)
    for change, folder in ((of_images, data), (of_kit, kit)):
        if change:
            change(folder)
    code, _, error = command("federation", "check", kit, "--data", data, "--config", tmp_path / "run.toml")
    assert code in (2, 3, 4) and error.count("\n") == 1 and re.match(f"effgan: {line}", error), error


def test_a_check_with_a_config_reads_every_image_and_leaves_nothing_behind(admitted: tuple[Path, Path, Path], tmp_path: Path) -> None:
    _, kit, data = admitted
    (tmp_path / "run.toml").write_text(_of_folders())
    (kit / "policy.toml").write_text("min_images = 10\n")

    def files() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in [kit, *kit.rglob("*")]}

    before = files()
    code, said = federation("check", kit, "--data", data, "--config", tmp_path / "run.toml")
    assert code == 0 and "only headers" not in said, said
    assert "rehearsal    ok: all images were decoded, and this site would take part in the run, once someone here approves it" in said
    assert files() == before
    code, said = federation("check", kit, "--data", data)
    assert code == 0 and "; only headers were read, --config FILE decodes all images" in said, said


def test_check_says_of_folders_that_hold_folders_alone_what_they_count_as(admitted: tuple[Path, Path, Path]) -> None:
    _, kit, data = admitted
    (kit / "policy.toml").write_text("min_images = 10\n")
    _parents(data)
    code, said = federation("check", kit, "--data", data)
    assert code == 0 and "images of 2 classes (sitea, siteb; folders inside them count as parts of these)" in said, said


@pytest.mark.parametrize("name", ["state", "flower", "local.key", "superexec.secret", "hold-out.secret", "ledger.jsonl"])
def test_check_knows_what_this_account_may_not_use(name: str, admitted: tuple[Path, Path, Path]) -> None:
    _, kit, data = admitted
    if name == "flower":
        (kit / name).mkdir()
    (kit / name).touch()
    (kit / name).chmod(0o500 if name in ("state", "flower") else 0o200)
    words = [sys.executable, "-m", "effgan", "federation", "check", str(kit), "--data", str(data)]
    done = subprocess.run(words, env=environment(), capture_output=True, text=True, check=False, preexec_fn=_like_anybody)
    assert done.returncode == 4 and re.match(rf"effgan: files: this account cannot read (and write )?{kit / name} \(", done.stderr), done.stderr


def test_check_knows_a_server_that_cannot_start(tmp_path: Path) -> None:
    server = init(tmp_path / "federation")
    secret = server / "superexec.secret"
    kept = secret.read_bytes()
    secret.unlink()
    assert_wrong(server, f"files: {secret} is missing or empty; put it back, or make one")
    secret.write_bytes(kept)
    secret.chmod(0o600)
    own = (server / "server.key").read_bytes()
    (server / "server.key").write_bytes((server / "ca.key").read_bytes())
    assert_wrong(server, "certificate: server.key is not the key of server.crt; effgan federation renew")
    (server / "server.key").write_bytes(own)
    _dated(server / "ca.crt", server / "ca.key")
    assert_wrong(server, "certificate: ca.crt, which all sites have, is not valid today")


def _of_folders() -> str:
    """The tiny run on the sites' own images."""
    return TINY.read_text("utf-8").replace('name = "mnist-mini"\nlimit = 120', 'name = "folder"\nchannels = 1')


def _dated(certificate: Path, key: Path) -> None:
    """Replaces the certificate by a self-signed one that expired yesterday."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization

    old, now = x509.load_pem_x509_certificate(certificate.read_bytes()), datetime.now(timezone.utc)
    signer = serialization.load_pem_private_key(key.read_bytes(), None)
    builder = x509.CertificateBuilder().subject_name(old.subject).issuer_name(old.subject).serial_number(1)
    builder = builder.public_key(old.public_key()).not_valid_before(now - timedelta(days=9)).not_valid_after(now - timedelta(days=1))
    for extension in old.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    made = builder.sign(signer, hashes.SHA256())  # type: ignore[arg-type]
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))


def _like_anybody() -> None:
    """Takes away the capabilities by which root opens every file: CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, by PR_CAPBSET_DROP."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None)
        assert [libc.prctl(24, capability, 0, 0, 0) for capability in (1, 2)] == [0, 0]
