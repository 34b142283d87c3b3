"""Runs inside a sandbox: functions on lists of arguments, each program in forked children, one line of JSON a program.

Usage: python3 -m sea.gates.worker JOB.json RESULTS.jsonl. No expected value ever comes in here: outcomes go out encoded
by exact type and are judged elsewhere. A child that ends, hangs or eats memory costs its own call, nothing else.
"""

import hashlib
import importlib
import json
import os
import resource
import select
import signal
import sys
import time
from typing import Any

from sea.codec import NotPlain, decode, encode

_WALL_TIMES = 4
_WALL_EXTRA_S = 2.0
_DIGITS = 12
_COARSE_DIGITS = 9
_NOTHING = 1e-9
_PAGE_MIB = 1 << 20


def limit_memory(mib: int) -> None:
    """At most so much more address space than now; no new processes, no files written."""
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[0])
    most = pages * resource.getpagesize() + mib * _PAGE_MIB
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def outcome(function: Any, data: Any) -> Any:
    """What one call does: a value, an exception's name, or a value that has no encoding; and changed arguments."""
    arguments = decode(data)
    try:
        result = function(*arguments)
    except Exception as error:
        return ["raised", type(error).__name__]
    try:
        found = ["value", encode(result)]
    except NotPlain as error:
        return ["odd", str(error)]
    try:
        after = encode(arguments)
    except NotPlain:
        return [*found, None]
    return found if after == data else [*found, after]


def digest(data: Any, coarse: bool = False) -> str:
    """Sixteen digits for an outcome; floats count to twelve significant digits.

    Coarse, they count to nine, and to nothing below a billionth: sums in another order are the same sums.
    """
    return hashlib.sha256(json.dumps(_rounded(data, coarse)).encode()).hexdigest()[:16]


def _rounded(data: Any, coarse: bool) -> Any:
    if type(data) is float:
        small = coarse and abs(data) < _NOTHING
        return "0." if small else f"{data:.{_COARSE_DIGITS if coarse else _DIGITS}g}."
    if type(data) is list:
        return [_rounded(item, coarse) for item in data]
    if type(data) is dict:
        return {key: _rounded(item, coarse) for key, item in data.items()}
    return data


def child(program: dict[str, Any], job: dict[str, Any], start: int, write: int) -> None:
    """Import the program and make its calls from `start` on, a line each; never returns."""
    os.setpgid(0, 0)
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    limit_memory(job["memory_mib"])
    signal.setitimer(signal.ITIMER_PROF, max(job["limit_s"], 2.0))
    scope: dict[str, Any] = {"__name__": "tool"}
    try:
        exec(compile(program["code"], "<tool>", "exec"), scope)  # noqa: S102 -- inside a sandbox
        function = scope[program["name"]]
    except BaseException as error:
        os.write(write, json.dumps(["import", f"{type(error).__name__}: {error}"[:300]]).encode() + b"\n")
        os._exit(0)
    sys.setrecursionlimit(1000)
    os.write(write, b"[]\n")
    for number, data in enumerate(job["calls"][start:], start):
        limit_s = job["limit_s"] if number < job["must"] else min(job["limit_s"], job["rest_s"])
        signal.setitimer(signal.ITIMER_PROF, limit_s)
        found = outcome(function, data)
        if job["coarse"] and found[0] == "raised":
            found = ["raised"]
        line = digest(found, job["coarse"]) if job["digest"] else found
        signal.setitimer(signal.ITIMER_PROF, 0)
        put(write, json.dumps(line).encode() + b"\n")
    os._exit(0)


def put(write: int, data: bytes) -> None:
    """All of it."""
    while data:
        data = data[os.write(write, data) :]


def run(program: dict[str, Any], job: dict[str, Any]) -> dict[str, Any]:
    """One program on all calls, going on in a new child after a call that killed one."""
    outcomes: list[Any] = []
    most, cpu, failures = 0, 0.0, 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    end = time.monotonic() + job["program_s"]
    while True:
        lines, status, used = in_child(program, job, len(outcomes), end)
        most, cpu = max(most, used.ru_maxrss - before), cpu + used.ru_utime + used.ru_stime
        if not lines or lines[0][:1] != b"[" or lines[0] != b"[]":
            error = lines[0].decode("utf-8", "replace") if lines else how(status)
            return {"error": error, "outcomes": outcomes, "cpu_s": cpu, "peak_kib": most}
        outcomes += [line.decode("utf-8", "replace") for line in lines[1:]]
        failures += 1
        if len(outcomes) < len(job["calls"]):
            outcomes.append(json.dumps(["ended", how(status)]))
        spent = failures > job["failures"] or len(outcomes) <= job["must"] or time.monotonic() > end
        if spent or len(outcomes) == len(job["calls"]):
            return {"error": "", "outcomes": outcomes, "cpu_s": cpu, "peak_kib": most}


def how(status: int) -> str:
    """How a child that gave no answer ended."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return "took too long" if number in (signal.SIGPROF, signal.SIGKILL) else f"died of signal {number}"
    return f"ended the process with exit code {os.waitstatus_to_exitcode(status)}"


def in_child(
    program: dict[str, Any], job: dict[str, Any], start: int, end: float
) -> tuple[list[bytes], int, Any]:
    """Whole lines of one child, its wait status and what it used."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        try:
            child(program, job, start, write)
        finally:
            os._exit(70)
    os.close(write)
    data = collect(read, job["limit_s"] * _WALL_TIMES + _WALL_EXTRA_S, end, job["bytes"])
    os.close(read)
    for target in (-pid, pid):
        try:
            os.kill(target, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue
    _, status, used = os.wait4(pid, 0)
    return data.split(b"\n")[:-1][: len(job["calls"]) - start + 1], status, used


def collect(read: int, patience_s: float, end: float, most: int) -> bytes:
    """Everything from a pipe until it ends, says nothing for `patience_s`, has said too much, or `end` has come."""
    data = bytearray()
    deadline = min(end, time.monotonic() + patience_s)
    while select.select([read], [], [], max(0.0, deadline - time.monotonic()))[0] and len(data) < most:
        piece = os.read(read, 1 << 16)
        if not piece:
            break
        if b"\n" in piece:
            deadline = min(end, time.monotonic() + patience_s)
        data += piece
    return bytes(data)


def main() -> None:
    """Every program of the job, in order."""
    with open(sys.argv[1]) as file:
        job = json.load(file)
    for name in job["preload"]:
        importlib.import_module(name)
    with open(sys.argv[2], "w") as results:
        for program in job["programs"]:
            results.write(json.dumps(run(program, job)) + "\n")
            results.flush()


if __name__ == "__main__":
    main()
