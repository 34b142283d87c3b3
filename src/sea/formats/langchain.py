"""Messages of LangChain and LangGraph: `type` human/ai/tool/system, plain, dumped with `data`, or serialised (`lc`)."""

from typing import Any

from sea.formats.openai import identity
from sea.formats.run import Format, Record, Run, dicts

_TYPES = frozenset(("human", "ai", "tool", "system", "function", "AIMessageChunk", "remove"))


def plain(message: Record) -> Record:
    """A message in whichever of its three forms as the plain one."""
    if "lc" in message and isinstance(message.get("kwargs"), dict):
        kind = str(message["id"][-1]).removesuffix("Chunk").removesuffix("Message").lower()
        return {"type": kind, **message["kwargs"]}
    if isinstance(message.get("data"), dict):
        return {**message["data"], "type": message["type"]}
    return message


def is_messages(value: Any) -> bool:
    """Whether a value is a list of such messages."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(m, dict) and ("lc" in m or m.get("type") in _TYPES) for m in value)
    )


def feed(run: Run, record: Record) -> None:
    """Read a conversation."""
    identity(run, record)
    for message in dicts(record["messages"]):
        feed_message(run, plain(message))


def feed_message(run: Run, message: Record) -> None:
    """Read one plain message."""
    if message["type"] == "human":
        run.about(message.get("content"))
    for made in message.get("tool_calls") or ():
        run.call(made["name"], made.get("args"), key=str(made.get("id")))
    if message["type"] == "tool":
        output = message.get("artifact") if message.get("content") in (None, "") else message["content"]
        run.result(message["tool_call_id"], output, message.get("status") == "error")


FORMAT = Format("LangChain messages", lambda record: is_messages(record.get("messages")), feed)
