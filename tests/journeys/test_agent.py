"""The scripted agent: what it learned makes its programs shorter, and its answers stay the same."""

import re
import subprocess
import sys

import pytest

from tests.conftest import Server
from tests.style.source import ROOT


@pytest.mark.thorough
def test_an_agent_with_tools_writes_less_and_answers_the_same(server: Server) -> None:
    command = [sys.executable, str(ROOT / "examples/agent.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, env=server.environment)
    assert done.returncode == 0, done.stderr
    rows = {
        how: [int(number) for number in figures.split()[:2]]
        for how, figures in re.findall(r"^(with|without) tools +(.*)$", done.stdout, flags=re.MULTILINE)
    }
    assert "8 of 8" in done.stdout
    assert rows["with"][0] == rows["without"][0] == 8, "equal calls"
    assert rows["with"][1] < 0.7 * rows["without"][1], done.stdout
