"""Runs exported from LangSmith: one record a run, joined by `trace_id`; tool runs are the calls."""

from typing import Any

from sea.formats import langchain
from sea.formats.run import Format, Record, Run


def feed(run: Run, record: Record) -> None:
    """Read one run."""
    inputs, outputs = record.get("inputs") or {}, record.get("outputs") or {}
    if record["run_type"] == "tool":
        given = inputs.get("input", inputs) if set(inputs) <= {"input"} else inputs
        failed = bool(record.get("error"))
        output = record["error"] if failed else outputs.get("output", outputs)
        run.call(record["name"], given, output=output, error=failed, at=str(record.get("start_time") or ""))
    if not record.get("parent_run_id"):
        run.id = str(record.get("trace_id") or record["id"])
        run.task = str(record.get("reference_example_id") or "")
        run.status = str(record.get("status") or ("error" if record.get("error") else "ok"))
        run.about(_question(inputs))
        _spare(run, outputs.get("messages"))


def _question(inputs: Record) -> Any:
    messages = inputs.get("messages")
    if isinstance(messages, list) and messages:
        first = messages[0]
        if isinstance(first, list) and len(first) == 2 and isinstance(first[0], str):
            return first[1]
        first = first[0] if isinstance(first, list) else first
        return langchain.plain(first).get("content")
    return next((inputs[key] for key in ("input", "question", "problem", "query") if inputs.get(key)), inputs)


def _spare(run: Run, messages: Any) -> None:
    if langchain.is_messages(messages):
        asked = Run(run.where)
        for message in messages:
            langchain.feed_message(asked, langchain.plain(message))
        run.spare += asked.entries


FORMAT = Format(
    "LangSmith runs",
    lambda record: {"run_type", "id", "inputs"} <= record.keys(),
    feed,
    lambda record: str(record.get("trace_id") or record["id"]),
)
