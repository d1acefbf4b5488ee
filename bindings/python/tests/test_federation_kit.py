"""A kit holds the wheel and pins its dependencies, all by their hashes."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import REPOSITORY
from deployment import assert_wrong, federation, init

import effgan

PACKAGE = Path(effgan.__file__).parent
WHEEL = f"effgan-{effgan.__version__}-cp310-abi3-manylinux_2_28_x86_64.whl"


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
        # The folder later also holds keys and a ledger; a container's image is built only from these files.
        assert (folder / ".dockerignore").read_text() == "*\n!*.whl\n!requirements.txt\n"
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
    for wheel, reason in (wrong | {torn: "it is not a zip archive"}).items():
        code, said = federation("init", "--sites", "a", "--host", "h", "--wheel", wheel, "--out", tmp_path / "out")
        assert code == 2 and reason in said and said.count("\n") == 1 and not (tmp_path / "out").exists(), said


def installable(path: Path) -> Path:
    """Packs this package into a wheel, as maturin would."""
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
    # The programs that start.sh calls are installed.
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
