"""Many sandboxes: sustained cycles, a burst, and thousands alive; with what they cost in memory and leave behind.

Clients are threads of this process with a connection each; on a machine of two processors they take a part of them.
"""

import contextlib
import math
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from footprint import MIB, available, group_bytes, tree_pss
from measure import Serving, percentile, progress, serving, timed
from outcome import Outcome, Terms, at_least, at_most
from wire import Raw, Refused

CLIENTS = 4
_POOL = 16
_ROOT = Path(__file__).resolve().parents[2]


@contextlib.contextmanager
def clients(server: Serving, count: int) -> Iterator[list[Raw]]:
    """So many connections, closed with the block."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Raw(server.config)) for _ in range(count)]


def cycle(raw: Raw) -> None:
    """Create, one line, delete."""
    box = raw.create()
    try:
        if (seen := raw.line(box, "print(6 * 7)")) != "42\n":
            raise RuntimeError(f"the line printed {seen[:100]!r}")
    finally:
        raw.delete(box)


def sustained(
    server: Serving, count: int, seconds: float
) -> tuple[list[tuple[float, float]], list[str], float]:
    """Cycles of `count` clients at once: (when it ended in s, how long in ms) of each, failures, seconds it took."""
    done: list[tuple[float, float]] = []
    wrong: list[str] = []
    begin = time.perf_counter()

    def one(raw: Raw) -> None:
        while time.perf_counter() - begin < seconds:
            started = time.perf_counter()
            try:
                cycle(raw)
            except (Refused, RuntimeError, OSError) as error:
                wrong.append(f"{type(error).__name__}: {error}")
                if isinstance(error, OSError):
                    return  # the connection is of no use any more
            ended = time.perf_counter()
            done.append((ended - begin, (ended - started) * 1000))

    with clients(server, count) as connections, ThreadPoolExecutor(count) as pool:
        list(pool.map(one, connections))
    return sorted(done), wrong, time.perf_counter() - begin


def cycles(terms: Terms) -> Outcome:
    """Sustained load; the server's memory, the latency and what is left are compared between its beginning and end."""
    sys.path.insert(0, str(_ROOT))
    from tests import leftovers

    found = Outcome(f"a pool of {_POOL}; {CLIENTS} clients at once, connections open")
    before = leftovers.now()
    memory: list[float] = []
    with serving(_POOL) as server:
        sustained(server, CLIENTS, min(3.0, terms.seconds))
        with _watched(lambda: memory.append(tree_pss(server.pid) / MIB)):
            done, wrong, took = sustained(server, CLIENTS, terms.seconds)
        with Raw(server.config) as raw:
            left = raw.call("GET", "/api/sandbox/paginated")
    found.tried = len(done) + len(wrong)
    for sentence in wrong:
        found.fail(sentence)
    gone = leftovers.taken_since(before, "")
    found.wrong += gone
    found.samples["cycle"] = [milliseconds for _, milliseconds in done]
    _growth(found, done, memory)
    found.facts |= {"clients at once": CLIENTS, "seconds": round(took, 1), "left after": len(gone)}
    found.facts["sandboxes left"] = left.count(b'"toolboxProxyUrl"')
    found.checks.insert(0, at_least("cycles", (len(done) - len(wrong)) / took, 150, "/s"))
    found.checks.append(at_most("left behind", len(gone) + found.facts["sandboxes left"], 0, ""))
    return found


