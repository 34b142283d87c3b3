"""What a server started by root loads before it gives root up: nothing, unless it could not be read afterwards."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tidepool.server.early import is_open

_LOAD = """
import sys
from pathlib import Path
from tidepool.server import early
early.is_open = lambda path: {open}
early.load({url!r})
print(*sorted({{"socketio", "cryptography", "psycopg"}} & sys.modules.keys()))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives anything up")
@pytest.mark.parametrize(
    ("is_readable", "url", "expected"),
    [
        (True, "postgresql://x", []),
        (False, "sqlite:////x", ["cryptography", "socketio"]),
        (False, "postgresql://x", ["cryptography", "psycopg", "socketio"]),
    ],
)
def test_what_is_loaded_early(is_readable: bool, url: str, expected: list[str]) -> None:
    for name in ("socketio", "cryptography", "psycopg"):
        pytest.importorskip(name)
    program = _LOAD.format(open=is_readable, url=url)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == expected


def test_what_others_can_read() -> None:
    place = Path("/tmp") / f"tp-early-{os.getpid()}"
    (place / "a").mkdir(parents=True)
    try:
        place.chmod(0o755)
        (place / "a").chmod(0o755)
        assert is_open(place / "a" / "x.py")
        (place / "a").chmod(0o711)
        assert not is_open(place / "a" / "x.py")
        (place / "a").chmod(0o755)
        place.chmod(0o700)
        assert not is_open(place / "a" / "x.py")
    finally:
        (place / "a").rmdir()
        place.rmdir()
