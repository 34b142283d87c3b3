"""Text with fenced python and output blocks in turn (ToRA), and `generated` programs with what was `executed` (PoT)."""

import re

from sea.formats.run import Format, Record, Run, text_of

_BLOCKS = re.compile(r"```(?:python|py)[ \t]*\n(.*?)```(?:\s*```output[ \t]*\n(.*?)```)?", re.S)
_TEXTS = (
    "code",
    "solution",
    "completion",
    "response",
    "generation",
    "generated",
    "text",
    "output",
    "program",
)


def _text(record: Record) -> str:
    for key in _TEXTS:
        value = record.get(key)
        text = value[0] if isinstance(value, list) and value and isinstance(value[0], str) else value
        if isinstance(text, str) and "```python" in text and "```output" in text:
            return text
    return ""


def feed(run: Run, record: Record) -> None:
    """Read a record."""
    identity = next((record[key] for key in ("id", "idx") if record.get(key) is not None), None)
    run.id = "" if identity is None else str(identity)
    run.task = "" if record.get("task_id") is None else str(record["task_id"])
    run.about(next((record[key] for key in ("problem", "question", "task") if record.get(key)), None))
    text = _text(record)
    for code, output in _BLOCKS.findall(text):
        run.program(code, output or None)
    if not text:
        run.program(record["generated"], text_of(record["executed"]) or None)
    if isinstance(record.get("score"), list) and record["score"]:
        run.correct = bool(record["score"][0])


FORMAT = Format("ToRA or PoT text", lambda r: bool(_text(r)) or {"generated", "executed"} <= r.keys(), feed)
