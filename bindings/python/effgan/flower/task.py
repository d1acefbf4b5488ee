"""One task of a SuperNode, which the installed app runs in a process of its own; :mod:`effgan.flower.executor` starts the process.

The process starts before there is a task: it imports everything, then reads the task's token from standard input. To standard output it
writes the message that it got, what the site's ledger records of it, and when it begins to push its reply. Everything else that is printed,
and the reason for a failure, goes to standard error, which is the site's own log.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
from collections.abc import Callable
from contextlib import closing

from flwr.app.message import remove_content_from_message
from flwr.common.constant import SubStatus
from flwr.common.serde import message_to_proto
from flwr.supercore.heartbeat import HeartbeatSender, make_task_heartbeat_fn_http
from flwr.supercore.interceptors import RuntimeTokenHttpInterceptor
from flwr.supercore.retry import make_simple_http_retry_invoker
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supernode.runtime.run_clientapp import pull_task_input, push_message, push_task_output

from .client_app import app, question_of
from .executor import ANSWERING, add_runtime, runtime_of

STDIN, STDOUT, STDERR = range(3)

# Maximum bytes of a message without its content, in hex; those of effgan's server have 400.
MAX_HEX = 8192


def answer(client: RuntimeHttpClient, tell: Callable[[bytes], object]) -> None:
    """Replies to the task's message. The task's app bundle is not opened."""
    HeartbeatSender(make_task_heartbeat_fn_http(client)).start()
    message, context, _, _ = pull_task_input(client)
    received = message_to_proto(remove_content_from_message(message)).SerializeToString().hex().encode()
    # Only a hostile server's message is longer, and writing more than the pipe holds would block until the executor reads.
    if len(received) <= MAX_HEX:
        tell(received)
        tell(question_of(message).encode().hex().encode())
    reply = app(message, context)
    tell(ANSWERING)
    push_message(client, reply, context)
    push_task_output(client, None, SubStatus.COMPLETED, "")


def end_with_executor() -> None:
    """Ends this process with the executor: standard input ends when the executor does, however it ends."""
    os.read(STDIN, 1)
    os._exit(1)


def main() -> None:
    options = argparse.ArgumentParser()
    add_runtime(options)
    runtime = runtime_of(options.parse_args())
    # What the app prints must not reach the executor.
    words = os.dup(STDOUT)
    os.dup2(STDERR, STDOUT)
    token = os.read(STDIN, 4096).decode()
    if not token:
        sys.exit()
    threading.Thread(target=end_with_executor, daemon=True).start()
    with closing(runtime.client(RuntimeTokenHttpInterceptor(token), retry=make_simple_http_retry_invoker())) as client:
        answer(client, lambda word: os.write(words, word + b"\n"))


if __name__ == "__main__":
    main()
