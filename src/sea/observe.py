"""What runs do, as spans: one JSON line each in `events.jsonl`, and OpenTelemetry spans where that is installed.

The line is written when the span ends, also when it ends with an error. Nobody's run fails because of OpenTelemetry
not being there; without a log opened, spans cost next to nothing and leave nothing. Where SEA_WEAVE names a project of
Weave, a log's spans are calls of that project too (`sea.weave_live`); what fails there is said once.
"""

import functools
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from sea.weave_live import Sink, sink_project

EVENTS = "events.jsonl"
Attributes = dict[str, Any]


class Log:
    """An event log; lines of several processes do not mix."""

    def __init__(self, path: Path, sink: Sink | None = None) -> None:
        self.path = path
        self.sink = sink

    def write(self, record: Attributes) -> None:
        """Add one line; what is no JSON is written as its text. A directory that is not there is not made for it."""
        if self.sink is not None:
            self.sink.take(record)
        if not os.access(self.path.parent, os.W_OK):
            return
        line = json.dumps(record, default=str, ensure_ascii=True) + "\n"
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)


_LOG: ContextVar[Log | None] = ContextVar("sea_log", default=None)
_SPAN: ContextVar[tuple[str, str | None]] = ContextVar("sea_span", default=("", None))
"""The outermost span that is open here, and the innermost."""


@contextmanager
def logged(path: Path) -> Iterator[Log]:
    """Spans within go to this file."""
    project = sink_project()
    log = Log(path, Sink(project, _tell) if project else None)
    token = _LOG.set(log)
    try:
        yield log
    finally:
        _LOG.reset(token)
        if log.sink is not None:
            log.sink.close()


@functools.cache
def _tell(sentence: str) -> None:
    """Say something once, however many logs are opened."""
    sys.stderr.write(f"{sentence}\n")


@contextmanager
def span(name: str, **attributes: Any) -> Iterator[Attributes]:
    """A stage of work; add what is known at its end to the mapping it gives.

    Args:
        name: The stage: `ingest`, `mine`, `gate`, `execute_tool NAME`, and so on.
        attributes: What is known at its beginning; for calls of tools the names of OpenTelemetry's GenAI conventions.
    """
    number, (trace, parent) = os.urandom(8).hex(), _SPAN.get()
    trace = trace or number
    token, begun, clock = _SPAN.set((trace, number)), time.time(), time.perf_counter()
    error = ""
    try:
        with _otel(name, attributes):
            yield attributes
    except BaseException as caught:
        error = f"{type(caught).__name__}: {caught}"
        raise
    finally:
        _SPAN.reset(token)
        log = _LOG.get()
        if log is not None:
            record = {"span": name, "id": number, "parent": parent, "trace": trace, "started": begun}
            ended = {"seconds": round(time.perf_counter() - clock, 6), "error": error or None}
            log.write({**record, **ended, "attributes": attributes})


@contextmanager
def _otel(name: str, attributes: Attributes) -> Iterator[None]:
    """The same span in OpenTelemetry; whoever runs the program decides where it goes."""
    try:
        from opentelemetry import trace
    except ImportError:
        yield
        return
    with trace.get_tracer("sea").start_as_current_span(name) as current:
        try:
            yield
        finally:
            for key, value in attributes.items():
                plain = isinstance(value, str | bool | int | float)
                current.set_attribute(key, value if plain else json.dumps(value, default=str))


def events(path: Path) -> list[Attributes]:
    """The lines of a log, in order; a line that was cut short is left out."""
    found: list[Attributes] = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            found.append(record)
    return found
