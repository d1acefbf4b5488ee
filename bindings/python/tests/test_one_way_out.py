"""What leaves a site when something goes wrong there: a code, and no word about its files, its folders and the people they are named after."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flwr.app import ConfigRecord, Context, Error, Message, RecordDict
from lab import Lab
from small_run import AS_THEY_ARE, CONFIG, SIZED, png, small_config

import effgan
from effgan.flower.client_app import client_app

PATIENT = "Erika Mustermann 1961-02-03"


def images(folder: Path, num: int = 40) -> Path:
    for i in range(num):
        png(folder / ("cats", "dogs")[i % 2] / f"{i:03}.png", 16)
    return folder


def kit(folder: Path) -> Path:
    """A policy that allows a small run without asking."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "policy.toml").write_text('approve = "any"\nmin_images = 10\n')
    return folder / "policy.toml"


def missing(clinic: Path) -> Path:
    return clinic / f"images of {PATIENT}"


def mixed(clinic: Path) -> Path:
    png(images(clinic / "mixed") / "cats" / f"{PATIENT}.png", 9)
    return clinic / "mixed"


def broken(clinic: Path) -> Path:
    (images(clinic / "broken") / "dogs" / f"{PATIENT}.png").write_bytes(b"no image")
    return clinic / "broken"


def query(config: str, **changed: Any) -> Message:
    words = {"kind": "query", "config": config, "config-hash": hashlib.sha256(config.encode()).hexdigest(), "run": "", "version": effgan.__version__}
    return Message(RecordDict({"config": ConfigRecord({"deadline": 60.0, **words, **changed})}), dst_node_id=1, message_type="query")


def context(**node_config: Any) -> Context:
    config: dict[str, Any] = {key.replace("_", "-"): str(value) for key, value in node_config.items()}
    return Context(1, 1, config, RecordDict(), {})


def said(message: Message) -> dict[str, Any]:
    return dict(message.content.config_records["config"])


