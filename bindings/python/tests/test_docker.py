"""Checks the files for containers with a linter and by their text, since images cannot be built everywhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from conftest import REPOSITORY

DOCKER = REPOSITORY / "docker"
FILES = sorted(DOCKER.glob("*.Dockerfile"))
COMPOSED = sorted(DOCKER.glob("*.compose.yaml"))


def test_there_are_two_of_each() -> None:
    assert [file.name for file in FILES] == ["server.Dockerfile", "site.Dockerfile"]
    assert [file.name for file in COMPOSED] == ["server.compose.yaml", "site.compose.yaml"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_hadolint_has_nothing_to_say(file: Path) -> None:
    done = subprocess.run([Path(sys.executable).parent / "hadolint", file], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_an_image_is_one_version_and_takes_only_files_of_known_hashes_for_a_user_of_its_own(file: Path) -> None:
    text = file.read_text("utf-8")
    assert re.search(r"^ARG PYTHON=python:\d+\.\d+\.\d+-slim-\w+$", text, re.MULTILINE)
    installed = re.findall(r"pip install.*", text)
    assert installed == ["pip install --no-cache-dir --require-hashes -r requirements.txt"]
    assert text.index("USER 10001") < text.index("CMD ")


@pytest.mark.parametrize("file", COMPOSED, ids=lambda file: file.name)
def test_only_the_relay_is_in_the_network_outside(file: Path) -> None:
    composed: dict[str, Any] = yaml.safe_load(file.read_text("utf-8"))
    assert composed["networks"]["inside"]["internal"] is True
    services = composed["services"]
    assert [name for name, service in services.items() if "outside" in service["networks"]] == ["relay"]
    [inner] = [service for name, service in services.items() if name != "relay"]
    assert inner["cap_drop"] == ["ALL"] and inner["read_only"] is True and "ports" not in inner
    # The relay has neither keys nor images.
    assert services["relay"]["volumes"] == ["./relay.conf.template:/etc/nginx/templates/nginx.conf.template:ro"]
    assert re.fullmatch(r"nginx:\d+\.\d+\.\d+-alpine", services["relay"]["image"])


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_an_image_is_built_from_the_wheel_and_its_requirements_alone(file: Path) -> None:
    """The kit's .dockerignore keeps out all other files of the folder: ``test_federation_kit.py``."""
    lines = file.read_text("utf-8").splitlines()
    assert not [line for line in lines if line.startswith(("COPY", "ADD"))]
    assert len([line for line in lines if "from=kit" in line and not line.startswith("#")]) == 1


def test_the_relay_looks_a_name_up_again() -> None:
    """nginx resolves a name that is written in `proxy_pass` itself only when it starts."""
    text = (DOCKER / "relay.conf.template").read_text("utf-8")
    assert re.findall(r"proxy_pass (.*);", text) == ["$to"] and "set $to ${RELAY_TO};" in text
    assert re.search(r"resolver 127\.0\.0\.11 valid=\d+s;", text)
