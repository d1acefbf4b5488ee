"""A site runs the effgan that is installed there, whatever bundle the server sends."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import httpx
import pytest
from conftest import TINY
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.cli.build import build_fab_from_disk
from flwr.proto.control_pb2 import StartRunRequest
from flwr.proto.fab_pb2 import Fab
from flwr.proto.runtime_pb2 import AcquireTaskRequest
from flwr.supercore.constant import TaskType
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
from lab import APP, Lab, command_line, executable, kill_group, two_sites, wait_for

import effgan
from effgan.flower import task
from effgan.flower.executor import ANSWERING, FAILED, REFUSED, Runtime

if TYPE_CHECKING:
    from flwr.supercore.runtime import RuntimeHttpClient

# The installed effgan fails as a node's `fault` says.
TESTS = Path(__file__).parent
FAULTY = {"PYTHONPATH": f"{TESTS / 'installed'}{os.pathsep}{TESTS}", "INSTALLED_APP": "flower_spies:faulty"}


def test_the_hash_that_sites_know_is_that_of_the_bundle_which_the_installed_flwr_makes(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app/pyproject.toml").write_bytes(APP.read_bytes())
    subprocess.run([executable("flwr"), "build", "--app", tmp_path / "app"], cwd=tmp_path, check=True, capture_output=True)
    [bundle] = tmp_path.glob("*.fab")
    known = re.search(r'BUNDLE_SHA256: &str = "([0-9a-f]{64})"', APP.with_name("bundle.rs").read_text("utf-8"))
    assert known and known[1] == hashlib.sha256(bundle.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "two.toml"
    path.write_text(TINY.read_text("utf-8").replace("clients = 3", "clients = 2"))
    return path


@pytest.fixture(scope="module")
def simulated(config: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return model_hash(effgan.run(config, out=tmp_path_factory.mktemp("simulated") / "run").path)


def model_hash(run: Path) -> str:
    text: str = json.loads((run / "run.json").read_text("utf-8"))["model_hash"]
    return text


def bundle(folder: Path, **components: str) -> Path:
    """A foreign app: effgan's app with these components instead of its own, and tests/thief.py."""
    folder.mkdir()
    lines = "\n".join(f'{name} = "{component}"' for name, component in components.items())
    text = re.sub('serverapp = .*\nclientapp = .*', lines, APP.read_text("utf-8"))
    (folder / "pyproject.toml").write_text(text)
    shutil.copy(TESTS / "thief.py", folder)
    return folder


@pytest.fixture(scope="module")
def supernode(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, int]]:
    """A SuperNode whose SuperLink does not exist, and the port of its Runtime API."""
    lab = Lab(tmp_path_factory.mktemp("supernode") / "lab", executor=True)
    try:
        yield lab, lab.start_supernode("a", "partition-id=0", registered=False)
    finally:
        for name in list(lab.processes):
            lab.stop(name)


def apps(lab: Lab, executor: str) -> list[int]:
    """The processes that wait for a task or run one."""
    return lab.children(executor, "effgan.flower.task")


def end_of(lab: Lab, name: str) -> tuple[int, str]:
    """Exit status and log of a process that ends by itself."""
    status = lab.processes.pop(name).wait(60)
    return status, (lab.folder / f"{name}.log").read_text("utf-8")


def test_an_executor_without_the_secret_gets_no_task(supernode: tuple[Lab, int], tmp_path: Path) -> None:
    lab, runtime = supernode
    (tmp_path / "other.secret").write_bytes(b"of another site")
    lab.start_executor("other", runtime, home="a", secret=tmp_path / "other.secret")
    status, log = end_of(lab, "other")
    assert status == 1 and "has another secret" in log


def test_another_process_of_the_machine_that_signs_nothing_gets_no_task(supernode: tuple[Lab, int]) -> None:
    lab, runtime = supernode
    wait_for("the executor's app", lambda: bool(apps(lab, "a-executor")))
    with closing(Runtime(f"127.0.0.1:{runtime}", lab.ca).client()) as client, pytest.raises(httpx.HTTPStatusError) as refused:
        client.AcquireTask(AcquireTaskRequest(supported_task_types=[TaskType.CLIENT_APP]))
    assert refused.value.response.status_code == 401


