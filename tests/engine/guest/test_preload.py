"""Preloaded packages: what they do while being imported is done again, or not hidden, or reason enough not to fork."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.engine.guest import forking

MODULES = {
    "noisy": "import sys, warnings\nprint('noisy is here')\nprint('oh', file=sys.stderr)\nwarnings.warn('old')\n",
    "keeper": "import sys\nOUT = sys.stdout\ndef say(): print('kept', file=OUT)\n",
    "curious": "import os\nMODE = os.environ.get('CURIOUS_MODE', 'none')\n",
    "setter": "import os\nos.environ['SETTER'] = 'set'\nos.environ.setdefault('SETTER_TOO', 'too')\n",
    "finder": "import sys\nfrom importlib.machinery import ModuleSpec\nclass Finder:\n"
    "    def find_spec(self, name, path=None, target=None):\n"
    "        return ModuleSpec(name, self) if name == 'found' else None\n"
    "    def create_module(self, spec): return None\n    def exec_module(self, m): m.by = 'finder'\n"
    "sys.meta_path.append(Finder())\n",
    "failing": "import colorsys\nraise LookupError('not today')\n",
    "leaving": "import sys\nsys.exit('gone')\n",
    "threaded": "import threading, time\nthreading.Thread(target=time.sleep, args=(99,), daemon=True).start()\n",
    "package/__init__": "",
    "package/sub": "X = 1\n",
    "user": "from package import sub\nimport package.sub as again\n",
    "lazy/__init__": "def __getattr__(name):\n    if name != 'THING':\n        raise AttributeError(name)\n"
    "    from lazy import part\n    globals()['THING'] = part.THING\n    return part.THING\n",
    "lazy/part": "THING = 7\n",
    "asker": "from lazy import THING\n",
    "asker_too": "from lazy import THING\n",
    "native": "import ctypes\nload = ctypes.pythonapi.PyImport_ImportModuleLevelObject\n"
    "load.restype, load.argtypes = ctypes.py_object, [ctypes.py_object] * 4 + [ctypes.c_int]\n"
    "load('package.sub', {}, {}, ('X',), 0)\n",
    "replaced": "import sys, types\nsys.modules[__name__] = types.SimpleNamespace(x=1)\n",
    "handmade": "import sys, types\nsys.modules['handmade.part'] = types.ModuleType('handmade.part')\n",
    "seeded": "import random, tempfile\nV = random.random()\nN = next(tempfile._get_candidate_names())\n",
}
HARMLESS = [name for name in MODULES if "/" not in name and name not in ("threaded", "curious")]

PROGRAMS = {
    "not_in_sight": "import sys\nprint([n for n in ('noisy', 'package', 'user', 'finder') if n in sys.modules])\n",
    "noisy": "print('before')\nimport noisy\nprint('after')\nimport noisy\n",
    "keeper": "import io, sys\nimport keeper\nkeeper.say()\n",
    "setter": "import os\nprint('SETTER' in os.environ)\nimport setter\nprint(os.environ['SETTER'])\n"
    "print(os.environ['SETTER_TOO'])\n",
    "finder": "import sys\nprint(len(sys.meta_path))\ntry:\n    import found\nexcept ImportError as e:\n    print(e)\n"
    "import finder\nprint(len(sys.meta_path))\nimport found\nprint(found.by)\n",
    "failing": "import failing\n",
    "leaving": "import leaving\n",
    "attribute": "import package\nprint(hasattr(package, 'sub'))\nimport package.sub\nprint(package.sub.X)\n",
    "brought": "import user, sys\nprint(sorted(n for n in sys.modules if n.startswith('package')), user.again.X)\n",
    "brought_by_c_code": "import native, sys\nprint('package.sub' in sys.modules)\n",
    "lazy": "import lazy, sys\nprint('THING' in vars(lazy), hasattr(lazy, 'part'), 'lazy.part' in sys.modules)\n"
    "print(lazy.THING, 'THING' in vars(lazy), hasattr(lazy, 'part'), 'lazy.part' in sys.modules)\n",
    "lazy_brought_twice": "import asker_too, sys\nprint(sorted(n for n in sys.modules if n.startswith('lazy')))\n",
    "replaced": "import replaced\nprint(replaced)\n",
    "handmade": "import handmade, sys\nprint('handmade.part' in sys.modules)\n",
    "shadowed": "open('user.py', 'w').write('print(1)\\n')\nimport user\n",
    "shadowed_below": "import os\nos.mkdir('package')\nopen('package/__init__.py', 'w').write('sub = 2\\n')\n"
    "import user\nprint(user.sub)\n",
}  # fmt: skip


@pytest.fixture(scope="module")
def site(python: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of installed packages."""
    place = tmp_path_factory.mktemp("site")
    (place / "package").mkdir()
    (place / "lazy").mkdir()
    for name, text in MODULES.items():
        (place / f"{name}.py").write_text(text)
    return place


