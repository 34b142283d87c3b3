"""Trajectories of mini-SWE-agent: messages whose answers hold one fenced command; the next message is what it gave."""

import re
from typing import Any

from sea.formats.openai import feed_message, is_messages
from sea.formats.run import Format, Record, Run, dicts, text_of

_FENCE = re.compile(r"```(?:mswea_bash_command|bash|sh)[ \t]*\n(.*?)\n?```", re.S)


def feed(run: Run, record: Record) -> None:
    """Read a trajectory."""
    info = record.get("info") or {}
    run.status = str(info.get("exit_status") or "ok")
    run.id = str(record.get("instance_id") or "")
    for message in dicts(record["messages"]):
        if message["role"] == "assistant" and not message.get("tool_calls"):
            for command in _commands(message):
                run.shell(command)
        elif message["role"] == "user" and run.problem:
            run.result(None, text_of(message.get("content")))
        else:
            feed_message(run, message)


def _commands(message: Record) -> list[str]:
    noted = (message.get("extra") or {}).get("actions") or []
    found = [text_of(action.get("command") if isinstance(action, dict) else action) for action in noted]
    return found or _FENCE.findall(text_of(message.get("content")))


def _matches(record: Record) -> bool:
    if str(record.get("trajectory_format", "")).startswith("mini-swe-agent"):
        return True
    return is_messages(record.get("messages")) and any(map(_is_command, record["messages"]))


def _is_command(message: Any) -> bool:
    return (
        message["role"] == "assistant"
        and not message.get("tool_calls")
        and bool(_FENCE.search(text_of(message.get("content"))))
    )


FORMAT = Format("mini-SWE-agent trajectory", _matches, feed)