def test_a_command_line_which_all_accounts_can_read_has_no_secret(supernode: tuple[Lab, int]) -> None:
    lab, runtime = supernode
    wait_for("the executor's app", lambda: bool(apps(lab, "a-executor")))
    [app] = apps(lab, "a-executor")
    # A task's token arrives later, through the app's standard input.
    public = ["-m", "effgan.flower.task", "--runtime-api-address", f"127.0.0.1:{runtime}", "--root-certificates", str(lab.ca)]
    assert command_line(app).split()[1:] == public


@pytest.mark.parametrize(("how", "status"), [(signal.SIGTERM, 0), (signal.SIGKILL, -signal.SIGKILL)])
def test_an_app_ends_with_its_executor(how: signal.Signals, status: int, supernode: tuple[Lab, int]) -> None:
    lab, runtime = supernode
    lab.start_executor(how.name, runtime, home="a")
    wait_for("its app", lambda: bool(apps(lab, how.name)))
    [app] = apps(lab, how.name)
    os.kill(lab.processes[how.name].pid, how)
    assert end_of(lab, how.name)[0] == status
    wait_for("the app's end", lambda: not command_line(app), 20)


def test_an_executor_ends_when_its_supernode_is_gone(supernode: tuple[Lab, int]) -> None:
    lab, _ = supernode
    wait_for("the executor's app", lambda: bool(apps(lab, "a-executor")))
    lab.stop("a", signal.SIGKILL)
    status, log = end_of(lab, "a-executor")
    assert status == 1 and "is gone" in log, log


def test_a_foreign_app_never_runs_at_a_site_which_then_comes_to_the_hash_of_the_simulation(
    config: Path, simulated: str, tmp_path: Path
) -> None:
    secret = tmp_path / "key"
    secret.write_text("of the site alone")
    with two_sites(tmp_path / "lab", executor=True) as lab:
        own, lab.app = lab.app, bundle(tmp_path / "foreign", serverapp="thief:server", clientapp="thief:client")
        foreign = lab.run(secret, tmp_path / "none")
        lab.app = own
        outcome = lab.run(config, tmp_path / "run")
    assert foreign.log.count("a site said: {'config': {'refused': 'work-failed'}}") == 2, foreign.log
    assert "of the site alone" not in foreign.log
    assert not Path(f"{secret}.stolen").exists()
    assert not list(tmp_path.glob("lab/home-[ab]/**/thief.py")), "the bundle was unpacked at a site"
    assert outcome.status == "finished:completed", outcome.log
    assert model_hash(tmp_path / "run") == simulated


@pytest.mark.slow
def test_what_goes_wrong_in_an_app_is_told_to_the_server_at_once_and_in_fixed_words(tmp_path: Path) -> None:
    faults = {"good": "", "raises": "raises@1", "dies": "dies@2"}
    with Lab(tmp_path / "lab", executor=True, database=True, environment=FAULTY) as lab:
        for i, (name, fault) in enumerate(faults.items()):
            lab.start_supernode(name, f"partition-id={i} fault='{fault}' spy='{tmp_path / f'messages-{name}'}'")
        outcome = lab.run(TINY, tmp_path / "run")
        logs = {name: (lab.folder / f"{name}-executor.log").read_text("utf-8") for name in faults}
        at_server = [file.read_bytes() for file in [*lab.folder.glob("state.db*"), *lab.folder.glob("super*.log")]]
        at_server += [file.read_bytes() for file in (tmp_path / "run").rglob("*") if file.is_file()]
    assert outcome.status == "finished:completed", outcome.log
    rounds = [event for event in effgan.Run(tmp_path / "run").metrics if event["event"] == "round"]
    print([(one["round"], round(one["seconds"], 1), one.get("missing")) for one in rounds])
    assert [[one["name"] for one in event.get("missing", [])] for event in rounds] == [["client-0001"], ["client-0002"], []]
    reasons = [one["reason"] for event in rounds for one in event.get("missing", [])]
    # The app itself replies after an exception, and the executor replies for an app that has died.
    assert reasons == ["refused: work-failed (its own log says why)", f"Flower's error 2: {FAILED}"]
    # Without the executor's reply it takes Flower 67 s to notice.
    assert rounds[1]["seconds"] < 20
    assert "the disk is full" in logs["raises"] and "exit status 9" in logs["dies"]
    assert not any(b"the disk is full" in words for words in [outcome.log.encode(), *at_server])


