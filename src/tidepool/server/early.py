"""Optional libraries that are used later, loaded now where they could not be read later.

A server that is started by root gives root up; an interpreter in root's own home is out of reach from then on. Where
everybody may read it nothing is loaded before it is needed: starting stays fast.
"""

import importlib
import importlib.util
import os
from collections.abc import Iterable
from pathlib import Path

from tidepool.server.store import POSTGRES

_READ_AND_ENTER = 0o005


def load(database_url: str) -> None:
    """Load what this server may need of the optional libraries, if it is root and nobody else could load them."""
    names = ["socketio", "cryptography.fernet", *(["psycopg"] if database_url.startswith(POSTGRES) else [])]
    there = [name for name in names if importlib.util.find_spec(name.partition(".")[0]) is not None]
    if os.geteuid() == 0 and not all(map(is_open, [Path(os.__file__), *_places(there)])):
        for name in there:
            importlib.import_module(name)


def _places(names: Iterable[str]) -> list[Path]:
    specs = (importlib.util.find_spec(name.partition(".")[0]) for name in names)
    return [Path(spec.origin) for spec in specs if spec is not None and spec.origin is not None]


def is_open(path: Path) -> bool:
    """Whether everybody may enter every directory above a file, its own directory for reading too."""
    own, *above = path.resolve().parents
    readable = own.stat().st_mode & _READ_AND_ENTER == _READ_AND_ENTER
    return readable and all(directory.stat().st_mode & 0o001 for directory in above)