Start = Callable[[list[str]], forking.Parent]


@pytest.fixture(scope="module")
def start(site: Path, python: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    started: list[forking.Parent] = []

    def begin(modules: list[str]) -> forking.Parent:
        place = tmp_path_factory.mktemp("parent")
        env = {**forking.plain_environment(place), "PYTHONPATH": str(site)}
        started.append(forking.Parent(place, modules=modules, python=python, environment=env))
        return started[-1]

    yield begin
    for parent in started:
        parent.close()


@pytest.fixture(scope="module")
def parent(start: Start) -> forking.Parent:
    return start(HARMLESS)


def test_failures_are_told_and_tolerated(parent: forking.Parent) -> None:
    assert parent.preloaded["refused"] == ""
    assert parent.preloaded["failed"] == {"failing": "LookupError: not today", "leaving": "SystemExit: gone"}


@pytest.mark.parametrize("name", PROGRAMS)
def test_like_fresh(parent: forking.Parent, work: Path, name: str) -> None:
    forked, executed = forking.both_ways(parent, work, PROGRAMS[name])
    assert forked == executed


def test_what_it_drew_at_import_is_the_preloads(parent: forking.Parent, work: Path) -> None:
    """A value computed once at import is the same in every fork: the honest limit of preloading."""
    first, second = (
        parent.run_source(
            b"import seeded, random\nprint(seeded.V)\nprint(random.random())", work, parent.environment
        )
        for _ in range(2)
    )
    assert first.stdout.split()[0] == second.stdout.split()[0]
    assert first.stdout.split()[1] != second.stdout.split()[1]


def test_a_variable_read_at_import(start: Start, work: Path) -> None:
    parent = start(["curious"])
    assert parent.why_not_fork(parent.environment, work) == ""
    why = parent.why_not_fork({**parent.environment, "CURIOUS_MODE": "x"}, work)
    assert why == "CURIOUS_MODE differs: a preloaded module looked at it when it was imported"


def test_no_forks_with_threads(start: Start, work: Path) -> None:
    parent = start(["threaded"])
    assert "1 thread(s)" in parent.preloaded["refused"]
    assert parent.why_not_fork(parent.environment, work) == "nothing is preloaded"


def test_no_forks_without_a_record(python: str, tmp_path: Path) -> None:
    """An interpreter whose start was not recorded says so instead of guessing."""
    forking.lay_out(tmp_path)
    text = "from tidepool.engine.guest import preload; print(preload.preload([], False)['refused'])"
    done = subprocess.run(
        [python, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {text}"],
        capture_output=True,
        check=True,
    )
    assert done.stdout == b"imports.RECORD.begin was not called when the interpreter started\n"


def test_packages_changed_since(start: Start, site: Path, work: Path) -> None:
    parent = start(["user"])
    user, root = 1000, 0
    assert parent.why_not_fork(parent.environment, work, user) == ""
    (site / "user.py").write_text(MODULES["user"] + "# edited in place\n")
    assert (
        parent.why_not_fork(parent.environment, work, root) == f"{site}/user.py has changed since the preload"
    )
    if os.getuid() != user:
        assert parent.why_not_fork(parent.environment, work, user) == ""
    (site / "installed_later.py").touch()
    assert parent.why_not_fork(parent.environment, work, user) == f"{site} has changed since the preload"


def test_packages_of_the_user(tmp_path: Path, work: Path) -> None:
    python = os.path.join(sys.base_prefix, "bin", "python3")
    parent = forking.Parent(tmp_path / "parent", python=python)
    try:
        assert parent.why_not_fork(parent.environment, work) == ""
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        (tmp_path / "parent" / f".local/lib/python{version}/site-packages").mkdir(parents=True)
        assert (
            parent.why_not_fork(parent.environment, work)
            == "the user has a site-packages directory of their own"
        )
    finally:
        parent.close()
