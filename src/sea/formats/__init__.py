"""Trace formats, one small file each, told apart by keys. Which file a record stands in does not matter."""

from collections.abc import Iterator
from typing import Any

from sea.formats import (
    agentfactory,
    blocks,
    claude,
    intercode,
    langchain,
    langsmith,
    mini_swe_agent,
    openai,
    openhands,
    openinference,
    otel,
    smolagents,
    swe_agent,
    weave,
)
from sea.formats.run import Format, Record, Run

FORMATS: tuple[Format, ...] = (
    weave.FORMAT,
    langsmith.FORMAT,
    openinference.FORMAT,
    otel.FORMAT,
    claude.FORMAT,
    mini_swe_agent.FORMAT,
    langchain.FORMAT,
    openai.FORMAT,
    swe_agent.FORMAT,
    openhands.FORMAT,
    smolagents.FORMAT,
    intercode.FORMAT,
    agentfactory.FORMAT,
    blocks.FORMAT,
    openhands.LINES,
    openai.LINES,
)
"""In the order they are tried."""

MALFORMED = (KeyError, TypeError, ValueError, AttributeError, IndexError)
"""What a format raises at a record that has its keys and not its shape."""

_HOLDERS = ("traces", "calls", "runs", "spans", "data", "objs")
_PROGRAM = frozenset(("code", "program", "solution", "execution_flow"))
"""A record with one of these is a record, whatever lists it has besides."""
_STATES = ("values", "state", "channel_values")
"""Where a dumped LangGraph state has its messages."""


def format_of(record: Record) -> Format | None:
    """The format of a record; None when none fits."""
    return next((one for one in FORMATS if one.matches(record)), None)


def records(found: Any) -> Iterator[Any]:
    """The records in one JSON value: conversations, memories and histories are one, holders of records are many."""
    if isinstance(found, list):
        whole = _whole(found)
        if whole is not None:
            yield whole
        else:
            for item in found:
                yield from records(item) if isinstance(item, dict | list) else [item]
    elif not isinstance(found, dict) or format_of(found) is not None:
        yield found
    elif state := next((found[key] for key in _STATES if _has_messages(found.get(key))), None):
        yield {"id": found.get("id"), **state}
    elif isinstance(found.get("resourceSpans"), list):
        yield from _otlp(found)
    else:
        held = next((found[key] for key in _HOLDERS if isinstance(found.get(key), list)), None)
        if held is None and found and all(map(_is_episode, found.values())):
            held = list(found.values())
        yield from [found] if held is None or _PROGRAM & found.keys() else records(held)


def _whole(found: list[Any]) -> Record | None:
    """One run that is written as a bare list."""
    if openai.is_messages(found) or langchain.is_messages(found):
        return {"messages": found}
    mappings = [item for item in found if isinstance(item, dict)]
    if mappings and any(map(smolagents.is_step, mappings)):
        return {"steps": found}
    pairs = [pair[0] for pair in found if isinstance(pair, list) and pair and isinstance(pair[0], dict)]
    if any(openhands.is_event(event) for event in pairs or mappings):
        return {"history": found}
    return None


def _has_messages(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("messages"), list)


def _is_episode(value: Any) -> bool:
    return isinstance(value, dict) and intercode.FORMAT.matches(value)


def _otlp(found: Record) -> Iterator[Any]:
    for resource in found["resourceSpans"]:
        for scope in resource.get("scopeSpans", []):
            yield from scope.get("spans", [])


class Gather:
    """The runs of one file, joined from their records as these come."""

    def __init__(self) -> None:
        self._runs: dict[tuple[str, str], Run] = {}

    def take(self, where: str, record: Record, found: Format) -> Run | None:
        """Add a record; the run when the record is a whole one.

        Raises:
            KeyError, TypeError, ValueError, AttributeError, IndexError: The record is malformed.
        """
        if found.group is None:
            run = Run(where)
            found.feed(run, record)
            return run
        group = found.group(record)
        if group is not None:
            found.feed(self._runs.setdefault((found.name, group), Run(where)), record)
        return None

    def finish(self) -> list[Run]:
        """The runs whose records were joined, in the order they began."""
        return list(self._runs.values())
