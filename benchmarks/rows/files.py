"""Large files through the files API, and what they cost the server in memory.

The client throws away what it receives and sends from memory, so the figures are the server's as far as one loopback
and two processors allow.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from footprint import MIB, rss
from measure import progress, serving, timed
from outcome import Outcome, Terms, at_least, at_most
from wire import Raw, form

SIZE = 100_000_000
_FLAT_MIB = 16


def transfer(terms: Terms) -> Outcome:
    """Upload and download in turn."""
    found = Outcome("one living sandbox, the connection open; the file is in memory on both sides")
    kind, body = form(bytes(range(256)) * (SIZE // 256) + b"x" * (SIZE % 256))
    with serving(2) as server, Raw(server.config) as raw:
        box = raw.create()
        target = f"/toolbox/{box}/files/upload?path=big"

        def upload() -> None:
            raw.socket.sendall(raw.head("POST", target, len(body), kind))
            raw.socket.sendall(body)
            raw.answer()

        def download() -> None:
            raw.socket.sendall(raw.head("GET", f"/toolbox/{box}/files/download?path=big", 0))
            if (count := raw.drain()) != SIZE:
                raise RuntimeError(f"{count} bytes came of {SIZE}")

        before, peak = rss(server.pid), [0]
        rounds = terms.rounds(8)
        with _peak(server.pid, peak):
            for number in range(rounds):
                for name, run in (("upload", upload), ("download", download)):
                    found.attempt(lambda: found.note(name, timed(run)))  # noqa: B023
                progress(f"{number + 1}/{rounds}")
        raw.delete(box)
    for name, target_rate in (("download", 400), ("upload", 250)):
        rate = SIZE / 1e6 / (found.at(name, 0.5) / 1000)
        found.checks.append(at_least(name, rate, target_rate, " MB/s"))
    grown = (peak[0] - before) / MIB
    found.checks.append(at_most("the server's memory at its peak, over before", grown, _FLAT_MIB, " MiB"))
    return found


@contextmanager
def _peak(pid: int, peak: list[int]) -> Iterator[None]:
    """Keep the largest resident size of a process while the block runs."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            peak[0] = max(peak[0], rss(pid))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
