"""The shelf: one folder per tool, plain Python, and an index. Written whole or not at all.

DIR/NAME/{tool.py,test_tool.py,spec.json,evidence.json}, DIR/index.json, DIR/__init__.py. A folder without an
evidence.json of ours was made by a person and is never touched. The same tools give the same bytes.
"""

import ast
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from sea.generate import test_code, tool_code
from sea.patterns import Pattern
from sea.stored import stored
from sea.verify import Candidate

_MARK = "tidepool sea 1"
"""In evidence.json: the folder is ours."""


class NoLibrary(Exception):
    """A directory is not a library; the message says what to do."""


class Library:
    """Tools in a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def names(self) -> list[str]:
        """Tools of ours, sorted.

        Raises:
            NoLibrary: There is no library in this directory.
        """
        if not (self.directory / "index.json").is_file():
            raise NoLibrary(
                f"{self.directory}: no library here; `sea evolve FILE --library {self.directory}` makes one"
            )
        return sorted(
            path.parent.name for path in self.directory.glob("*/evidence.json") if _is_ours(path.parent)
        )

    def evidence(self, name: str) -> dict[str, Any]:
        """What a tool was admitted on.

        Raises:
            NoLibrary: There is no tool of this name.
        """
        path = self.directory / name / "evidence.json"
        if name not in self.names():
            raise NoLibrary(
                f"{self.directory}: no tool {name!r}; there are: {', '.join(self.names()) or 'none'}"
            )
        found: dict[str, Any] = json.loads(path.read_text())
        return found

    def source(self, name: str) -> str:
        """A tool's text."""
        self.evidence(name)
        return (self.directory / name / "tool.py").read_text()

    def replace_all(self, admitted: list[tuple[Candidate, Pattern]]) -> None:
        """Make these the library's tools; what a person made stays, tools of ours that are not among them go.

        Raises:
            NoLibrary: A tool's name is taken by something a person made, or the directory cannot be written.
        """
        self._refuse_clashes([candidate.spec.name for candidate, _ in admitted])
        self.directory.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=self.directory))
        try:
            for candidate, pattern in admitted:
                _write_tool(fresh / candidate.spec.name, candidate, pattern)
            for old in self.names() if (self.directory / "index.json").is_file() else ():
                shutil.rmtree(self.directory / old)
            for folder in sorted(fresh.iterdir()):
                folder.rename(self.directory / folder.name)
        finally:
            shutil.rmtree(fresh)
        self._write_index()

    def _refuse_clashes(self, names: list[str]) -> None:
        for name in names:
            folder = self.directory / name
            if folder.exists() and not _is_ours(folder):
                raise NoLibrary(
                    f"{folder} was not made by sea and is left alone; move it or choose another library"
                )

    def _write_index(self) -> None:
        names = sorted(
            path.parent.name for path in self.directory.glob("*/evidence.json") if _is_ours(path.parent)
        )
        index = {name: _summary(self.directory / name) for name in names}
        _write(self.directory / "index.json", _json({"tools": index}))
        lines = [f"from .{name}.tool import {name}" for name in names]
        listed = "".join(f'    "{name}",\n' for name in names)
        text = (
            '"""Validated tools; made by `sea evolve`."""\n\n'
            + "\n".join(lines)
            + f"\n\n__all__ = [\n{listed}]\n"
        )
        _write(self.directory / "__init__.py", text)


def _is_ours(folder: Path) -> bool:
    try:
        return bool(json.loads((folder / "evidence.json").read_text())["made_by"] == _MARK)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _summary(folder: Path) -> dict[str, Any]:
    spec = json.loads((folder / "spec.json").read_text())
    evidence = json.loads((folder / "evidence.json").read_text())
    signature = ast.parse((folder / "tool.py").read_text()).body[-1]
    assert isinstance(signature, ast.FunctionDef)
    returns = f" -> {ast.unparse(signature.returns)}" if signature.returns is not None else ""
    return {
        "description": spec["description"],
        "signature": f"{signature.name}({ast.unparse(signature.args)}){returns}",
        "support": evidence["support"],
        "tokens_saved": evidence["tokens_saved"],
    }


def _write_tool(folder: Path, candidate: Candidate, pattern: Pattern) -> None:
    folder.mkdir()
    spec = candidate.spec
    traces = sorted({occurrence.source.trace.id for occurrence in pattern.occurrences})
    evidence = {
        "made_by": _MARK,
        "name": spec.name,
        "pattern_id": pattern.id,
        "kind": pattern.kind,
        "support": pattern.support,
        "tasks": sorted({occurrence.source.task for occurrence in pattern.occurrences}),
        "trace_ids": traces,
        "tokens_saved": pattern.saving,
        "pattern": stored(pattern),
        "held_out_tasks": sorted({task for task, _, _ in candidate.held_out}),
        "gates": [verdict.as_dict() for verdict in candidate.verdicts],
    }
    (folder / "tool.py").write_text(tool_code(spec))
    (folder / "test_tool.py").write_text(test_code(spec))
    (folder / "spec.json").write_text(_json({**spec.as_dict(), "deterministic_validated": True}))
    (folder / "evidence.json").write_text(_json(evidence))


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.rename(path)
