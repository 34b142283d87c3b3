"""Chat messages in OpenAI's format: `messages` with `tool_calls` and their results; a task and a reward where given."""

from typing import Any

from sea.formats.run import Format, Record, Run, dicts, right


def is_messages(value: Any) -> bool:
    """Whether a value is a list of messages with roles."""
    return isinstance(value, list) and bool(value) and all(isinstance(m, dict) and "role" in m for m in value)


def feed(run: Run, record: Record) -> None:
    """Read a conversation."""
    identity(run, record)
    for message in dicts(record["messages"]):
        feed_message(run, message)


def identity(run: Run, record: Record) -> None:
    """The id, task and reward that a record with messages may carry."""
    task, trial = record.get("task_id"), record.get("trial")
    run.task = "" if task is None else str(task)
    named = record.get("id", task if trial is None else f"{task}/{trial}")
    run.id = "" if named is None else str(named)
    run.correct = right(record.get("reward"))


def feed_message(run: Run, message: Record) -> None:
    """Read one message."""
    if message["role"] == "user":
        run.about(message.get("content"))
    for made in message.get("tool_calls") or ():
        function = made["function"]
        run.call(function["name"], function.get("arguments"), key=str(made["id"]))
    if message.get("function_call"):
        run.call(message["function_call"]["name"], message["function_call"].get("arguments"))
    if message["role"] in ("tool", "function"):
        run.result(message.get("tool_call_id"), message.get("content"))


FORMAT = Format("OpenAI messages", lambda record: is_messages(record.get("messages")), feed)
LINES = Format(
    "OpenAI messages, one a line",
    lambda record: "role" in record and bool({"content", "tool_calls"} & record.keys()),
    feed_message,
    lambda _: "",
)
