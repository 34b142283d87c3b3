"""Runs inside a sandbox: each program of a batch in a forked child, a JSON line of result each. Standard library only.

Usage: python3 -m sea.driver JOBS.jsonl RESULTS.jsonl [MODULE ...]

The modules are imported before the first fork: sympy alone takes a program longer than most of what it computes.
"""

import importlib
import io
import json
import os
import resource
import select
import signal
import sys
import time
from typing import Any

from sea.codec import NotPlain, encode

MAX_TEXT = 200_000
MAX_CALLS = 50
MAX_CALL = 20_000
"""Characters of one recorded call."""
LATE = "no result before its deadline"
"""The error of a program that was given too little time."""
CLOCK = 3
"""Times the limit of processor time that a program may take by the clock: other work must not decide what it gives."""


def encoded(value: Any) -> list[Any] | None:
    """The encoding of a value, alone in a list; None when it has none, a long one, or one that cannot be undone."""
    try:
        data = encode(value)
    except NotPlain:
        return None
    text = json.dumps(data)
    return [data] if len(text) <= MAX_CALL and '{"foreign": ' not in text else None


def recorder(name: str, tool: Any, calls: list[Any]) -> Any:
    """A tool that also notes what it was called with and what it gave."""

    def recorded(*arguments: Any) -> Any:
        given = encoded(list(arguments)) if len(calls) < MAX_CALLS else None
        result = tool(*arguments)
        found = encoded(result) if given is not None else None
        if given is not None and found is not None:
            calls.append([name, given[0], found[0]])
        return result

    return recorded


def run(job: dict[str, Any]) -> dict[str, Any]:
    """One program, in this (forked) process."""
    calls: list[Any] = []
    scope: dict[str, Any] = {"__name__": "__main__"}
    sys.stdout = captured = io.StringIO()
    answer, error, ok = None, "", True
    try:
        exec(compile(job["tools"], "<tools>", "exec"), scope)  # noqa: S102 -- inside a sandbox, which is the point
        for name in job["record"]:
            scope[name] = recorder(name, scope[name], calls)
        exec(compile(job["code"], "<program>", "exec"), scope)  # noqa: S102
        if job["result"] is not None:
            answer = repr(scope[job["result"]])
    except BaseException as problem:
        ok, error = False, f"{type(problem).__name__}: {problem}"[:500]
    text = captured.getvalue()
    return {"ok": ok, "output": text[:MAX_TEXT], "answer": answer, "calls": calls, "error": error}


def in_child(job: dict[str, Any]) -> str:
    """Run a job in a fork and wait for its line until its deadline, whole seconds of processor time."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        resource.setrlimit(resource.RLIMIT_CPU, (job["limit"], job["limit"]))
        try:
            line = json.dumps(run(job)).encode()
        except BaseException as problem:
            line = json.dumps(failed(f"{type(problem).__name__}: {problem}"[:500])).encode()
        with os.fdopen(write, "wb") as file:
            file.write(line)
        os._exit(0)
    os.close(write)
    data, is_late = collect(read, time.monotonic() + CLOCK * job["limit"])
    os.kill(pid, signal.SIGKILL)
    _, _, usage = os.wait4(pid, 0)
    os.close(read)
    try:
        json.loads(data)
    except ValueError:
        is_late |= usage.ru_utime + usage.ru_stime >= 0.9 * job["limit"]
        return json.dumps(failed(LATE if is_late else "its process ended without a result"))
    return data.decode()


def collect(read: int, deadline: float) -> tuple[bytes, bool]:
    """Everything from a pipe until it ends or time is over, and whether it was over."""
    data = bytearray()
    while (left := deadline - time.monotonic()) > 0 and select.select([read], [], [], left)[0]:
        piece = os.read(read, 1 << 16)
        if not piece:
            return bytes(data), False
        data += piece
    return bytes(data), True


def failed(error: str) -> dict[str, Any]:
    """The result of a program that gave none."""
    return {"ok": False, "output": "", "answer": None, "calls": [], "error": error}


def preload(names: list[str]) -> None:
    """Import modules for all programs; what cannot be imported is for the program that asks for it to see."""
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as problem:
            sys.stderr.write(f"{name}: {type(problem).__name__}: {problem}\n")


def main() -> None:
    """All jobs, in order."""
    preload(sys.argv[3:])
    with open(sys.argv[1]) as jobs, open(sys.argv[2], "w") as results:
        for line in jobs:
            results.write(in_child(json.loads(line)) + "\n")
            results.flush()


if __name__ == "__main__":
    main()
