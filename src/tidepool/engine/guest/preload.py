"""Filling an interpreter with what programs import most, before sandboxes are forked from it.

What is preloaded is shared memory, and costs each fork copies of page tables. Measured with Python 3.12 on the
reference machine (nested VM, 2 cores): anonymous memory; p50 of fork, exit and wait; time of an import when fresh.

| preloaded, added up                           | memory   | fork   | a program no longer pays                  |
|-----------------------------------------------|----------|--------|-------------------------------------------|
| nothing                                       | 3.0 MiB  | 0.5 ms |                                           |
| json to threading (25 names)                  | 9.3 MiB  | 1.2 ms | dataclasses 24, subprocess 16, json 11 ms |
| the rest without unittest and asyncio         | 11.4 MiB | 1.6 ms | logging 19, argparse 10, zoneinfo 10 ms   |
| unittest                                      | 12.2 MiB | 1.6 ms | 36 ms                                     |
| asyncio (now all of `STANDARD`)               | 14.5 MiB | 1.9 ms | 68 ms                                     |

Left out: multiprocessing (its state is one process's); urllib.request and http (2 MiB; few sandboxes have a network).
"""

import gc
import os
import time
from typing import Any

from tidepool.engine.guest import imports, tests, warm

STANDARD = (
    "json", "re", "collections", "datetime", "math", "decimal", "fractions", "statistics", "itertools", "functools",
    "dataclasses", "typing", "pathlib", "random", "string", "textwrap", "csv", "io", "subprocess", "tempfile", "shutil",
    "hashlib", "base64", "uuid", "threading",
    "abc", "argparse", "asyncio", "bisect", "calendar", "concurrent.futures.thread", "contextlib", "copy", "enum",
    "glob", "heapq", "inspect", "logging", "operator", "pickle", "pprint", "queue", "secrets", "sqlite3", "time",
    "traceback", "unittest", "xml.etree.ElementTree", "zoneinfo",
)  # fmt: skip


def preload(modules: list[str], pytest: bool) -> dict[str, Any]:
    """Import the standard set and `modules` (top-level names), run pytest once if asked; then take it all out of sight.

    Before: `imports.RECORD.begin` when the interpreter started, and variables that keep libraries from starting threads
    (OPENBLAS_NUM_THREADS=1 and its like). The answer: `loaded` (how many modules), `failed` (name to reason; such a
    module is left to the program), `refused` (why nothing may be forked; empty if all is well), `seconds`.
    """
    started = time.monotonic()
    failed: dict[str, str] = {}
    refused = (
        "" if imports.RECORD.fresh else "imports.RECORD.begin was not called when the interpreter started"
    )
    if not refused:
        failed = _load_all(modules, pytest)
        threads = len(os.listdir("/proc/self/task"))
        if threads > 1:
            refused = f"{threads - 1} thread(s) were started by imports; a fork would lose them"
        imports.RECORD.hide()
    if not refused:
        warm.settle()
    gc.collect()
    gc.freeze()
    seconds = round(time.monotonic() - started, 3)
    return {"loaded": len(imports.RECORD.hidden), "failed": failed, "refused": refused, "seconds": seconds}


def _load_all(modules: list[str], pytest: bool) -> dict[str, str]:
    imports.RECORD.hold_output()
    reasons = {name: _attempt(name) for name in (*STANDARD, *modules)}
    if pytest:
        reasons["pytest"] = _attempt_pytest()
    return {name: reason for name, reason in reasons.items() if reason}


def _attempt(name: str) -> str:
    """Why a module could not be imported; empty if it was."""
    imports.RECORD.conceal()
    try:
        __import__(name)
    except (Exception, SystemExit) as error:
        imports.RECORD.forget(name)
        return f"{type(error).__name__}: {error}"[:300]
    return ""


def _attempt_pytest() -> str:
    imports.RECORD.conceal()
    try:
        tests.preload()
    except (Exception, SystemExit) as error:
        return f"{type(error).__name__}: {error}"[:300]
    return ""
