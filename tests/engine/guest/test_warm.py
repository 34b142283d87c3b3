"""The rule whether a run may be forked, case by case; `test_preload.py` tries it on real interpreters."""

import pytest

from tidepool.engine.guest import warm

STATE = warm.Warm(
    environment={"PATH": "/bin", "LANG": "C.UTF-8", "HOME": "/home/a"},
    variables=frozenset({"LIB_MODE", "HOME"}),
    names=frozenset({"random", "numpy"}),
    directories={"/lib": (1, 1), "/lib/gone.zip": None},
    files={"/lib/random.py": (2, 2)},
    owners=frozenset({0, 7}),
    user_site=".local/lib/python3.12/site-packages",
)
DISK: dict[str, warm.Stamp] = {"/lib": (1, 1), "/lib/random.py": (2, 2)}
ENV = {"PATH": "/bin", "LANG": "C.UTF-8", "HOME": "/home/a"}


def _obstacle(
    env: dict[str, str] = ENV,
    entries: tuple[str, ...] = (),
    uid: int = 1000,
    disk: dict[str, warm.Stamp] = DISK,
) -> str:
    return warm.obstacle(STATE, env, entries, uid, disk.get)


@pytest.mark.parametrize(
    ("env", "reason"),
    [
        ({}, ""),
        ({"PATH": "/elsewhere", "ANY": "thing", "TZ": "Asia/Tokyo"}, ""),
        ({"PYTHONPATH": "/x"}, "PYTHONPATH differs: the interpreter looks at it when it starts"),
        ({"PYTHONHASHSEED": "0"}, "PYTHONHASHSEED differs: the interpreter looks at it when it starts"),
        ({"LC_ALL": "C"}, "LC_ALL differs: the interpreter looks at it when it starts"),
        ({"LANGUAGE": "de"}, "LANGUAGE differs: the interpreter looks at it when it starts"),
        ({"LANG": "de_DE.UTF-8"}, "LANG differs: the interpreter looks at it when it starts"),
        ({"LIB_MODE": "fast"}, "LIB_MODE differs: a preloaded module looked at it when it was imported"),
        ({"HOME": "/home/b"}, "HOME differs: a preloaded module looked at it when it was imported"),
    ],
)
def test_variables(env: dict[str, str], reason: str) -> None:
    assert _obstacle({**ENV, **env}) == reason


def test_a_variable_that_is_gone() -> None:
    env = {key: value for key, value in ENV.items() if key != "LANG"}
    assert _obstacle(env) == "LANG differs: the interpreter looks at it when it starts"


@pytest.mark.parametrize(
    ("entry", "shadows"),
    [
        ("random.py", True),
        ("random.pyc", True),
        ("random", True),
        ("numpy.cpython-312-x86_64-linux-gnu.so", True),
        ("random.txt", False),
        ("random_numbers.py", False),
        ("Random.py", False),
        (".random.py", False),
        ("json.py", False),
    ],
)
def test_names_in_the_work_directory(entry: str, shadows: bool) -> None:
    reason = f"{entry} in sys.path[0] has the name of a preloaded module" if shadows else ""
    assert _obstacle(entries=("a.py", entry)) == reason


@pytest.mark.parametrize(
    ("uid", "disk", "reason"),
    [
        (1000, {**DISK, "/lib": (9, 1)}, "/lib has changed since the preload"),
        (1000, {**DISK, "/lib/gone.zip": (1, 1)}, "/lib/gone.zip has changed since the preload"),
        (1000, {}, "/lib has changed since the preload"),
        (1000, {**DISK, "/lib/random.py": (2, 9)}, ""),
        (7, {**DISK, "/lib/random.py": (2, 9)}, "/lib/random.py has changed since the preload"),
        (0, {**DISK, "/lib/random.py": (9, 2)}, "/lib/random.py has changed since the preload"),
        (
            1000,
            {**DISK, "/home/a/.local/lib/python3.12/site-packages": (1, 1)},
            "the user has a site-packages directory of their own",
        ),
    ],
)
def test_what_is_on_disk(uid: int, disk: dict[str, warm.Stamp], reason: str) -> None:
    assert _obstacle(uid=uid, disk=disk) == reason


def test_nothing_preloaded_here() -> None:
    assert warm.why_not_fork({}, "/", 0) == "nothing is preloaded"
