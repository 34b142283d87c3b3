"""Writing traces with a library that lies in a directory.

A rewrite that with its calls inlined is not the original again is not given; whether it does the same is for whoever
executes it to see.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from sea.inline import Tool, given_back
from sea.library import Library
from sea.patterns import Source, load
from sea.rewrite import Index, rewrite
from sea.stored import restored
from sea.trace import Step, Trace


class Shelf:
    """A library's tools, ready to be put into programs."""

    def __init__(self, library: Library) -> None:
        """Read all tools.

        Raises:
            NoLibrary: There is none.
            ValueError: A tool's pattern cannot be read.
        """
        names = [name for name in library.active() if "pattern" in library.evidence(name)]
        patterns = {name: restored(library.evidence(name)["pattern"]) for name in names}
        self._index = Index({pattern.id: (name, pattern) for name, pattern in patterns.items()})
        self._tools = {name: Tool(library.source(name)) for name in names}

    def rewritten(self, traces: Iterable[Trace]) -> Iterator[dict[str, Any]]:
        """For each trace its program, the program with calls of tools, and which tools those are."""
        for trace in traces:
            sources = {source.step: source for source in load([trace])}
            original, after, used = [], [], set()
            for number, step in enumerate(trace.steps):
                text, tools = self._step(sources.get(number), step)
                original.append(step.code)
                after.append(text)
                used |= set(tools)
            before = "\n".join(original)
            yield {"id": trace.id, "original": before, "rewritten": "\n".join(after), "tools": sorted(used)}

    def _step(self, source: Source | None, step: Step) -> tuple[str, tuple[str, ...]]:
        made = rewrite(source, self._index) if source is not None else None
        if source is None or made is None:
            return step.code, ()
        tools = {name: self._tools[name] for name in made.tools}
        back = given_back(step.code, made.text, tools, source.program.keep, step.prelude)
        return (step.code, ()) if isinstance(back, str) else (made.text, made.tools)