def test_an_app_that_dies_at_a_site_is_in_its_ledger(config: Path, tmp_path: Path) -> None:
    kit, other = tmp_path / "kit", tmp_path / "other"
    for folder in [kit, other]:
        folder.mkdir()
        (folder / "policy.toml").write_text('approve = "any"\nmin_images = 1\n')
    faulty = FAULTY | {"EFFGAN_KIT": str(kit)}
    with Lab(tmp_path / "lab", executor=True, environment=faulty) as lab:
        lab.start_supernode("good", f"partition-id=0 spy='{tmp_path / 'good'}' policy='{other / 'policy.toml'}'")
        lab.start_supernode("dies", f"partition-id=1 fault='dies@1' spy='{tmp_path / 'dies'}'")
        outcome = lab.run(config, tmp_path / "run")
    assert outcome.status == "finished:completed", outcome.log
    entries = [json.loads(line) for line in (kit / "ledger.jsonl").read_text("utf-8").splitlines()]
    [died] = [entry for entry in entries if entry["event"] == "refused"]
    asked = next(entry for entry in entries if entry["event"] == "answered")
    assert (died["refused"], died["why"]) == ("work-failed", "the site's app ended with exit status 9")
    assert (died["kind"], died["round"], died["config"], died["identity"]) == ("average", 1, asked["config"], asked["identity"])
    assert re.fullmatch("[0-9a-f]{64}", died["run"]) and re.fullmatch("[0-9a-f]{64}", died["received"])


@pytest.mark.slow
def test_an_executor_ends_with_an_app_that_leaves_half_an_answer_to_its_supernode(config: Path, tmp_path: Path) -> None:
    with Lab(tmp_path / "lab", executor=True, environment=FAULTY) as lab:
        for i, fault in enumerate(["", "is-cut-off@1"]):
            lab.start_supernode(f"site-{i}", f"partition-id={i} fault='{fault}' spy='{tmp_path / f'messages-{i}'}'")
        running = lab.submit(config, tmp_path / "run")
        status, log = end_of(lab, "site-1-executor")
        kill_group(running.pid, signal.SIGKILL)
        running.communicate()
    # The service manager restarts both, because this SuperNode would wait for the rest of the reply forever.
    assert status == 1 and "in the middle of its reply" in log


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")
def test_an_agent_is_refused_and_the_node_serves_the_next_run(config: Path, simulated: str, tmp_path: Path) -> None:
    with two_sites(tmp_path / "lab", executor=True) as lab:
        start_agent(lab, bundle(tmp_path / "agent", agentapp="thief:agent"))
        log = lab.folder / "superlink.log"
        wait_for("the sites' answer", lambda: log.read_text("utf-8").count(REFUSED) == 2)
        outcome = lab.run(config, tmp_path / "run")
    assert outcome.status == "finished:completed", outcome.log
    assert model_hash(tmp_path / "run") == simulated


def start_agent(lab: Lab, app: Path) -> None:
    """Starts an agent, which ``flwr run`` cannot do."""
    content = build_fab_from_disk(app)
    request = StartRunRequest(fab=Fab(hash_str=hashlib.sha256(content).hexdigest(), content=content), user_prompt="begin")
    versions = RuntimeVersionHttpInterceptor(component_name="lab")
    with closing(
        ControlHttpClient.from_server_address(f"127.0.0.1:{lab.port}", False, lab.ca.read_bytes(), [versions])
    ) as client:
        client.StartRun(request)


@pytest.mark.usefixtures("inside_of_a_server_app")
@pytest.mark.parametrize(("group", "words"), [("", 3), ("x" * 200_000, 1)])
def test_nothing_that_a_server_makes_up_fills_the_pipe_to_the_executor(group: str, words: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pipe is read when the task has ended, so a task that writes more than it holds would wait forever."""
    message = Message(RecordDict({"config": ConfigRecord({"config": "x" * 200_000})}), dst_node_id=1, message_type="query", group_id=group)
    context = Context(1, 1, {}, RecordDict(), {})
    monkeypatch.setattr(task, "HeartbeatSender", lambda _: SimpleNamespace(start=lambda: None))
    monkeypatch.setattr(task, "pull_task_input", lambda _: (message, context, None, None))
    for name in ("make_task_heartbeat_fn_http", "app", "push_message", "push_task_output"):
        monkeypatch.setattr(task, name, lambda *_: message)
    told: list[bytes] = []
    task.answer(cast("RuntimeHttpClient", None), told.append)
    assert len(told) == words and sum(map(len, told)) < 16_384 and told[-1] == ANSWERING
