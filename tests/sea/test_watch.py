"""`sea evolve --watch`: rounds as traces come, the same library as all at once, and an end by interrupt."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sea.library import Library
from sea.watch import intakes, stamps
from tests.conftest import Server
from tests.sea.conftest import records

pytestmark = pytest.mark.timeout(180)


def test_a_file_is_read_when_it_has_stayed_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    looks = intakes([tmp_path], 0.05, pytest.fail)
    file.write_text(json.dumps(records()[0]) + "\n")
    assert len(next(looks).traces) == 1
    with file.open("a") as opened:
        opened.write(json.dumps(records()[1]) + "\n")
    assert len(next(looks).traces) == 2
    assert stamps([tmp_path, tmp_path / "missing"]) == stamps([tmp_path])


def test_what_cannot_be_read_is_said_and_the_watch_goes_on(tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "a.jsonl").write_text("{]\n")
    looks = intakes([tmp_path], 0.02, lambda sentence: _mend(said, sentence, tmp_path / "a.jsonl"))
    assert len(next(looks).traces) == 1
    assert "no trace could be read" in said[0]


def _mend(said: list[str], sentence: str, file: Path) -> None:
    said.append(sentence)
    file.write_text(json.dumps(records()[0]) + "\n")


@pytest.mark.thorough
def test_rounds_end_where_one_round_would(
    server: Server, tmp_path: Path, traces: Path, evolved: tuple[object, Library]
) -> None:
    lines = traces.read_text().splitlines(keepends=True)
    incoming, library = tmp_path / "incoming", tmp_path / "tools"
    incoming.mkdir()
    command = [
        str(Path(sys.executable).with_name("sea")),
        "evolve",
        str(incoming),
        "--library",
        str(library),
        "--watch",
        "0.3",
    ]
    environment = server.environment | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as run:
        try:
            (incoming / "a.jsonl").write_text("".join(lines[: len(lines) // 2]))
            _wait_for_rounds(library, 1)
            (incoming / "b.jsonl").write_text("".join(lines[len(lines) // 2 :]))
            _wait_for_rounds(library, 2)
            time.sleep(0.5)
        finally:
            run.send_signal(signal.SIGINT)
            _, said = run.communicate(timeout=30)
    assert run.returncode == 0, said
    assert "interrupted" in said
    at_once = evolved[1]
    assert Library(library).names() == at_once.names()
    assert [Library(library).source(name) for name in at_once.names()] == [
        at_once.source(name) for name in at_once.names()
    ]
    spans = {json.loads(line)["span"] for line in (library / "events.jsonl").read_text().splitlines()}
    assert {"mine", "select", "specify", "gate", "deduplicate", "admit", "evolve"} <= spans


def _wait_for_rounds(library: Path, count: int) -> None:
    until = time.monotonic() + 120
    log = library / "events.jsonl"
    while time.monotonic() < until:
        lines = log.read_text().splitlines() if log.exists() else []
        if sum(json.loads(line)["span"] == "evolve" for line in lines) >= count:
            return
        time.sleep(0.2)
    raise AssertionError(f"{count} rounds were not made; {os.listdir(library) if library.exists() else []}")
