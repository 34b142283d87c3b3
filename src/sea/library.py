"""The shelf: one folder per tool, plain Python, an index, and what became of each tool.

DIR/NAME/{tool.py,test_tool.py,spec.json,evidence.json}, DIR/index.json, DIR/__init__.py, DIR/ledger.json, old versions
in DIR/archive. A folder without an evidence.json of ours was made by a person, a file whose hash is not the one in the
ledger was edited by one; neither is ever touched. The same tools give the same bytes.
"""

import ast
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sea import ledger
from sea.generate import test_code, tool_code
from sea.ledger import Change, Files, Uses
from sea.normalise import cost
from sea.patterns import Pattern
from sea.stored import stored
from sea.verify import Candidate

_MARK = "tidepool sea 1"
"""In evidence.json: the folder is ours."""
_PARTS = ("tool.py", "test_tool.py", "spec.json", "evidence.json")
_MADE = ("index.json", "__init__.py")


class NoLibrary(Exception):
    """A directory is not a library, or cannot take a change; the message says what to do."""


class Library:
    """Tools in a directory.

    Args:
        directory: Where they are.
        dry_run: Changes are said, not made.
        say: Takes a line for each file that a change writes or removes; by default nobody listens.
    """

    def __init__(
        self, directory: Path, dry_run: bool = False, say: Callable[[str], None] = lambda _: None
    ) -> None:
        self.directory = directory
        self._dry_run = dry_run
        self._say = say
        self._read: tuple[tuple[int, int], dict[str, Any]] = ((0, 0), {})

    def names(self) -> list[str]:
        """Tools of ours that are not archived, sorted.

        Raises:
            NoLibrary: There is no library in this directory.
        """
        if not (self.directory / "index.json").is_file():
            raise NoLibrary(
                f"{self.directory}: no library here; `sea evolve FILE --library {self.directory}` makes one"
            )
        return self._ours()

    def _records(self) -> dict[str, Any]:
        """The ledger, read again only when it is another file than before; each change makes it one."""
        path = self.directory / ledger.LEDGER
        if not path.is_file():
            return {}
        found = path.stat()
        key = (found.st_ino, found.st_mtime_ns)
        if key != self._read[0]:
            self._read = (key, ledger.load(self.directory))
        return dict(self._read[1])

    def _ours(self) -> list[str]:
        found = self.directory.glob("*/evidence.json")
        return sorted(path.parent.name for path in found if _is_ours(path.parent))

    def active(self) -> list[str]:
        """Tools that are offered and put into programs.

        Raises:
            NoLibrary: There is no library in this directory.
        """
        known = self.states()
        return [name for name in self.names() if known[name] == "active"]

    def states(self) -> dict[str, str]:
        """Every tool's state, archived ones included: candidate, active, deprecated or archived."""
        known = {name: str(record["state"]) for name, record in self._records().items()}
        return dict(sorted(({name: "active" for name in self._ours()} | known).items()))

    def record(self, name: str) -> dict[str, Any]:
        """A tool's version, the versions before it, its state, cost and files; made up for a library without ledger.

        Raises:
            NoLibrary: There is no tool of this name.
        """
        found: dict[str, Any] | None = self._records().get(name)
        if found is not None:
            return found
        self.source(name)
        return _record({}, self._files(name), 0)

    def evidence(self, name: str) -> dict[str, Any]:
        """What a tool was admitted on.

        Raises:
            NoLibrary: There is no tool of this name.
        """
        path = self.directory / name / "evidence.json"
        if not (self.directory / "index.json").is_file() or not _is_ours(path.parent):
            raise NoLibrary(
                f"{self.directory}: no tool {name!r}; there are: {', '.join(self.names()) or 'none'}"
            )
        found: dict[str, Any] = json.loads(path.read_text())
        return found

    def source(self, name: str) -> str:
        """A tool's text.

        Raises:
            NoLibrary: There is no tool of this name, or its file is gone.
        """
        self.evidence(name)
        path = self.directory / name / "tool.py"
        text = ledger.read(path)
        if text is None:
            raise NoLibrary(f"{path} is gone; put it back, or remove the folder to be rid of the tool")
        return text

    def is_edited(self, name: str) -> bool:
        """Whether a person changed or removed a file of a tool of ours."""
        record = self._records().get(name)
        if record is None or record["state"] == "archived":
            return False
        texts = self._files(name)
        return bool({part: ledger.digest(text) for part, text in texts.items()} != record["files"])

    def _files(self, name: str) -> dict[str, str]:
        texts = {part: ledger.read(self.directory / name / part) for part in _PARTS}
        return {part: text for part, text in texts.items() if text is not None}

    def replace_all(self, admitted: list[tuple[Candidate, Pattern]]) -> None:
        """Make these the library's active tools; tools of ours that are not among them are archived.

        What a person made or edited stays as it is; a state that `mark` or `retire` gave stays while the code is the
        same.

        Raises:
            NoLibrary: A name is taken by something a person made, or the index was edited.
        """
        fresh = {candidate.spec.name: _tool_files(candidate, pattern) for candidate, pattern in admitted}
        self._refuse_clashes(list(fresh))
        records, files = self._records(), dict[str, str | None]()
        kept = {name for name in self._ours() if self.is_edited(name)}
        for name in sorted(kept):
            self._say(f"{name} was edited and is left as it is")
        for name in self._ours():
            if name not in kept and self._files(name).get("tool.py") != fresh.get(name, {}).get("tool.py"):
                records[name] = {
                    **(records.get(name) or self.record(name)),
                    "state": "archived",
                    "by": "evolve",
                }
                files |= self._moved(name, records[name])
        for name in fresh.keys() - kept:
            record = _record(records.get(name, {}), fresh[name], self._noted())
            if record["state"] != "archived":
                files |= {f"{name}/{part}": text for part, text in fresh[name].items()}
            records[name] = record
        self._commit(f"evolve: {len(fresh)} tools", records, files)

    def _moved(self, name: str, record: dict[str, Any]) -> Files:
        """A tool's files out of its folder into the archive."""
        place = f"archive/{name}/{str(record['version'])[:12]}"
        texts = self._files(name)
        away: Files = {f"{name}/{part}": None for part in texts}
        return {**away, **{f"{place}/{part}": text for part, text in texts.items()}}

    def mark(self, name: str, state: str) -> None:
        """Give a tool another state; archiving moves it into the archive, any other state takes it out again.

        Raises:
            NoLibrary: There is no such tool or state, or a person edited it.
        """
        self._mark({name: state}, f"mark {name} {state}")

    def _mark(self, states: dict[str, str], what: str) -> None:
        records, files = self._records(), dict[str, str | None]()
        for name, state in states.items():
            if state not in ledger.STATES:
                raise NoLibrary(f"no state {state!r}; there are: {', '.join(ledger.STATES)}")
            if name not in records and name not in self.names():
                raise NoLibrary(
                    f"{self.directory}: no tool {name!r}; there are: {', '.join(self.names()) or 'none'}"
                )
            if self.is_edited(name):
                raise NoLibrary(
                    f"{self.directory / name} was edited and is left alone; move it to change its state"
                )
            record = records.get(name) or self.record(name)
            if state == "archived" != record["state"]:
                files |= self._moved(name, record)
            elif record["state"] == "archived" != state:
                files |= self._taken_out(name, record)
            records[name] = {**record, "state": state, "by": "mark"}
        self._commit(what, records, files)

    def _taken_out(self, name: str, record: dict[str, Any]) -> Files:
        self._refuse_clashes([name])
        place = f"archive/{name}/{str(record['version'])[:12]}"
        files: Files = {}
        for part, known in record["files"].items():
            text = ledger.read(self.directory / place / part)
            if text is None or ledger.digest(text) != known:
                raise NoLibrary(
                    f"{self.directory / place / part} is gone or was edited; {name} cannot be restored"
                )
            files |= {f"{name}/{part}": text, f"{place}/{part}": None}
        return files

    def note_use(self, name: str, saved_tokens: int) -> None:
        """Note one real call of a tool and the tokens it saved (negative when it cost more).

        Raises:
            NoLibrary: There is no tool of this name.
        """
        ledger.note(self.directory, name, str(self.record(name)["version"]), saved_tokens)

    def uses(self) -> dict[str, Uses]:
        """Calls noted so far, by tool."""
        return ledger.uses(self.directory)

    def _noted(self) -> int:
        return len((ledger.read(self.directory / ledger.USES) or "").splitlines())

    def retire(self, after: int = 100) -> dict[str, str]:
        """Deprecate, then archive, what does not save its own cost; tools a person edited are left out.

        Args:
            after: Calls of any tool that must have been noted since a tool came before it is judged.

        Returns:
            The new state of each tool that changed.
        """
        changed: dict[str, str] = {}
        since: dict[int, dict[str, Uses]] = {}
        noted = self._noted()
        for name in self.names():
            record = self.record(name)
            if record["since"] not in since:
                since[record["since"]] = ledger.uses(self.directory, record["since"])
            used, opportunities = since[record["since"]].get(name, Uses()), noted - record["since"]
            state = ledger.next_state(record["state"], opportunities, used, record["cost"], after)
            if state != record["state"] and not self.is_edited(name):
                changed[name] = state
        if changed:
            self._mark(changed, f"retire: {', '.join(f'{name} {state}' for name, state in changed.items())}")
        return changed

    def undo(self) -> str:
        """Take the last change back; says what it was.

        Raises:
            NoLibrary: There is nothing to undo, or a person edited a file since.
        """
        try:
            change = ledger.last(self.directory)
            for line in change.lines(self.directory):
                self._say(line)
            if not self._dry_run:
                ledger.undo(self.directory)
        except ledger.CannotUndo as error:
            raise NoLibrary(str(error)) from None
        return change.what

    def _refuse_clashes(self, names: list[str]) -> None:
        for name in names:
            if self.is_foreign(name):
                raise NoLibrary(
                    f"{self.directory / name} was not made by sea and is left alone; move it or choose another library"
                )

    def is_foreign(self, name: str) -> bool:
        """Whether something of this name is in the directory that a person made."""
        folder = self.directory / name
        return folder.exists() and not _is_ours(folder) and not _is_left_over(folder)

    def _commit(self, what: str, records: dict[str, Any], files: Files) -> None:
        self._refuse_edited_index()
        listed: dict[str, dict[str, str]] = {}
        for name in sorted({*self._ours(), *records}):
            texts = {part: files.get(f"{name}/{part}", text) for part, text in self._parts(name).items()}
            whole = {part: text for part, text in texts.items() if text is not None}
            if {"tool.py", "spec.json", "evidence.json"} <= whole.keys():
                listed[name] = whole
        states = {name: records.get(name, {}).get("state", "active") for name in listed}
        index = {name: {**_summary(texts), "state": states[name]} for name, texts in listed.items()}
        made = {
            "index.json": _json({"tools": index}),
            "__init__.py": _package([name for name in listed if states[name] in ("active", "deprecated")]),
        }
        hashes = {name: ledger.digest(text) for name, text in made.items()}
        whole_ledger = _json({"tools": records, "made": hashes})
        change = Change(what, {**files, **made, ledger.LEDGER: whole_ledger})
        for line in change.lines(self.directory):
            self._say(line)
        if not self._dry_run:
            self.directory.mkdir(parents=True, exist_ok=True)
            ledger.apply(self.directory, change)

    def _parts(self, name: str) -> dict[str, str | None]:
        return {part: ledger.read(self.directory / name / part) for part in _PARTS}

    def _refuse_edited_index(self) -> None:
        known = json.loads(ledger.read(self.directory / ledger.LEDGER) or "{}").get("made")
        is_ours = known is not None or (self.directory / "index.json").is_file()
        for name in _MADE:
            text = ledger.read(self.directory / name)
            if text is not None and (not is_ours or (known and ledger.digest(text) != known[name])):
                raise NoLibrary(
                    f"{self.directory / name} was written or edited by a person and is left alone; move it away"
                )


