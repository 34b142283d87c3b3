"""Filling an interpreter with what programs import most, before it is forked.
"""

import gc
import os
import sys
import time
from typing import Any

from tidepool.engine.guest import imports, tests, warm

STANDARD = (
    "json re collections datetime math decimal fractions statistics itertools functools dataclasses typing pathlib "
    "random string textwrap csv io subprocess tempfile shutil hashlib base64 uuid threading"
).split()


def preload(modules: list[str], pytest: bool) -> dict[str, Any]:
    """Import the standard set and `modules` (top-level names), run pytest once if asked, and hide all of it.

    A module that cannot be imported is left out and named in the answer. The answer: `loaded` (how many), `failed`
    (name to reason), `refused` (why nothing may be forked, or empty), `seconds`.
    """
    started = time.monotonic()
    record = imports.RECORD
    refused = "" if record.fresh else "imports.begin was not called when the interpreter started"
    failed: dict[str, str] = {}
    if not refused:
        record.hold_output()
        for name in (*STANDARD, *modules):
            reason = _load(name)
            if reason:
                failed[name] = reason
        if pytest:
            tests.preload()
        threads = len(os.listdir("/proc/self/task"))
        if threads > 1:
            refused = f"{threads} threads are running after the imports"
        record.hide()
    if not refused:
        warm.settle()
    gc.collect()
    gc.freeze()
    seconds = round(time.monotonic() - started, 3)
    return {"loaded": len(record.hidden), "failed": failed, "refused": refused, "seconds": seconds}


def _load(name: str) -> str:
    try:
        __import__(name)
    except (Exception, SystemExit) as error:
        imports.RECORD.forget(name)
        return f"{type(error).__name__}: {error}"[:300]
    return ""
