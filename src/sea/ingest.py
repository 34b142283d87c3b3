"""Reading traces: every shape is told by its keys, files are streamed, a bad record is named and skipped.

Shapes: programs with a recorded `ans` (pot), code blocks with recorded stdout (tora), programs with imports and helpers
(trove), plain JSONL, and the SEA trace JSON (one object, a list, or `{"traces": […]}`); formats of agents and tracing
systems are in `sea.formats`. gzip or not.
"""

import ast
import gzip
import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from sea.formats import MALFORMED, Gather, format_of
from sea.formats import records as records_in
from sea.formats.run import Record
from sea.trace import Intake, Step, Trace, task_of
from sea.weave_live import Project, project_of

_FENCE = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)```", re.S)
_MAX_RECORD_BYTES = 16 << 20
_ENDINGS = (".json", ".jsonl", ".jsonl.gz", ".json.gz", ".traj")


class BadInput(Exception):
    """A file that cannot be read at all; the message names it and says what to do."""


def read_traces(paths: Iterable[str | Path], limit: int | None = None) -> Intake:
    """Read files, directories and projects of Weave (`weave://ENTITY/PROJECT`) in order, at most `limit` traces.

    Raises:
        BadInput: A path is missing, unreadable, or holds no record that could be read.
    """
    intake = Intake()
    for path in files_of(paths):
        intake.files += 1
        before, skipped, gather = len(intake.traces), len(intake.skipped), Gather()
        left = None if limit is None else limit - before
        if left == 0:
            return intake
        for where, record in _records(path, intake, left):
            if limit is not None and len(intake.traces) >= limit:
                return intake
            _take(where, record, intake, gather)
        for run in gather.finish():
            if limit is not None and len(intake.traces) >= limit:
                return intake
            _admit(run.where, run.trace(), intake)
        if len(intake.traces) == before:
            why = intake.skipped[skipped] if len(intake.skipped) > skipped else "it is empty"
            raise BadInput(f"{path}: no trace could be read: {why}")
    return intake


def files_of(paths: Iterable[str | Path]) -> Iterator[Path | Project]:
    """The files that are meant: those of a directory in order of their names; projects of Weave as they are.

    Raises:
        BadInput: A path is missing, or a directory without files of traces.
    """
    for given in paths:
        path, project = Path(given), project_of(given)
        if project is not None:
            yield project
        elif path.is_dir():
            found = sorted(p for p in path.rglob("*") if p.name.endswith(_ENDINGS))
            if not found:
                raise BadInput(f"{path}: the directory holds no .json or .jsonl file")
            yield from found
        elif path.is_file():
            yield path
        else:
            raise BadInput(f"{path}: no such file or directory")


def _records(path: Path | Project, intake: Intake, limit: int | None) -> Iterator[tuple[str, Record]]:
    try:
        if isinstance(path, Project):
            yield from path.calls(limit)
            return
        with _open(path) as file:
            first = file.readline(_MAX_RECORD_BYTES)
            if _is_whole_line(first):
                yield from _lines(path, first, file, intake)
            else:
                yield from _document(path, first + file.read(), intake)
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: cannot be read: {error}") from None


def _open(path: Path) -> IO[str]:
    with path.open("rb") as probe:
        packed = probe.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rt", encoding="utf-8") if packed else path.open(encoding="utf-8")


def _is_whole_line(line: str) -> bool:
    """Whether the first line is a record of its own (JSON lines), rather than the beginning of one document."""
    try:
        json.loads(line)
    except ValueError:
        return line.lstrip()[:1] not in ("{", "[") or line.rstrip().endswith("}")
    return True


def _lines(path: Path, first: str, rest: Iterable[str], intake: Intake) -> Iterator[tuple[str, Record]]:
    for number, line in enumerate([first], 1):
        yield from _line(path, number, line, intake)
    for number, line in enumerate(rest, 2):
        yield from _line(path, number, line, intake)


def _line(path: Path, number: int, line: str, intake: Intake) -> Iterator[tuple[str, Record]]:
    if line.strip():
        yield from _value(path, line, f"{path.name}:{number}", ":", intake)


def _document(path: Path, text: str, intake: Intake) -> Iterator[tuple[str, Record]]:
    yield from _value(path, text, path.name, "#", intake)


def _value(path: Path, text: str, where: str, mark: str, intake: Intake) -> Iterator[tuple[str, Record]]:
    """The records of one JSON text; numbered when there are several, or when the text is a whole document."""
    try:
        found = json.loads(text)
        inside = [found] if _is_plain_list(found) and mark == ":" else list(records_in(found))
    except (*MALFORMED, RecursionError) as error:
        intake.skipped.append(f"{where}: not JSON: {error}")
        return
    if not inside:
        intake.skipped.append(f"{where}: holds no record")
    for number, record in enumerate(inside, 1):
        place = where if mark == ":" and len(inside) == 1 else f"{where}#{number}"
        if isinstance(record, dict):
            yield place, record
        else:
            intake.skipped.append(f"{place}: not an object but {type(record).__name__}")


def _is_plain_list(found: Any) -> bool:
    return isinstance(found, list) and not any(isinstance(item, dict | list) for item in found)


def _take(where: str, record: Record, intake: Intake, gather: Gather) -> None:
    reader = _reader(record, _EXACT)
    found = format_of(record) if reader is None else None
    reader = reader or (_reader(record, _PLAIN) if found is None else None)
    try:
        if found is not None:
            run = gather.take(where, record, found)
            trace = None if run is None else run.trace()
        elif reader is not None:
            trace = reader(where, record)
        else:
            keys = ", ".join(sorted(map(str, record))[:8])
            intake.skipped.append(f"{where}: no known trace shape; its keys are {keys}")
            return
    except MALFORMED as error:
        kind = f" {found.name}" if found is not None else ""
        intake.skipped.append(f"{where}: malformed{kind}: {type(error).__name__}: {error}")
        return
    if trace is not None:
        _admit(where, trace, intake)


def _admit(where: str, trace: Trace, intake: Intake) -> None:
    if not trace.steps and not trace.actions:
        intake.skipped.append(f"{where}: holds no Python code and no call of a tool")
        return
    for step in trace.steps:
        try:
            ast.parse(step.code)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            intake.skipped.append(f"{where}: its program does not parse: {error}")
            return
    intake.traces.append(trace)


def _pot(where: str, record: Record) -> Trace:
    replay = record["replay"]
    answer = replay.get("ans") if replay.get("ok") and replay.get("matches_recorded") is not False else None
    code = str(record["code"])
    step = Step(code, answer=answer, result_name="ans", prelude=_pot_prelude(code))
    return Trace(str(record["id"]), str(record["task"]), where, (step,), str(record.get("question", "")))


def _pot_prelude(code: str) -> tuple[str, ...]:
    """What these programs were run with, as far as they name it."""
    table = (("math.", "import math"), ("np.", "import numpy as np"), ("Symbol", "from sympy import Symbol"))
    return tuple(line for word, line in table if word in code)


def _tora(where: str, record: Record) -> Trace:
    good = record.get("replay", {}).get("matches_recorded", True)
    output = str(record["recorded_output"]).rstrip() if good else None
    correct = str(record.get("gold")) == str(record.get("pred"))
    step = Step(str(record["code"]), output, index=int(record.get("block", 0)))
    return Trace(str(record["id"]), str(record["task"]), where, (step,), correct=correct)


def _trove(where: str, record: Record) -> Trace:
    good = record["recorded_success"] and record.get("replay", {}).get("matches_recorded", True)
    output = str(record["recorded_output"]).rstrip() if good else None
    prelude = (*map(str, record["imports"]), *map(_helper, record["tools"]))
    step = Step(str(record["code"]), output, prelude=prelude)
    return Trace(
        str(record["id"]), str(record["task"]), where, (step,), correct=bool(record.get("recorded_correct"))
    )


def _helper(tool: Any) -> str:
    return str(tool.get("code") or tool.get("function") or "") if isinstance(tool, dict) else str(tool)


def _plain(where: str, record: Record) -> Trace:
    code = next(str(record[key]) for key in ("code", "program", "solution") if record.get(key))
    given = next(
        (record[key] for key in ("output", "recorded", "result", "stdout") if record.get(key) is not None),
        None,
    )
    problem = str(record.get("problem") or record.get("question") or record.get("task") or code)
    task = record.get("task_id", record.get("task"))
    identity = str(record.get("id") or where)
    step = Step(_fenced(code), None if given is None else str(given).rstrip())
    return Trace(identity, str(task) if task is not None else task_of(problem), where, (step,), problem)


def _sea(where: str, record: Record) -> Trace:
    problem, metadata = str(record.get("problem", "")), record.get("metadata") or {}
    flow = [step for step in record.get("execution_flow") or [] if isinstance(step, dict)]
    outputs = [_text(step) for step in flow if step.get("type") in ("output", "observation", "result")]
    codes = _FENCE.findall(str(record.get("solution", "")))
    if not codes:
        codes = [_fenced(_text(step)) for step in flow if step.get("type") in ("code", "python", "tool_code")]
    output = outputs[-1].rstrip() if outputs else None
    steps = tuple(
        Step(code, output if index == len(codes) - 1 else None, index=index)
        for index, code in enumerate(codes)
    )
    identity = str(record.get("trace_id") or record.get("id") or where)
    return Trace(
        identity, task_of(problem or identity), where, steps, problem, str(metadata.get("status", "ok"))
    )


def _text(step: Record) -> str:
    return str(step.get("content") or step.get("description") or "")


def _fenced(text: str) -> str:
    found = _FENCE.search(text)
    return found[1] if found else text


_Readers = tuple[tuple[set[str], Callable[[str, Record], Trace]], ...]
_EXACT: _Readers = (
    ({"trace_id", "execution_flow"}, _sea),
    ({"problem", "execution_flow"}, _sea),
    ({"code", "replay", "recorded", "task"}, _pot),
    ({"code", "recorded_output", "imports", "tools"}, _trove),
    ({"code", "recorded_output"}, _tora),
)
"""Asked before the formats of `sea.formats`."""
_PLAIN: _Readers = (
    ({"code"}, _plain),
    ({"program"}, _plain),
    ({"problem", "solution"}, _plain),
)
"""Asked when no format fits."""


def _reader(record: Record, readers: _Readers) -> Callable[[str, Record], Trace] | None:
    return next((read for keys, read in readers if keys <= record.keys()), None)