def _growth(found: Outcome, done: list[tuple[float, float]], memory: list[float]) -> None:
    """The first and the last third of a load side by side."""
    third = max(1, len(done) // 3)
    first, last = ([ms for _, ms in part] for part in (done[:third], done[-third:]))
    latency = statistics.median(last) / statistics.median(first)
    share = max(1, len(memory) // 3)
    early, late = statistics.median(memory[:share]), statistics.median(memory[-share:])
    found.facts |= {
        "p99 of the first third, ms": round(percentile(first, 0.99), 2),
        "p99 of the last third, ms": round(percentile(last, 0.99), 2),
        "memory of all processes, first third, MiB": round(early, 1),
        "memory of all processes, last third, MiB": round(late, 1),
    }
    found.checks.append(at_most("latency, last third over first", latency, 1.1, "x"))
    found.checks.append(at_most("memory, last third over first", late / early, 1.05, "x"))


@contextlib.contextmanager
def _watched(look: Callable[[], object], every_s: float = 1.0) -> Iterator[None]:
    """Look again and again while the block runs."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(every_s):
            look()

    look()
    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def burst(terms: Terms) -> Outcome:
    """All at once: create and first command, hold them all alive, then a second command in each."""
    count, rounds = 100, max(2, round(5 * terms.scale))
    found = Outcome(f"a pool of {_POOL}; {count} connections open, one client thread each")
    with serving(_POOL) as server, clients(server, count) as connections:
        cycle(connections[0])
        for number in range(rounds):
            time.sleep(2.0)
            _one_burst(found, connections)
            progress(f"{number + 1}/{rounds}")
    found.limits("all made, first and second command done", 600)
    found.checks.append(at_least("success", found.success * 100, 100, " %"))
    return found


def _one_burst(found: Outcome, connections: list[Raw]) -> None:
    count = len(connections)
    made: list[str | None] = [None] * count
    moments: dict[str, float] = {}
    begins, first, second = (
        threading.Barrier(count, action=_stamp(moments, name)) for name in ("0", "1", "2")
    )

    def one(number: int) -> None:
        raw, ok = connections[number], True
        begins.wait()
        started = time.perf_counter()

        def create() -> None:
            made[number] = raw.create()
            found.note("create", (time.perf_counter() - started) * 1000)
            _answers(raw, made[number], number)
            found.note("create + first command", (time.perf_counter() - started) * 1000)

        ok = found.attempt(create)
        first.wait()
        if ok:
            found.attempt(lambda: _answers(raw, made[number], -number))
        second.wait()

    with ThreadPoolExecutor(count) as pool:
        list(pool.map(one, range(count)))
    found.note("all made, first command done", (moments["1"] - moments["0"]) * 1000)
    found.note("all made, first and second command done", (moments["2"] - moments["0"]) * 1000)
    for raw, box in zip(connections, made, strict=True):
        if box is not None:
            raw.delete(box)


def _stamp(moments: dict[str, float], name: str) -> Callable[[], None]:
    def stamp() -> None:
        moments[name] = time.perf_counter()

    return stamp


def _answers(raw: Raw, box: str | None, number: int) -> None:
    seen = raw.line(str(box), f"print({number})")
    if seen != f"{number}\n":
        raise RuntimeError(f"a sandbox answered {seen[:100]!r} instead of {number}")


def affordable(wanted: int, free: int) -> int:
    """So many sandboxes, or as many as fit with 6 MiB each and 2 GiB to spare."""
    return max(1, min(wanted, (free - (2 << 30)) // (6 << 20)))


def alive(terms: Terms) -> Outcome:
    """Make many, let each answer, and count what they take: by the kernel's free memory, PSS and control groups."""
    count = affordable(terms.alive, available())
    found = Outcome("connections open; what is alive has run nothing before it is weighed")
    room = {"TIDEPOOL_MAX_SANDBOXES": str(count + 100)}
    with serving(0, **room) as server, clients(server, CLIENTS) as connections:
        cycle(connections[0])
        before = (available(), tree_pss(server.pid), group_bytes(server.pid))
        boxes = _make_many(found, connections, count)
        time.sleep(1)
        after = (available(), tree_pss(server.pid), group_bytes(server.pid))
        many = max(1, len(boxes))
        _weigh(
            found,
            [(before[0] - after[0]) / many, (after[1] - before[1]) / many, (after[2] - before[2]) / many],
        )
        _each(connections, boxes, lambda raw, box: found.attempt(lambda: _ask(found, raw, box)))
        found.note("one more cycle", timed(lambda: cycle(connections[0])))
        _each(connections, boxes, lambda raw, box: raw.delete(box))
    found.facts |= {"wanted": terms.alive, "alive at once": len(boxes)}
    found.checks.append(
        at_least("alive and answering", len(found.samples.get("a line in each", ())), terms.alive, "")
    )
    return found


def _weigh(found: Outcome, weights: list[float]) -> None:
    names = ("free memory taken", "proportional set size", "control groups")
    for name, weight in zip(names, weights, strict=True):
        found.facts[f"{name}, MiB each"] = round(weight / MIB, 3)
    taken = max(weight for weight in weights if not math.isnan(weight)) / MIB
    found.checks.append(at_most("memory each, by the largest of three measures", taken, 2, " MiB"))


def _make_many(found: Outcome, connections: list[Raw], count: int) -> list[str]:
    boxes: list[str] = []

    def one(raw: Raw, number: int) -> None:
        if found.failed > 20:
            return  # a limit is reached; asking on would say nothing new

        def make() -> None:
            begin = time.perf_counter()
            boxes.append(raw.create())
            found.note("create", (time.perf_counter() - begin) * 1000)

        found.attempt(make)
        if number % 50 == 0:
            progress(f"{len(boxes)}/{count} alive")

    _each(connections, range(count), one)
    return boxes


def _each(connections: list[Raw], things: Sequence[Any], do: Callable[[Raw, Any], object]) -> None:
    """Do it with every thing, shared among the connections."""
    share = len(connections)

    def one(number: int) -> None:
        for thing in things[number::share]:
            do(connections[number], thing)

    with ThreadPoolExecutor(share) as pool:
        list(pool.map(one, range(share)))


def _ask(found: Outcome, raw: Raw, box: str) -> None:
    begin = time.perf_counter()
    _answers(raw, box, 7)
    found.note("a line in each", (time.perf_counter() - begin) * 1000)
