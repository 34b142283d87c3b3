"""pip in sandboxes, whatever of it the server's own interpreter has."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from tidepool.engine import images


@pytest.mark.thorough
@pytest.mark.parametrize("missing", [(), ("ensurepip",)], ids=["ensurepip", "the server's own"])
def test_pip_is_there(missing: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in missing:
        monkeypatch.setitem(sys.modules, name, None)
    site, binaries = tmp_path / "site", tmp_path / "bin"
    site.mkdir()
    binaries.mkdir()
    images._add_pip(site, binaries)
    script = f"import sys; sys.path[:0] = [{str(site)!r}]; from pip._internal.cli.main import main; main(['--version'])"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True
    )
    assert str(site) in done.stdout
    assert (binaries / "pip").stat().st_mode & 0o111


def test_without_any_it_is_said_and_nothing_half_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("ensurepip", "pip"):
        monkeypatch.setitem(sys.modules, name, None)
    with caplog.at_level(logging.WARNING, "tidepool.engine"):
        images._add_pip(tmp_path, tmp_path)
    assert "no pip in sandboxes" in caplog.text
    assert not list(tmp_path.iterdir())