@pytest.mark.usefixtures("inside_of_a_server_app")
@pytest.mark.parametrize(("data", "settings"), [(missing, SIZED), (mixed, AS_THEY_ARE), (broken, SIZED)])
def test_a_site_whose_images_cannot_be_used_sends_a_code(
    data: Callable[[Path], Path], settings: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    clinic = tmp_path / f"clinic of {PATIENT}"
    site = context(data_dir=data(clinic), client_name="north", policy=kit(clinic / "kit"), state_dir=clinic / "kit/state")
    question = query(small_config(settings))
    answer = client_app()(question, site)
    ledger = hashlib.sha256((clinic / "kit/ledger.jsonl").read_bytes().rstrip(b"\n")).hexdigest()
    repeated = {"kind": "query", "config-hash": said(question)["config-hash"]}
    assert said(answer) == {"refused": "data-unusable", "ledger": ledger, **repeated}
    assert not answer.content.array_records and not answer.content.metric_records and not answer.has_error()
    own = capfd.readouterr().err
    assert "Mustermann" in own and "data-unusable" in own, "the site's own log says what is wrong"


@pytest.mark.usefixtures("inside_of_a_server_app")
def test_whatever_raises_at_a_site_leaves_as_a_code_and_ctrl_c_ends_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def raises(error: BaseException) -> Callable[..., Message]:
        def mod(message: Message, context: Context, call_next: Callable[..., Message]) -> Message:
            raise error

        return mod

    class Panic(BaseException):
        """What a panic in Rust raises."""

    site = context(data_dir=tmp_path, client_name="north", policy=kit(tmp_path / "kit"))
    for number, (error, code) in enumerate(
        [
            (RuntimeError(f"cannot read {PATIENT}.png"), "work-failed"),
            (TimeoutError(PATIENT), "deadline"),
            (Panic(PATIENT), "work-failed"),
            (SystemExit(PATIENT), "work-failed"),
        ],
        start=1,
    ):
        answer = client_app(mods=[raises(error)])(query(CONFIG, round=number), site)
        assert said(answer)["refused"] == code and "Mustermann" not in str(answer.content)
        assert "Mustermann" in capfd.readouterr().err
        *_, line = (tmp_path / "kit/ledger.jsonl").read_text("utf-8").splitlines()
        entry = json.loads(line)
        assert (entry["refused"], entry["kind"], entry["round"]) == (code, "query", number)
        assert PATIENT in entry["why"] and said(answer)["ledger"] == hashlib.sha256(line.encode()).hexdigest()
    # A message without content, and one with a longer word than effgan ever sends.
    for strange in [Message(Error(code=0, reason=PATIENT), reply_to=query(CONFIG)), query(CONFIG, kind="x" * 200_000)]:
        answer = client_app()(strange, site)
        assert said(answer)["refused"] in ("work-failed", "other-question")
        assert len(str(answer.content)) < 1000 and "Mustermann" not in str(answer.content)
        *_, line = (tmp_path / "kit/ledger.jsonl").read_text("utf-8").splitlines()
        assert said(answer)["ledger"] == hashlib.sha256(line.encode()).hexdigest()
    with pytest.raises(KeyboardInterrupt):
        client_app(mods=[raises(KeyboardInterrupt())])(query(CONFIG), context())
    # Messages that Flower carries but effgan never sends.
    for message in [
        query(CONFIG, deadline=float("nan")),
        query(CONFIG, deadline=1e300),
        query(CONFIG, deadline=-1.0),
        Message(RecordDict(), dst_node_id=1, message_type="query"),
    ]:
        assert said(client_app()(message, context(data_dir=PATIENT)))["refused"] == "work-failed"


def test_no_name_of_a_file_or_folder_of_a_site_is_anywhere_at_the_server(tmp_path: Path) -> None:
    """Three sites that cannot take part, each for another reason, and every byte that the server and its SuperLink keep."""
    clinic, config = tmp_path / f"clinic of {PATIENT}", tmp_path / "server/small.toml"
    config.parent.mkdir()
    config.write_text(small_config(AS_THEY_ARE))
    folders = {"north": missing(clinic), "south": mixed(clinic), "west": broken(clinic)}
    with Lab(tmp_path / "server/lab", database=True) as lab:
        for name, data in folders.items():
            policy = kit(clinic / name)
            settings = f"data-dir='{data}' client-name='{name}' policy='{policy}' state-dir='{clinic / name / 'state'}'"
            lab.start_supernode(name, settings)
        outcome = lab.run(config, tmp_path / "server/run")
        for name in folders:
            # A site's log and home are on the site's machine, so they are not searched.
            lab.stop(name)
            (lab.folder / f"{name}.log").rename(clinic / name / "log")
            lab.home(name).rename(clinic / name / "home")
    assert outcome.status.startswith("finished:failed") and "data-unusable" in outcome.log
    searched = [file for file in (tmp_path / "server").rglob("*") if file.is_file()]
    assert {"state.db", "superlink.log"} <= {file.name for file in searched}
    for word in [b"Mustermann", b"1961-02-03", b"clinic of", str(clinic).encode(), b"000.png"]:
        for file in searched:
            assert word not in file.read_bytes(), f"{word!r} is in {file}"
        assert word not in outcome.log.encode()
    for name in folders:
        assert b"Mustermann" in (clinic / name / "ledger.jsonl").read_bytes()


def test_a_run_waits_until_somebody_at_each_site_says_yes(tmp_path: Path, program: Path) -> None:
    config = tmp_path / "small.toml"
    config.write_text(small_config(clients=2, deadline=120))
    kits = {name: tmp_path / name for name in ["north", "south"]}
    with Lab(tmp_path / "lab", tls=False) as lab:
        for name, folder in kits.items():
            folder.mkdir()
            (folder / "policy.toml").write_text("min_images = 10\n")
            data = images(tmp_path / f"data-{name}")
            settings = f"data-dir='{data}' client-name='{name}' policy='{folder / 'policy.toml'}' state-dir='{folder / 'state'}'"
            lab.start_supernode(name, settings)
        running = lab.submit(config, tmp_path / "run")
        for folder in kits.values():
            digits = waiting(program, folder)
            done = subprocess.run([program, "federation", "approve", folder, "--yes", digits], capture_output=True, text=True, check=True)
            assert "fedgan: 1 round of 1 pass over the images" in done.stdout
        log, _ = running.communicate(timeout=120)
        assert lab.statuses()[0] == "finished:completed", log
    for folder in kits.values():
        shown = subprocess.run([program, "federation", "ledger", folder], capture_output=True, text=True, check=True).stdout
        for words in ["refused: waiting-for-approval", "small was approved here", "sent discriminator (", "in all: "]:
            assert words in shown, shown


def waiting(program: Path, folder: Path) -> str:
    """The hash of the config that `approve` shows once the site has received a request."""
    import re
    import time

    for _ in range(600):
        done = subprocess.run([program, "federation", "approve", folder], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if shown := re.search(r"SHA-256 ([0-9a-f ]{79})", done.stdout):
            assert (done.returncode, "there is no terminal to ask on" in done.stderr) == (2, True)
            return shown[1]
        time.sleep(0.1)
    raise AssertionError(f"no run came: {done.stdout}{done.stderr}")
