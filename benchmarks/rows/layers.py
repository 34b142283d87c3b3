"""Dependency layers beside `uv pip install` of the same packages, and forks of a sandbox with files.

Each combination of small packages is a layer that nobody has made; its wheels are cached on both sides.
"""

import itertools
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import progress, serving, timed
from outcome import Outcome, Terms, at_most
from uv import find_uv_bin
from wire import Raw

SMALL = ("six", "idna", "attrs", "packaging", "certifi")
_FILES, _FILE_BYTES = 100, 10_000


def dependencies(terms: Terms) -> Outcome:
    """First use builds a layer, second use takes it; beside both the same wheels installed by uv."""
    found = Outcome(
        "all wheels cached on both sides; no layer of a first use; the second use finds its pool filled"
    )
    wishes = [wish for size in (2, 3) for wish in itertools.combinations(SMALL, size)][: terms.rounds(10)]
    with (
        tempfile.TemporaryDirectory(prefix="tidepool-bench-") as name,
        serving(2) as server,
        Raw(server.config) as raw,
    ):
        place = Path(name)
        _install(place, 0, SMALL)
        raw.delete(raw.create())
        raw.delete(raw.create(*SMALL))
        for number, wish in enumerate(wishes, 1):
            found.attempt(lambda: _first_and_second(found, raw, wish))  # noqa: B023
            found.note("uv pip install", timed(lambda: _install(place, number, wish)))  # noqa: B023
            progress(f"{number}/{len(wishes)}")
    over = found.at("first use", 0.5) - found.at("uv pip install", 0.5)
    extra = found.at("second use", 0.5) - found.at("no dependencies", 0.5)
    found.checks.append(at_most("first use over uv pip install, medians", over, 300))
    found.checks.append(at_most("second use over a create without dependencies, medians", extra, 0.5))
    found.facts["allowance for the second use"] = "0.5 ms is what two medians of the same thing may differ by"
    return found


def _first_and_second(found: Outcome, raw: Raw, wish: tuple[str, ...]) -> None:
    for name, wanted in (("first use", wish), ("no dependencies", ()), ("second use", wish)):
        made: list[str] = []
        found.note(name, timed(lambda: made.append(raw.create(*wanted))))  # noqa: B023
        raw.delete(made[0])
        time.sleep(0.5)


def _install(place: Path, number: int, wish: tuple[str, ...]) -> None:
    uv = [find_uv_bin(), "pip", "install", "--quiet", "--cache-dir", str(place / "cache")]
    target = ["--target", str(place / str(number)), "--python", sys.executable]
    subprocess.run([*uv, *target, *wish], check=True)


def fork(terms: Terms) -> Outcome:
    """Fork a sandbox with files, and the first line in the fork, which reads one of them."""
    found = Outcome(f"the forked sandbox runs and has {_FILES} files of {_FILE_BYTES} bytes; a pool of 2")
    write = f"for n in range({_FILES}):\n    open(f'file{{n}}', 'w').write(str(n).ljust({_FILE_BYTES}))"
    with serving(2) as server, Raw(server.config) as raw:
        box = raw.create()
        raw.line(box, write)
        rounds = terms.rounds(40)
        for number in range(rounds + 1):
            time.sleep(0.05)
            found.attempt(lambda: _fork(found, raw, box, number > 0))  # noqa: B023
            progress(f"{number}/{rounds}")
        raw.delete(box)
    found.limits("fork + first line", 25)
    return found


def _fork(found: Outcome, raw: Raw, box: str, counts: bool) -> None:
    begin = time.perf_counter()
    twin = str(json.loads(raw.call("POST", f"/api/sandbox/{box}/fork", {}))["id"])
    made = time.perf_counter()
    seen = raw.line(twin, "print(len(open('file42').read()))")
    ended = time.perf_counter()
    raw.delete(twin)
    if seen != f"{_FILE_BYTES}\n":
        raise RuntimeError(f"the fork's file gave {seen[:100]!r}")
    if counts:
        found.note("fork", (made - begin) * 1000)
        found.note("fork + first line", (ended - begin) * 1000)
