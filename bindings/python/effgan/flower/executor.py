"""Runs the app that is installed at this site, and no other: ``python -m effgan.flower.executor`` takes the tasks of a SuperNode.

Flower's own SuperExec installs and runs whatever bundle the server sends, including apps that are not ClientApps. This executor runs
each ClientApp task in :mod:`effgan.flower.task`, a process of its own, which runs the installed ``effgan.flower.client_app:app`` and never
opens the bundle. Tasks for agents are refused, because a SuperNode waits forever for a reply to a task that nobody takes.

One such process waits for a task with everything imported. It gets its task's token through standard input, which no other account can read,
and it ends when this process does. If it ends without a reply, this process writes a line into the site's ledger and tells the server at
once, in words that say nothing about the site.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import httpx
from flwr.app import Context, Error, Message, RecordDict
from flwr.common.constant import ErrorCode, SubStatus
from flwr.common.serde import message_from_proto
from flwr.proto.message_pb2 import Message as ProtoMessage
from flwr.proto.runtime_pb2 import AcquireTaskRequest, AcquireTaskResponse, PullAppMessagesRequest
from flwr.supercore.constant import TaskType
from flwr.supercore.interceptors import RuntimeTokenHttpInterceptor, RuntimeVersionHttpInterceptor, SuperExecAuthHttpInterceptor
from flwr.supercore.protobuf.client import ProtobufClientInterceptor
from flwr.supercore.retry import RetryInvoker
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supernode.runtime.run_clientapp import push_message, push_task_output
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from .. import _effgan
from .records import UNKNOWN

# What the server learns about an app that ended without a reply.
FAILED = "the site's app failed; its own log says why"

# What the server learns about an agent that was not run. The forwarder lets only these two of the executor's sentences leave the site.
REFUSED = "this site runs effgan and no agent"

# What a task's process writes before it pushes its reply.
ANSWERING = b"answering"

# Seconds between two requests for a task while none runs; a request takes 3 ms.
IDLE = 0.25
# Seconds between two such requests while a task runs.
BUSY = 2.0
# Seconds within which the SuperNode must respond for the first time, and seconds of silence after which it counts as gone.
START, GONE = 60.0, 10.0


class CannotContinue(Exception):
    """The executor cannot continue, for the reason given."""


@dataclass(frozen=True)
class Runtime:
    """A SuperNode's Runtime API, over TLS."""

    address: str
    certificates: Path

    def client(self, *interceptors: ProtobufClientInterceptor, retry: RetryInvoker | None = None) -> RuntimeHttpClient:
        return RuntimeHttpClient.from_server_address(
            server_address=self.address,
            insecure=False,
            root_certificates=self.certificates.read_bytes(),
            interceptors=[RuntimeVersionHttpInterceptor(component_name="effgan"), *interceptors],
            retry_invoker=retry,
        )

    def options(self) -> list[str]:
        return ["--runtime-api-address", self.address, "--root-certificates", str(self.certificates)]


class Child:
    """A process of :mod:`effgan.flower.task`, which waits for a token, runs that one task, and ends."""

    def __init__(self, runtime: Runtime) -> None:
        command = [sys.executable, "-m", "effgan.flower.task", *runtime.options()]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self.token = ""

    def begin(self, token: str) -> None:
        self.token = token
        assert self.process.stdin is not None, "it is a pipe"
        try:
            self.process.stdin.write(token.encode())
        except BrokenPipeError:
            pass  # The process has ended, which `has_ended` finds next.

    def has_ended(self, seconds: float) -> bool:
        """Whether the process ends within ``seconds``."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def end(self) -> tuple[int, list[bytes]]:
        """Ends the process. Returns its exit status and the words that it wrote to standard output before it ended: the message that
        it got, what the ledger records of it, and :data:`ANSWERING`."""
        self.process.kill()
        words, _ = self.process.communicate()
        return self.process.returncode, words.split()


class Executor:
    """Takes the tasks of one SuperNode, one at a time."""

    def __init__(self, runtime: Runtime, secret: bytes) -> None:
        acquire = SuperExecAuthHttpInterceptor(master_secret=secret, protected_methods=["/flwr.proto.Runtime/AcquireTask"])
        self.runtime, self.client = runtime, runtime.client(acquire)
        self.silent_after = time.monotonic() + START
        self.child = Child(runtime)

    def serve(self) -> NoReturn:
        """Takes tasks until an exception ends it."""
        try:
            while True:
                self.step()
        finally:
            self.close()

    def step(self) -> None:
        at_work = bool(self.child.token)
        # While a task runs, a request that accepts no kind of task shows whether the SuperNode is still there.
        acquired = self.acquire([] if at_work else [TaskType.CLIENT_APP, TaskType.AGENT_APP])
        if acquired.task.type == TaskType.CLIENT_APP:
            self.child.begin(acquired.token)
        elif acquired.token:
            self.answer_for(acquired.token, [], "other-question", "the server sent an agent; this site runs no agents", REFUSED)
        if self.child.has_ended(BUSY if self.child.token else IDLE):
            self.reap()
            self.child = Child(self.runtime)

    def acquire(self, kinds: Sequence[str]) -> AcquireTaskResponse:
        """Takes a task and its token, if there is one."""
        try:
            acquired = self.client.AcquireTask(AcquireTaskRequest(supported_task_types=kinds))
        except httpx.HTTPError as error:
            if isinstance(error, httpx.HTTPStatusError) and error.response.status_code == httpx.codes.UNAUTHORIZED:
                raise CannotContinue(f"the SuperNode at {self.runtime.address} has another secret") from None
            if time.monotonic() > self.silent_after:
                raise CannotContinue(f"the SuperNode at {self.runtime.address} is gone: {error}") from None
            return AcquireTaskResponse()
        self.silent_after = time.monotonic() + GONE
        return acquired

    def reap(self) -> None:
        """Ends the process of a task, and refuses the task if the process has not replied."""
        status, words = self.child.end()
        if status == 0:
            return
        if not self.child.token:
            raise CannotContinue(f"the site's app cannot be started: exit status {status}")
        ended = f"the site's app ended with exit status {status}"
        if ANSWERING in words:
            # The SuperNode now waits for the rest of that reply, whatever it is told.
            raise CannotContinue(f"{ended}, in the middle of its reply")
        self.answer_for(self.child.token, words, "work-failed", ended, FAILED)

    def answer_for(self, token: str, words: list[bytes], code: str, why: str, reason: str) -> None:
        """Refuses a task, whose process wrote ``words``. ``why`` goes to the site's log and ledger; the server learns only ``reason``."""
        with closing(self.runtime.client(RuntimeTokenHttpInterceptor(token))) as client:
            try:
                message = message_of(words) or pulled(client)
                record_refusal(question_of(words), code, why)
                fail(client, message, reason)
            except httpx.HTTPError as error:
                log(f"the SuperNode could not be told: {error}")

    def close(self) -> None:
        try:
            self.reap()
        except CannotContinue:
            pass  # This process is ending, too.
        self.client.close()