def _is_ours(folder: Path) -> bool:
    try:
        found: dict[str, Any] = json.loads((folder / "evidence.json").read_text())
        return bool(found["made_by"] == _MARK)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _is_left_over(folder: Path) -> bool:
    """Whether nothing but compiled files is left of a tool that went."""
    return folder.is_dir() and all(entry.name == "__pycache__" for entry in folder.iterdir())


def _record(before: dict[str, Any], texts: dict[str, str], since: int) -> dict[str, Any]:
    """What the ledger keeps of a tool; a version is the hash of its code, and follows the one before it."""
    version, evidence = ledger.digest(texts["tool.py"]), json.loads(texts["evidence.json"])
    versions, last = list(before.get("versions", [])), before.get("version")
    if version != last:
        origin = {"pattern_id": evidence["pattern_id"], "trace_ids": evidence["trace_ids"]}
        versions.append({"version": version, "parent": last, **origin})
    decided = version == last and before["by"] == "mark"
    return {
        "state": before["state"] if decided else "active",
        "by": "mark" if decided else "evolve",
        "version": version,
        "versions": versions,
        "files": {part: ledger.digest(text) for part, text in sorted(texts.items())},
        "cost": cost(texts["tool.py"]),
        "since": before["since"] if version == last else since,
    }


