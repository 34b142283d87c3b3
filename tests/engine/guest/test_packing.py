"""What a layer has preloaded: the packages that were asked for, and what programs import of them."""

from pathlib import Path

import pytest

from tidepool.engine.guest import packing

LAZY = """
__all__ = ["thing"]


def __getattr__(name):
    import importlib

    return importlib.import_module("deep.lazy._inside")
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    files = {
        "deep/__init__.py": "",
        "deep/alone.py": "",
        "deep/sub/__init__.py": "from deep.sub import part\n",
        "deep/sub/part.py": "",
        "deep/lazy/__init__.py": LAZY,
        "deep/lazy/_inside.py": "",
        "deep/broken/__init__.py": "raise LookupError\n",
        "deep/_private/__init__.py": "",
        "deep/tests/__init__.py": "",
        "threaded/__init__.py": "",
        "threaded/sub/__init__.py": "import threading, time\n"
        "threading.Thread(target=time.sleep, args=(9,), daemon=True).start()\n",
    }
    for name, text in files.items():
        place = tmp_path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return tmp_path


def test_direct_subpackages_and_what_they_load_when_asked(site: Path) -> None:
    found = packing._below(str(site), "deep")
    assert sorted(found) == ["deep.lazy", "deep.lazy._inside", "deep.sub", "deep.sub.part"]


def test_nothing_below_one_that_starts_a_thread(site: Path) -> None:
    assert packing._below(str(site), "threaded") == []


def test_nothing_below_one_that_cannot_be_imported(site: Path) -> None:
    assert packing._below(str(site), "missing") == []
