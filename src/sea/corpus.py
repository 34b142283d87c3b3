"""Programs that were read before, with what mining needs to know about them, in a file: new traces cost what is new.

What is mined is the same as from all traces at once. The file holds nodes of trees and plain records alone; one that
another version of this code has written is read again from its traces. Nothing is executed.
"""

import ast
import hashlib
import io
import pickle
import sqlite3
import sys
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from sea import patterns
from sea.collector import paused
from sea.sources import Loader, Model, Source
from sea.trace import Trace

_DEPENDS_ON = (
    "choices",
    "corpus",
    "counts",
    "cuts",
    "forms",
    "normalise",
    "regions",
    "shapes",
    "sources",
    "tokens",
    "trace",
)
"""Modules that decide what is in the file."""
_TABLES = """
create table if not exists about (version text);
create table if not exists shapes (key blob primary key, model blob);
create table if not exists batches (number integer primary key, programs blob);
"""


class BadCorpus(Exception):
    """The file cannot be read; the message says which and why."""


class Corpus:
    """Programs of all traces added so far."""

    def __init__(self, path: Path | None = None) -> None:
        """Open a file, or make it; without one everything is kept in memory alone.

        Raises:
            BadCorpus: It is no such file.
        """
        self.sources: list[Source] = []
        self._by_trace: dict[tuple[str, str], list[Source]] = {}
        self._loader = Loader()
        self._path = path
        if path is None:
            return
        try:
            self._base = sqlite3.connect(path)
            self._base.executescript(_TABLES)
            self._read()
        except (
            sqlite3.Error,
            pickle.UnpicklingError,
            ValueError,
            TypeError,
            AttributeError,
            EOFError,
        ) as error:
            raise BadCorpus(
                f"{path}: cannot be read as a corpus: {error}; delete it and start anew"
            ) from error

    def add(self, traces: Iterable[Trace]) -> int:
        """Programs of more traces; how many they are. They are in the file when this returns."""
        known = set(self._loader.models)
        found = self._loader.load(traces)
        self._note(found)
        if self._path is not None:
            self._write(found, known)
        return len(found)

    def programs(self, traces: Sequence[Trace]) -> list[Source]:
        """The programs of these traces; those not known yet are added."""
        new = [trace for trace in traces if not self._known(trace)]
        if new:
            self.add(new)
        return [source for trace in traces for source in self._known(trace)]

    def _known(self, trace: Trace) -> list[Source]:
        found = self._by_trace.get((trace.source, trace.id), [])
        return found if found and found[0].trace == trace else []

    def _note(self, found: list[Source]) -> None:
        self.sources += found
        fresh: dict[tuple[str, str], list[Source]] = {}
        for source in found:
            fresh.setdefault((source.trace.source, source.trace.id), []).append(source)
        self._by_trace |= (
            fresh  # a trace that was read again with other contents takes the place of the old one
        )

    def patterns(self, min_support: int = 3) -> list[patterns.Pattern]:
        """What `patterns.mine` finds in all of them."""
        return patterns.mine(self.sources, min_support)

    def close(self) -> None:
        """Let the file go."""
        if self._path is not None:
            self._base.close()

    @paused()
    def _read(self) -> None:
        version = _version()
        row = self._base.execute("select version from about").fetchone()
        batches = self._base.execute("select programs from batches order by number")
        if row is not None and row[0] == version:
            models = self._loader.models
            for key, blob in self._base.execute("select key, model from shapes"):
                models[key] = _loaded(blob, Model)
            for (blob,) in batches:
                self._note([_source(models, *fields) for fields in _loaded(blob, list)])
            return
        traces: dict[int, Trace] = {}
        for (blob,) in batches.fetchall():
            traces |= {id(fields[0]): fields[0] for fields in _loaded(blob, list)}
        with self._base:
            for table in ("about", "shapes", "batches"):
                self._base.execute(f"delete from {table}")  # noqa: S608 -- names of our own tables
            self._base.execute("insert into about values (?)", (version,))
        if traces:
            self.add(traces.values())

    def _write(self, found: list[Source], known: set[bytes]) -> None:
        models = self._loader.models
        keys = {id(model): key for key, model in models.items()}
        programs = [(s.trace, s.step, keys[id(s.model)], s.numbers) for s in found]
        with self._base:
            self._base.executemany(
                "insert into shapes values (?, ?)",
                ((key, pickle.dumps(model, 5)) for key, model in models.items() if key not in known),
            )
            self._base.execute("insert into batches (programs) values (?)", (pickle.dumps(programs, 5),))


def _source(
    models: dict[bytes, Model], trace: Trace, step: int, key: bytes, numbers: tuple[Any, ...]
) -> Source:
    model = models[key]
    found = Source(trace, step, model, numbers)
    if model.whose is None:
        model.whose = found
    return found


def _version() -> str:
    """Of this code and this Python: trees of another one may differ."""
    files = [resources.files("sea").joinpath(f"{name}.py").read_bytes() for name in _DEPENDS_ON]
    return hashlib.sha256(b"\0".join([sys.version.encode(), *files])).hexdigest()


class _Plain(pickle.Unpickler):
    """Reads nodes of trees and our own records; nothing else can be named, so nothing can be called."""

    def find_class(self, module: str, name: str) -> Any:
        """A class by its name.

        Raises:
            UnpicklingError: It has no place in a corpus.
        """
        if module in ("ast", "_ast"):
            found = getattr(ast, name, None)
            if isinstance(found, type) and issubclass(found, ast.AST):
                return found
        elif (module, name) in _RECORDS:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a corpus")


_RECORDS = {
    ("builtins", "frozenset"),
    ("sea.sources", "Model"),
    ("sea.regions", "Program"),
    ("sea.regions", "Region"),
    ("sea.trace", "Trace"),
    ("sea.trace", "Step"),
    ("sea.trace", "Action"),
}


def _loaded(blob: bytes, kind: type[Any]) -> Any:
    found = _Plain(io.BytesIO(blob)).load()
    if not isinstance(found, kind):
        raise ValueError(f"a {kind.__name__} was expected")
    return found