def _package(names: list[str]) -> str:
    lines = [f"from .{name}.tool import {name}" for name in names]
    listed = "".join(f'    "{name}",\n' for name in names)
    head = '"""Validated tools; made by `sea evolve`."""\n\n'
    return head + "\n".join(lines) + f"\n\n__all__ = [\n{listed}]\n"


def function_of(source: str) -> ast.FunctionDef:
    """The function of a tool's text."""
    found = ast.parse(source).body[-1]
    assert isinstance(found, ast.FunctionDef)
    return found


def _summary(texts: dict[str, str]) -> dict[str, Any]:
    spec, evidence = json.loads(texts["spec.json"]), json.loads(texts["evidence.json"])
    signature = function_of(texts["tool.py"])
    returns = f" -> {ast.unparse(signature.returns)}" if signature.returns is not None else ""
    return {
        "description": spec["description"],
        "signature": f"{signature.name}({ast.unparse(signature.args)}){returns}",
        "support": evidence["support"],
        "tokens_saved": evidence["tokens_saved"],
    }


def _tool_files(candidate: Candidate, pattern: Pattern) -> dict[str, str]:
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
        **({"proposed": list(candidate.proposed)} if candidate.proposed else {}),
    }
    return {
        "tool.py": tool_code(spec),
        "test_tool.py": test_code(spec),
        "spec.json": _json({**spec.as_dict(), "deterministic_validated": True}),
        "evidence.json": _json(evidence),
    }


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
