"""Runs functions on arguments in sandboxes made for one run each, and brings back what they did, decoded.

The only way from the gates to a sandbox. Nothing that is expected goes in, nothing that comes out is trusted.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from daytona_sdk import FileUpload
from sea import codec
from sea.box import Box, Lost

CALL_S = 2.0
"""Processor time of one call."""
MEMORY_MIB = 512
"""Address space one program may add to the interpreter's."""
_MOST_BYTES = 40 << 20
_PARTS = ("codec.py", "gates/worker.py")
_RUN = "python3 -S -m sea.gates.worker job.json results.jsonl"
_RUN_WITH_PACKAGES = "python3 -m sea.gates.worker job.json results.jsonl"


@dataclass(frozen=True)
class Program:
    """A text and the function in it."""

    code: str
    name: str


@dataclass(frozen=True)
class Outcome:
    """What one call did."""

    kind: str
    """value, raised, odd (a value of no plain type), ended (hung or took the process along), missing (not made)."""
    value: Any = None
    error: str = ""
    """Exception's type name, or what happened instead of a value."""
    after: tuple[Any, ...] | None = None
    """The arguments afterwards, when the call changed them."""

    def __str__(self) -> str:
        if self.kind == "value":
            text = repr(self.value)
            return text if len(text) <= 80 else text[:77] + "..."
        return f"{self.kind} {self.error}" if self.kind == "raised" else self.error


@dataclass(frozen=True)
class Report:
    """What one program did with all calls."""

    error: str
    """Why it could not be imported; empty when it could."""
    outcomes: tuple[Outcome, ...]
    cpu_s: float
    peak_kib: int


@dataclass(frozen=True)
class Terms:
    """How programs are run."""

    call_s: float = CALL_S
    memory_mib: int = MEMORY_MIB
    failures: int = 3
    """Calls that may hang or kill their process; then the rest is not made."""
    must: int = 0
    """So many calls at the start must not do that at all: the first that does ends the program."""
    rest_s: float = CALL_S
    """Processor time of a call after these."""
    program_s: float = 30.0
    """Wall time of one program, all its calls together."""
    hash_seed: int = 1
    digest: bool = False
    """Outcomes come back as digests: enough to tell programs apart, floats by twelve digits."""
    coarse: bool = False
    """In digests, one exception is like another, and floats count to nine digits."""
    deadline_s: int = 120


class Lab:
    """Sandboxes for the gates."""

    def __init__(self, box: Box, dependencies: Sequence[str] = ()) -> None:
        self._box = box
        self.dependencies = tuple(dependencies)

    def run(
        self, programs: Sequence[Program], calls: Sequence[Any], terms: Terms | None = None
    ) -> list[Report]:
        """Every program on every call, each program in a process of its own, all in one new sandbox.

        Args:
            programs: What to run.
            calls: Encoded lists of arguments (`encoded`).
            terms: Limits; the defaults when None.

        Raises:
            NoSandbox: There was none; `Lost` when it did not come through.
        """
        terms = terms or Terms()
        job = {
            "programs": [{"code": program.code, "name": program.name} for program in programs],
            "calls": list(calls),
            "limit_s": terms.call_s,
            "memory_mib": terms.memory_mib,
            "failures": terms.failures,
            "must": terms.must,
            "rest_s": terms.rest_s,
            "program_s": terms.program_s,
            "digest": terms.digest,
            "coarse": terms.coarse,
            "bytes": _MOST_BYTES,
            "preload": list(self.dependencies),
        }
        files = [*_worker(), FileUpload(json.dumps(job).encode(), "job.json")]
        with self._box.sandbox(self.dependencies) as sandbox:
            sandbox.fs.upload_files(files)
            ended = sandbox.process.exec(
                _RUN_WITH_PACKAGES if self.dependencies else _RUN,
                env={"PYTHONHASHSEED": str(terms.hash_seed)},
                timeout=terms.deadline_s,
            )
            if ended.exit_code != 0:
                raise Lost(f"the worker ended with {ended.exit_code}: {ended.result[-300:]}")
            found = sandbox.fs.download_file("results.jsonl")
        lines = found.decode("utf-8", "replace").splitlines()
        if len(lines) != len(programs):
            raise Lost(f"{len(programs)} programs were sent, {len(lines)} reports came back")
        return [_report(line, len(calls), terms.digest) for line in lines]


@cache
def _worker() -> tuple[FileUpload, ...]:
    package = resources.files("sea")
    parts = [FileUpload(package.joinpath(part).read_bytes(), f"sea/{part}") for part in _PARTS]
    return (FileUpload(b"", "sea/__init__.py"), FileUpload(b"", "sea/gates/__init__.py"), *parts)


def encoded(calls: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Arguments as they are sent; calls that have no encoding are left out."""
    found = []
    for call in calls:
        try:
            found.append(codec.encode(list(call)))
        except codec.NotPlain:
            continue
    return found


def _report(line: str, wanted: int, digest: bool) -> Report:
    try:
        data = json.loads(line)
        error, cpu, peak = str(data["error"]), float(data["cpu_s"]), int(data["peak_kib"])
        texts = [str(text) for text in data["outcomes"]][:wanted]
    except (ValueError, KeyError, TypeError, RecursionError) as problem:
        return Report(f"a report that does not fit: {problem}", (), 0.0, 0)
    outcomes = [_digest(text) if digest else _outcome(text) for text in texts]
    outcomes += [Outcome("missing", error="not called")] * (wanted - len(outcomes))
    return Report(error, tuple(outcomes), cpu, peak)


def _digest(text: str) -> Outcome:
    return Outcome("ended", error=text[:200]) if text.startswith("[") else Outcome("value", text[:80])


def _outcome(text: str) -> Outcome:
    """One outcome, strictly: anything else than the four shapes is an odd one."""
    try:
        kind, *rest = json.loads(text)
        if kind == "value":
            after = codec.decode(rest[1]) if len(rest) > 1 and rest[1] is not None else None
            return Outcome("value", codec.decode(rest[0]), after=None if after is None else tuple(after))
        if kind in ("raised", "odd", "ended") and type(rest[0]) is str:
            return Outcome(kind, error=rest[0][:200])
    except (ValueError, TypeError, IndexError, RecursionError) as error:
        return Outcome("odd", error=f"an answer that does not fit: {error}"[:200])
    return Outcome("odd", error="an answer that does not fit")
