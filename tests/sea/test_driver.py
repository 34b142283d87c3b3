"""The driver of a batch, as a process of its own: what is imported before the programs, and what of it fails."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def test_modules_are_there_before_a_program_and_one_that_is_not_fails_nobody_else(tmp_path: Path) -> None:
    job = {"result": "x", "tools": "", "record": [], "limit": 5}
    programs = ["import sys; x = 'colorsys' in sys.modules", "import no_such_module; x = 1", "x = 2"]
    (tmp_path / "jobs").write_text("\n".join(json.dumps({**job, "code": code}) for code in programs))
    ended = [_run(tmp_path, *modules) for modules in ((), ("no_such_module", "colorsys"))]
    assert [[line["answer"] for line in results] for results, _ in ended] == [
        ["False", None, "2"],
        ["True", None, "2"],
    ]
    assert "no_such_module" in ended[1][0][1]["error"]
    assert "no_such_module: ModuleNotFoundError" in ended[1][1]


def test_a_program_is_late_by_its_own_time_or_three_times_that_by_the_clock(tmp_path: Path) -> None:
    job = {"result": "x", "tools": "", "record": [], "limit": 1}
    programs = [
        "while True: pass",
        "import time; time.sleep(1.5); x = 1",
        "import time; time.sleep(60)",
        "import os; os.kill(os.getpid(), 9)",
    ]
    (tmp_path / "jobs").write_text("\n".join(json.dumps({**job, "code": code}) for code in programs))
    results, _ = _run(tmp_path)
    late, died = "no result before its deadline", "its process ended without a result"
    assert [line["answer"] or line["error"] for line in results] == [late, "1", late, died]


def _run(place: Path, *modules: str) -> tuple[list[dict[str, Any]], str]:
    command = [sys.executable, "-m", "sea.driver", "jobs", "results", *modules]
    ended = subprocess.run(command, cwd=place, capture_output=True, text=True, check=True, timeout=30)
    return [json.loads(line) for line in (place / "results").read_text().splitlines()], ended.stderr