def message_of(words: list[bytes]) -> Message | None:
    """The message that a task's process got, without its content; ``None`` if it ended before it wrote that."""
    try:
        return message_from_proto(ProtoMessage.FromString(bytes.fromhex(words[0].decode()))) if words else None
    except (ValueError, DecodeError):
        return None


def pulled(client: RuntimeHttpClient) -> Message | None:
    """The message of a task, unless it has already been pulled."""
    messages = client.PullMessages(PullAppMessagesRequest()).messages_list
    return message_from_proto(messages[0]) if messages else None


def question_of(words: list[bytes]) -> str:
    """What the site's ledger records of the message, as the task's process wrote it."""
    try:
        return bytes.fromhex(words[1].decode()).decode() if len(words) > 1 else UNKNOWN
    except ValueError:
        return UNKNOWN


def record_refusal(question: str, code: str, why: str) -> None:
    """Writes a line into the log, and one into the ledger of the kit from which this process was started."""
    log(why)
    if kit := os.environ.get("EFFGAN_KIT"):
        try:
            _effgan.write_refusal(question, code, why, state_dir=Path(kit, "state"), policy=Path(kit, "policy.toml"))
        except _effgan.EffganError as error:
            log(f"the refusal could not be written into the ledger: {error}")


def fail(client: RuntimeHttpClient, message: Message | None, reason: str) -> None:
    """Ends the task with an error. If its message is unknown because it was already pulled, the SuperNode itself replies to it after 60 s."""
    if message is None:
        return
    of = message.metadata
    context = Context(run_id=of.run_id, node_id=of.dst_node_id, node_config={}, state=RecordDict(), run_config={})
    push_message(client, Message(Error(code=ErrorCode.CLIENT_APP_RAISED_EXCEPTION, reason=reason), reply_to=message), context)
    push_task_output(client, None, SubStatus.FAILED, reason)


def log(line: str) -> None:
    print(f"effgan executor: {line}", file=sys.stderr, flush=True)


def main() -> int:
    options = argparse.ArgumentParser(prog="effgan.flower.executor", description=(__doc__ or "").partition("\n")[0])
    add_runtime(options)
    options.add_argument("--superexec-auth-secret-file", type=Path, required=True, metavar="FILE", help="the SuperNode's secret for its executor")
    given = options.parse_args()
    # The SuperNode is on this machine, so it is called without a proxy; only the forwarder connects to other machines.
    os.environ.update(NO_PROXY="*", no_proxy="*")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        Executor(runtime_of(given), given.superexec_auth_secret_file.read_bytes()).serve()
    except (CannotContinue, OSError) as error:
        log(str(error))
        return 1
    except KeyboardInterrupt:
        return 0


def add_runtime(options: argparse.ArgumentParser) -> None:
    options.add_argument("--runtime-api-address", required=True, metavar="HOST:PORT", help="address of the SuperNode's Runtime API")
    options.add_argument("--root-certificates", type=Path, required=True, metavar="FILE", help="certificates that verify the SuperNode's")


def runtime_of(given: argparse.Namespace) -> Runtime:
    return Runtime(given.runtime_api_address, given.root_certificates)


if __name__ == "__main__":
    sys.exit(main())
