"""Making sandboxes: from the pool, without one, and up to the first line of Python.

The peers run the same program on the same host, in turn with ours.
"""

import tempfile
import time
from pathlib import Path

from measure import progress, serving, timed
from outcome import Outcome, Terms, times_faster
from peers import Peers, line_program
from wire import Raw

from daytona_sdk import Daytona

_RATE = 20.0
_POOL = 4
_REFILL_S = 0.05


def hit(terms: Terms) -> Outcome:
    """Creates on a fixed beat, by the raw client and the SDK in turn, while the pool is refilled behind them."""
    found = Outcome(f"a pool of {_POOL}, refilled in the background; connections open; layer-less image")
    count = terms.rounds(250) * 2
    with serving(_POOL) as server, Raw(server.config) as raw, Daytona(server.config) as daytona:
        time.sleep(1)
        for _ in range(4):
            raw.delete(raw.create())
            daytona.create().delete()
        begin = time.perf_counter()
        for number in range(count):
            time.sleep(max(0.0, begin + number / _RATE - time.perf_counter()))
            found.attempt(lambda: _one_raw(found, raw) if number % 2 else _one_sdk(found, daytona))  # noqa: B023
            progress(f"{number + 1}/{count}")
        found.facts["creates a second"] = round(count / (time.perf_counter() - begin), 2)
    found.limits("raw client", 1.5, 8)
    found.limits("daytona_sdk", 2.5, 12)
    return found


def _one_raw(found: Outcome, raw: Raw) -> None:
    made: list[str] = []
    found.note("raw client", timed(lambda: made.append(raw.create())))
    raw.delete(made[0])


def _one_sdk(found: Outcome, daytona: Daytona) -> None:
    begin = time.perf_counter()
    sandbox = daytona.create()
    found.note("daytona_sdk", (time.perf_counter() - begin) * 1000)
    sandbox.delete()


def cold(terms: Terms) -> Outcome:
    """Creates with no pool, beside peers that run `true`."""
    found = Outcome("the zygote of the line; no sandbox is parked")
    with tempfile.TemporaryDirectory(prefix="tidepool-bench-") as place, serving(0) as server:
        peers = Peers(Path(place))
        ways = peers.ways(["true"], "subprocess of true")
        with Raw(server.config) as raw:
            for _ in range(3):
                raw.delete(raw.create())
            rounds = terms.rounds(100)
            for number in range(rounds):
                found.attempt(lambda: _one_cold(found, raw))
                for name, run in ways.items():
                    found.note(f"{name} (true)", timed(run))
                progress(f"{number + 1}/{rounds}")
    found.left_out = peers.left_out
    found.limits("create", 8, 40)
    return found


def _one_cold(found: Outcome, raw: Raw) -> None:
    made: list[str] = []
    found.note("create", timed(lambda: made.append(raw.create())))
    raw.delete(made[0])


def first_line(terms: Terms) -> Outcome:
    """Create and one line through the SDK, beside the unsandboxed interpreter and peers."""
    found = Outcome(f"a pool of {_POOL}, refilled outside the timed part; the connection is open")
    with tempfile.TemporaryDirectory(prefix="tidepool-bench-") as place, serving(_POOL) as server:
        peers = Peers(Path(place))
        ways = peers.ways(line_program(), "python3 -c")
        with Daytona(server.config) as daytona:
            rounds = terms.rounds(100)
            for number in range(rounds + 3):
                time.sleep(_REFILL_S)
                found.attempt(lambda: _create_and_run(found, daytona, number >= 3))  # noqa: B023
                for name, run in ways.items():
                    found.note(name, timed(run))
                progress(f"{number + 1}/{rounds + 3}")
    found.left_out = peers.left_out
    found.limits("create + line", 4)
    found.checks.append(times_faster("than python3 -c", found.ratio("python3 -c", "create + line"), 3))
    return found


def _create_and_run(found: Outcome, daytona: Daytona, counts: bool) -> None:
    begin = time.perf_counter()
    sandbox = daytona.create()
    ran = sandbox.process.code_run("print(1)")
    took = (time.perf_counter() - begin) * 1000
    sandbox.delete()
    if ran.result != "1\n":
        raise RuntimeError(f"the line printed {ran.result[:100]!r}")
    if counts:
        found.note("create + line", took)
