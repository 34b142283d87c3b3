"""Calls exported from Weave: joined by `trace_id`; the innermost that are no model are calls of tools."""

import re
from typing import Any

from sea.formats.run import Format, Record, Run, text_of

_FENCE = re.compile(r"```(?:python|py)[ \t]*\n(.*?)```", re.S)
_MODEL = re.compile(r"completion|chat|generate|llm|invoke_model|messages\.create|responses\.create", re.I)


def feed(run: Run, record: Record) -> None:
    """Read one call."""
    parent, inputs = record.get("parent_id"), record.get("inputs") or {}
    name = op_name(str(record["op_name"]))
    if parent:
        run.parents.add(str(parent))
        if not _MODEL.search(name) and not _is_answer(record.get("output")):
            given = {key: value for key, value in inputs.items() if key != "self"}
            failed = bool(record.get("exception"))
            output = record["exception"] if failed else record.get("output")
            started = str(record.get("started_at") or "")
            run.call(
                name, given, output=output, error=failed, at=started, span=str(record.get("id")), leaf=True
            )
        return
    run.id = str(record["trace_id"])
    run.status = "error" if record.get("exception") else "ok"
    run.about(next((inputs[key] for key in ("problem", "question", "task") if inputs.get(key)), inputs))
    asked = Run(run.where)
    for code in _FENCE.findall(text_of(record.get("output"))):
        asked.program(code)
    run.spare += asked.entries


def op_name(reference: str) -> str:
    """`weave:///entity/project/op/NAME:DIGEST` to `NAME`."""
    return reference.rsplit("/", 1)[-1].split(":", 1)[0]


def _is_answer(output: Any) -> bool:
    """Whether an output is that of a model."""
    return isinstance(output, dict) and "choices" in output


FORMAT = Format(
    "Weave calls",
    lambda record: {"op_name", "trace_id"} <= record.keys(),
    feed,
    lambda record: None if record.get("deleted_at") else str(record["trace_id"]),
)
