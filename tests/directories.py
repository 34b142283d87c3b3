"""Directories of tests that a server's unprivileged user ids can pass through; pytest's own are closed to others."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def open_directory(prefix: str) -> Iterator[Path]:
    """A new directory, gone afterwards."""
    path = Path(tempfile.mkdtemp(prefix=prefix))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path)
