"""Spans with OpenInference attributes; spans of kind TOOL are the calls."""

import re
from typing import Any

from sea.formats.otel import attributes, failed, span_ids, started
from sea.formats.run import Entry, Format, Record, Run, mapping

_WANTED = re.compile(r"llm\.output_messages\.(\d+)\.message\.tool_calls\.(\d+)\.tool_call\.function\.name")


def feed(run: Run, record: Record) -> None:
    """Read one span."""
    found, (trace, _, parent) = attributes(record), span_ids(record)
    run.id = trace
    kind = str(found["openinference.span.kind"]).upper()
    if kind == "TOOL":
        name = found.get("tool.name") or record["name"]
        given = found.get("input.value", found.get("tool.parameters"))
        run.call(name, given, output=found.get("output.value"), error=failed(record), at=started(record))
    if kind == "LLM":
        run.about(_question(found))
        _wanted(run, found)
    if not parent:
        run.status = "error" if failed(record) else "ok"
        run.about(found.get("input.value"))


def _question(found: Record) -> Any:
    for number in range(64):
        start = f"llm.input_messages.{number}.message"
        if f"{start}.role" not in found:
            return None
        if found[f"{start}.role"] == "user":
            return found.get(f"{start}.content")
    return None


def _wanted(run: Run, found: Record) -> None:
    for key in sorted(key for key in found if _WANTED.fullmatch(key)):
        arguments = found.get(key.removesuffix("name") + "arguments")
        run.spare.append(Entry(str(found[key]), mapping(arguments), at=""))


FORMAT = Format(
    "OpenInference spans",
    lambda record: "openinference.span.kind" in attributes(record),
    feed,
    lambda record: span_ids(record)[0],
)
