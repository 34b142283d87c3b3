"""Runs inside a sandbox: each program of a batch in a forked child, a JSON line of result each. Standard library only.

Usage: python3 -m sea.driver JOBS.jsonl RESULTS.jsonl [MODULE ...]

The modules are imported before the first fork: sympy alone takes a program longer than most of what it computes.
"""

import importlib
import io
import json
import os
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
    """Run a job in a fork and wait for its line until its deadline."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        try:
            line = json.dumps(run(job)).encode()
        except BaseException as problem:
            line = json.dumps(failed(f"{type(problem).__name__}: {problem}"[:500])).encode()
        with os.fdopen(write, "wb") as file:
            file.write(line)
        os._exit(0)
    os.close(write)
    data = collect(read, time.monotonic() + job["limit"])
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(read)
    try:
        json.loads(data)
    except ValueError:
        return json.dumps(failed("no result before its deadline"))
    return data.decode()


def collect(read: int, deadline: float) -> bytes:
    """Everything from a pipe until it ends or time is over."""
    data = bytearray()
    while (left := deadline - time.monotonic()) > 0 and select.select([read], [], [], left)[0]:
        piece = os.read(read, 1 << 16)
        if not piece:
            break
        data += piece
    return bytes(data)


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
