"""How a run ended: always data, never an exception.

What is asked is in `spec`. A result carries exit code, verdict, duration, peak memory and what was truncated, always.
"""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """Why a run is over."""

    EXITED = "exited"
    """It ended by itself; `exit_code` is its own."""
    SIGNALED = "signaled"
    """A signal ended it; `exit_code` is 128 + signal number."""
    TIMED_OUT = "timed_out"
    """The deadline came; the whole tree was killed; `exit_code` is 124. Output so far is kept."""
    OUT_OF_MEMORY = "out_of_memory"
    """The sandbox's memory limit killed it; `exit_code` is 137."""
    NOT_STARTED = "not_started"
    """The program could not be started (no such file, not executable, no such directory); `exit_code` is 126 or 127."""
    LOST = "lost"
    """The sandbox itself died (it killed its own init, or was deleted); `exit_code` is 137."""


@dataclass(frozen=True)
class ExecResult:
    """How one command or program text ended."""

    exit_code: int
    verdict: Verdict
    stdout: bytes
    stderr: bytes
    output: bytes
    """Both streams in order of arrival."""
    truncated_bytes: int
    """Left out of `output` between head and tail; 0 when complete."""
    duration_s: float
    """From the start to the leader's end, seconds on the host's monotonic clock."""
    peak_memory_bytes: int
    """Largest resident set of the leader and the children it waited for, as the kernel counted."""
    basis: str = "exec"
    """`exec`: a fresh process image. `fork`: forked from the preloaded interpreter."""
    charts: bytes = b""
    """What a Python text showed with matplotlib, as its own process wrote it: to be decoded strictly."""

    @property
    def succeeded(self) -> bool:
        """Whether it ended by itself with exit code 0."""
        return self.verdict is Verdict.EXITED and self.exit_code == 0


@dataclass(frozen=True)
class TestCase:
    """One test as the runner reported it."""

    __test__ = False

    node_id: str
    outcome: str
    """passed, failed, error, skipped, xfailed or xpassed."""
    duration_s: float
    message: str = ""
    """First lines of the failure, at most 4 KiB."""


@dataclass(frozen=True)
class TestReport:
    """How one pytest run ended, by what the runner reported out of band and the exit code, never by its text."""

    __test__ = False

    result: ExecResult
    cases: tuple[TestCase, ...]
    complete: bool
    """Whether the runner's closing record arrived: False after a crash, `os._exit`, a timeout."""
    collection_errors: tuple[str, ...] = ()
    verdict_basis: str = "in_process"
    """The tests share their process with the code under test: honest against accidents, exits and forged text,
    not against an adversary who patches the runner."""

    def count(self, outcome: str) -> int:
        """How many cases ended with this outcome."""
        return sum(1 for case in self.cases if case.outcome == outcome)

    @property
    def success(self) -> bool:
        """Exit code 0, a complete report, at least one test passed, none failed, no collection error."""
        return self.reason == ""

    @property
    def reason(self) -> str:
        """One sentence why it is not a success; empty when it is."""
        if self.result.verdict is not Verdict.EXITED:
            return f"the run did not end by itself: {self.result.verdict.value}"
        if self.collection_errors:
            return f"{len(self.collection_errors)} test file(s) could not be collected"
        failed = self.count("failed") + self.count("error")
        if failed:
            return f"{failed} test(s) failed"
        if not self.complete:
            return f"the test process ended early with exit code {self.result.exit_code}; its report is incomplete"
        if not self.cases:
            return "no tests found"
        if self.result.exit_code != 0:
            return f"the test process ended with exit code {self.result.exit_code}"
        if not self.count("passed"):
            return "no test passed: all were skipped or expected to fail"
        return ""


@dataclass(frozen=True)
class Usage:
    """What a sandbox uses, as its control group counts; None where that is not counted on this host."""

    oom_kills: int = 0
    """Processes that its memory limit has killed."""
    memory_bytes: int | None = None
    cache_bytes: int | None = None
    """Page cache in `memory_bytes`; a sandbox's files are in it."""
    cpu_ns: int | None = None
    """Processor time of all its processes so far."""
