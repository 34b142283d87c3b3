"""Real programs with recorded outputs: a sandbox each and one shared sandbox, beside an unsandboxed subprocess each.

Programs are other people's. An unsandboxed interpreter gets only such as by their syntax do arithmetic: imports of a
short list, no file, no evaluation, no names of the interpreter's inside.
"""

import ast
import gzip
import json
import random
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from measure import progress, serving, timed
from outcome import Outcome, Terms, times_faster
from wire import Raw

from rows.running import make_environment

PACKAGES = ("numpy", "sympy")
CORPORA = ("tora_gsm8k", "trove_math")
CLIENTS = 2
"""Programs at a time, for all three ways."""
SAMPLE = 100
"""Programs of each corpus when not all are asked for."""
FULL = 1250
_SEED = 20260101
_LIMIT_S = 30
_MODULES = {
    *("math", "cmath", "itertools", "functools", "collections", "datetime", "decimal", "fractions"),
    *("statistics", "string", "re", *PACKAGES),
}
_NAMES = {
    *("open", "exec", "eval", "compile", "input", "breakpoint", "getattr", "setattr", "globals"),
    *("locals", "vars", "sympify"),
}
_WAYS = ("subprocess each", "a sandbox each", "one shared sandbox")


@dataclass(frozen=True)
class Program:
    """One program and what it printed when it was recorded."""

    name: str
    text: str
    output: str


@dataclass(frozen=True)
class Part:
    """Some programs to be run one way."""

    name: str
    run: Callable[[Raw, str], str]
    programs: list[Program]
    outputs: dict[str, str]

    def take(self, raw: Raw, program: Program) -> None:
        """Run one and keep its output."""
        self.outputs[program.text] = self.run(raw, program.text).strip()


def harmless(text: str) -> bool:
    """Whether a program does nothing but compute and print, as far as its syntax shows."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return False
    return all(map(_is_harmless, ast.walk(tree)))


def _is_harmless(node: ast.AST) -> bool:
    if isinstance(node, ast.Import):
        return all(alias.name.split(".")[0] in _MODULES for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        return node.level == 0 and str(node.module).split(".")[0] in _MODULES
    name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
    return name not in _NAMES and not name.startswith("__")


def programs(terms: Terms, corpus: str) -> list[Program]:
    """Different programs of a corpus that replay as recorded, in an order of chance that is the same every time.

    Raises:
        FileNotFoundError: The corpus is not there.
    """
    found: dict[str, Program] = {}
    with gzip.open(terms.data / corpus / f"{corpus}.jsonl.gz", "rt") as lines:
        for line in lines:
            row = json.loads(line)
            text = "\n".join([*row.get("imports", ()), *_sources(row.get("tools", ())), row["code"]])
            if row["replay"]["matches_recorded"] and harmless(text):
                found.setdefault(text, Program(row["id"], text, row["recorded_output"].strip()))
    chosen = list(found.values())
    random.Random(_SEED).shuffle(chosen)
    return chosen[: FULL if terms.full else terms.rounds(SAMPLE)]


def _sources(tools: Sequence[object]) -> list[str]:
    return [one if isinstance(one, str) else str(dict(one)["function"]) for one in tools]  # type: ignore[call-overload]


def replay(terms: Terms) -> Outcome:
    """All three ways over the same programs; the ways take turns, a part of the programs at a time."""
    found = Outcome(f"a pool of 4 with the layer's zygote, connections open; {CLIENTS} programs at a time")
    if missing := [name for name in CORPORA if not (terms.data / name).is_dir()]:
        found.left_out = [f"{name}: its programs are not on this machine" for name in missing]
    with (
        tempfile.TemporaryDirectory(prefix="tidepool-bench-") as name,
        serving(4) as server,
        ExitStack() as stack,
    ):
        place = Path(name)
        raws = [stack.enter_context(Raw(server.config)) for _ in range(CLIENTS)]
        python = make_environment(place / "venv", PACKAGES)
        raws[0].delete(raws[0].create(*PACKAGES))
        subprocess.run([python, "-c", f"import {', '.join(PACKAGES)}"], check=True)  # compiles its files
        time.sleep(2)
        for corpus in [name for name in CORPORA if name not in missing]:
            _corpus(found, corpus, programs(terms, corpus), raws, python)
    return found


def _corpus(found: Outcome, corpus: str, chosen: list[Program], raws: list[Raw], python: str) -> None:
    shared = raws[0].create(*PACKAGES)
    outputs: dict[str, dict[str, str]] = {way: {} for way in _WAYS}

    def plain(_: Raw, text: str) -> str:
        command = [python, "-c", text]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_LIMIT_S, stdin=subprocess.DEVNULL
        )
        return done.stdout

    def own(raw: Raw, text: str) -> str:
        box = raw.create(*PACKAGES)
        try:
            return raw.line(box, text)
        finally:
            raw.delete(box)

    runs: dict[str, Callable[[Raw, str], str]] = dict(
        zip(_WAYS, (plain, own, lambda raw, text: raw.line(shared, text)), strict=True)
    )
    took = dict.fromkeys(_WAYS, 0.0)
    for start in range(0, len(chosen), 50):
        for way, run in runs.items():
            part = Part(f"{corpus}: {way}", run, chosen[start : start + 50], outputs[way])
            took[way] += timed(lambda: _all(found, part, raws))  # noqa: B023
        progress(f"{corpus} {start}/{len(chosen)}")
    raws[0].delete(shared)
    _compare(found, corpus, chosen, outputs)
    found.facts |= {
        f"{corpus}: {way}, programs a second": round(1000 * len(chosen) / took[way], 1) for way in _WAYS
    }
    for way, target in zip(_WAYS[1:], (1.2, 5), strict=True):
        found.checks.append(times_faster(f"{corpus}: {way}", took[_WAYS[0]] / took[way], target))


def _all(found: Outcome, part: Part, raws: list[Raw]) -> None:
    """A part of the programs one way, shared among the connections as they come free."""
    waiting, lock = iter(part.programs), threading.Lock()

    def worker(raw: Raw) -> None:
        while True:
            with lock:
                program = next(waiting, None)
            if program is None:
                return
            begin = time.perf_counter()
            if found.attempt(lambda: part.take(raw, program)):  # noqa: B023
                found.note(part.name, (time.perf_counter() - begin) * 1000)

    with ThreadPoolExecutor(len(raws)) as pool:
        list(pool.map(worker, raws))


def _compare(found: Outcome, corpus: str, chosen: list[Program], outputs: dict[str, dict[str, str]]) -> None:
    """What a sandbox printed must be what the unsandboxed interpreter printed."""
    plain = outputs[_WAYS[0]]
    for way in _WAYS[1:]:
        for program in chosen:
            if outputs[way].get(program.text) != plain.get(program.text):
                found.fail(f"{corpus} {program.name}: {way} printed something else than the subprocess")
    recorded = sum(plain.get(program.text) == program.output for program in chosen)
    found.facts |= {
        f"{corpus}: programs": len(chosen),
        f"{corpus}: subprocess printed what is recorded": recorded,
    }
