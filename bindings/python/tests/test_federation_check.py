"""`effgan federation check` is content where a run would work, and names the first thing that is wrong elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import pytest
from conftest import TINY
from deployment import assert_wrong, command, federation, init, pictures
from lab import free_port

import effgan


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
