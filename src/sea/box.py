"""The one door to sandboxes: runs recorded programs in batches and candidate tools one by one.

Nothing is executed anywhere else. What comes back is text and values as `sea.codec` writes them, strictly decoded. If
no sandbox can be made, `NoSandbox` is raised, and nothing counts as tested.
"""

import json
import math
import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from typing import Any

from daytona_sdk import CreateSandboxFromSnapshotParams, Daytona, DaytonaError, FileUpload, Sandbox
from sea import codec, driver

_BATCH, _LEAST = 400, 25
"""Programs of one sandbox, at most, and where there are more, at least."""
_PROGRAM_S = 5
"""Deadline of one program, in seconds of processor time; three times as many by the clock."""
_MEMORY = 2 << 30


class NoSandbox(Exception):
    """A sandbox could not be made or was lost: nothing that needed it may be called tested."""


class Lost(NoSandbox):
    """A sandbox was made and did not come through: what ran in it fails, other runs go on."""


@dataclass(frozen=True)
class Job:
    """One program to run."""

    code: str
    result_name: str | None = None
    """Variable whose value is the result; None when it is what the program prints."""
    tools: str = ""
    """Source text of tools in scope."""
    record: tuple[str, ...] = ()
    """Names of tools whose calls are to be recorded."""
    limit_s: int = _PROGRAM_S
    """Its deadline."""


@dataclass(frozen=True)
class Ran:
    """How one program ended."""

    ok: bool
    output: str = ""
    answer: str | None = None
    """repr of the result variable."""
    calls: tuple[tuple[str, tuple[Any, ...], Any], ...] = ()
    """(tool, arguments, result) for each recorded call whose values have an encoding."""
    error: str = ""


class Box:
    """Makes sandboxes through `daytona_sdk`; every one is deleted again."""

    def __init__(self, daytona: Daytona | None = None) -> None:
        self._daytona = daytona or Daytona()

    @contextmanager
    def sandbox(self, dependencies: Sequence[str] = ()) -> Iterator[Sandbox]:
        """A sandbox without network.

        Raises:
            NoSandbox: There is none to be had.
        """
        params = CreateSandboxFromSnapshotParams(
            dependencies=list(dependencies), network="none", memory_bytes=_MEMORY
        )
        try:
            sandbox = self._daytona.create(params, timeout=600)
        except DaytonaError as error:
            raise NoSandbox(f"no sandbox could be made, so nothing was run: {error}") from error
        try:
            yield sandbox
        except DaytonaError as error:
            raise Lost(f"the sandbox was lost: {error}") from error
        finally:
            sandbox.delete()

    def run_all(
        self,
        jobs: Sequence[Job],
        dependencies: Sequence[str] = (),
        progress: Callable[[int], None] | None = None,
    ) -> list[Ran]:
        """Run programs, each in a forked child of its own inside a sandbox; results in the order of the jobs.

        As many sandboxes run at a time as there are processors.

        Raises:
            NoSandbox: One could not be made, or was lost.
        """
        at_once = os.cpu_count() or 1
        size = min(_BATCH, max(_LEAST, math.ceil(len(jobs) / (4 * at_once))))
        batches = [jobs[start : start + size] for start in range(0, len(jobs), size)]
        results: list[Ran] = []
        pool = ThreadPoolExecutor(at_once)
        try:
            for ran in pool.map(lambda batch: self._run(batch, dependencies), batches):
                results += ran
                if progress is not None:
                    progress(len(results))
        finally:
            pool.shutdown(cancel_futures=True)
        return results

    def _run(self, batch: Sequence[Job], dependencies: Sequence[str]) -> list[Ran]:
        with self.sandbox(dependencies) as sandbox:
            return _run_batch(sandbox, batch, dependencies)


def _run_batch(sandbox: Sandbox, batch: Sequence[Job], modules: Sequence[str]) -> list[Ran]:
    package = resources.files("sea")
    parts = [
        FileUpload(package.joinpath(name).read_bytes(), f"sea/{name}") for name in ("codec.py", "driver.py")
    ]
    lines = [
        {
            "code": job.code,
            "result": job.result_name,
            "tools": job.tools,
            "record": job.record,
            "limit": job.limit_s,
        }
        for job in batch
    ]
    jobs = FileUpload("\n".join(map(json.dumps, lines)).encode(), "jobs.jsonl")
    sandbox.fs.upload_files([FileUpload(b"", "sea/__init__.py"), *parts, jobs])
    ended = sandbox.process.exec(
        shlex.join(["python3", "-m", "sea.driver", "jobs.jsonl", "results.jsonl", *modules]),
        timeout=driver.CLOCK * sum(job.limit_s for job in batch) + 30,
    )
    if ended.exit_code != 0:
        raise Lost(f"the driver ended with {ended.exit_code}: {ended.result[-300:]}")
    found = sandbox.fs.download_file("results.jsonl").decode("utf-8", "replace").splitlines()
    if len(found) != len(batch):
        raise Lost(f"{len(batch)} programs were sent, {len(found)} results came back")
    return [_read(line) for line in found]


def _read(line: str) -> Ran:
    """One result line; anything that does not fit is a failed run."""
    try:
        data = json.loads(line)
        calls = tuple(_call(*call) for call in data["calls"])
        answer = data["answer"]
        return Ran(
            bool(data["ok"]),
            str(data["output"]),
            None if answer is None else str(answer),
            calls,
            str(data["error"]),
        )
    except (ValueError, KeyError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        return Ran(False, error=f"the result does not fit: {error}")


def _call(name: Any, arguments: Any, result: Any) -> tuple[str, tuple[Any, ...], Any]:
    """One recorded call.

    Raises:
        ValueError: It is none.
    """
    given = codec.decode(arguments)
    if type(name) is not str or type(given) is not list:
        raise ValueError("a recorded call was expected")
    return name, tuple(given), codec.decode(result)
