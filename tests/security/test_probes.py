"""Probes 1 to 42 of the list of attacks, from inside real sandboxes and from several positions.

Each row of `EXPECTED` is one attack of `probes_*.py` and what it must find. The control is the same program in a
sandbox without the system call filter: what only the filter refuses is done there (`BEHIND_THE_FILTER`), and what other
walls refuse too is still refused. What the masks and the empty /dev hide, the same program finds on the host.
"""

import ast
import json
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.security import probes_calls, probes_identity, probes_knobs, probing
from tests.security.conftest import EngineThread, own_engine
from tidepool.engine import CodeRun, Sandbox
from tidepool.engine.kernel import caps, seccomp
from tidepool.engine.spawner import protocol

pytestmark = pytest.mark.needs("user_namespace", "seccomp", "landlock")


def joined(*modules: ModuleType) -> str:
    """One program of several modules: what they import from each other is there already."""
    lines: list[str] = []
    for module in modules:
        text = Path(str(module.__file__)).read_text()
        ours = [
            node
            for node in ast.parse(text).body
            if isinstance(node, ast.ImportFrom) and "tests" in str(node.module)
        ]
        left_out = {number for node in ours for number in range(node.lineno, (node.end_lineno or 0) + 1)}
        lines += [line for number, line in enumerate(text.splitlines(), 1) if number not in left_out]
    return "\n".join(lines)


PROGRAM = joined(probing, probes_identity, probes_knobs, probes_calls) + "\nmain()\n"
POSITIONS = ("its user", "root inside", "a child in a new session", "a used sandbox", "two at once")
DEVICES = [
    "fd",
    "full",
    "null",
    "ptmx",
    "pts",
    "random",
    "shm",
    "stderr",
    "stdin",
    "stdout",
    "tty",
    "urandom",
    "zero",
]
"""All of /dev."""

EXPECTED: dict[str, Any] = {
    "3-set-user-id": "1000",
    "5-unshare": "EPERM",
    "5-clone": "EPERM",
    "5-clone3": "ENOSYS",
    "6-setns": "EPERM",
    "6-namespaces-of-init": "EACCES",
    "7-chroot": "EPERM",
    "7-climb": "the same root",
    "8-mounts": "EPERM",
    "9-propagation": "private",
    "11-host": "EPERM",
    "12-personality": "EPERM",
    "14-core-dumps": {"limit": [1, 1], "ends": [11], "new": []},
    "15-helpers": [],
    "16-init": [],
    "18-masked": [],
    "19-identity": {"hostname": "sandbox", "boot_id": "", "machine_id": "ENOENT", "sys": []},
    "22-descriptors": [],
    "23-handles": "EPERM",
    "24-devices": "EPERM",
    "25-whiteouts": "EPERM",
    "26-dev": DEVICES,
    "27-host-devices": [],
    "28-io_uring": "EPERM",
    "29-large-interfaces": "EPERM",
    "30-steer-init": "EPERM",
    "30-stop-init": True,
    "31-keyrings": "EPERM",
    "32-sockets": [],
    "33-x32": "exit 0",
    "33-int80": "SIGSYS",
    "36-machine": "EPERM",
    "37-memory-programs": 0,
    "39-priorities": "refused",
    "40-terminals": "EPERM",
    "41-inherited-descriptors": "EPERM",
}
"""Outcome of each attack from every position. 37: running a program from memory is allowed, as everywhere in a box."""

_NONE, _SEVEN = "0" * 16, f"{sum(1 << number for number in caps.ROOT_INSIDE):016x}"
_WALLS = {"CapInh": _NONE, "CapAmb": _NONE, "CapBnd": _SEVEN, "NoNewPrivs": "1", "Seccomp": "2"}

BY_USER: dict[str, dict[str, Any]] = {
    "1-capabilities": {
        "daytona": {"CapEff": _NONE, "CapPrm": _NONE, **_WALLS},
        "root": {"CapEff": _SEVEN, "CapPrm": _SEVEN, **_WALLS},
    },
    "21-overwrite-programs": {"daytona": [], "root": ["/bin/sh", "/usr/local/bin/python3"]},
    "42-outside-the-tree": {"daytona": [], "root": ["/sys/x", "/usr/local/x", "/usr/x"]},
}
"""Root inside writes in a copy of its own (decision 0008); the host's is read-only, see test_host.py."""

BEHIND_THE_FILTER = {
    "5-unshare": "newuser",
    "5-clone": "newuser",
    "5-clone3": "done",
    "11-host": "adjtimex",
    "12-personality": "no randomisation",
    "28-io_uring": "setup",
    "29-large-interfaces": "userfaultfd of user mode",
    "31-keyrings": "add_key",
    "32-sockets": "netfilter",
    "33-int80": "exit 7",
    "36-machine": "modify_ldt",
}
"""What the filter alone stands before, and a word of what is found without it."""

REFUSED_BY_ANOTHER = {
    "6-setns": "EINVAL",
    "23-handles": "ENOTSUP",
    "24-devices": "EACCES",
    "25-whiteouts": "EACCES",
    "30-steer-init": "EINVAL",
    "40-terminals": "ENOTTY",
    "41-inherited-descriptors": "EACCES",
}
"""What another wall refuses in its own words when the filter is gone."""

BEHIND_OTHERS_TOO = (
    *(
        "6-namespaces-of-init",
        "7-chroot",
        "7-climb",
        "8-mounts",
        "9-propagation",
        "15-helpers",
        "16-init",
        "18-masked",
    ),
    *("27-host-devices", "30-stop-init", "33-x32", "39-priorities"),
)
"""What is refused without the filter as well: by missing capabilities, masks, namespaces, the kernel's own table."""

ON_THE_HOST = ("16-init", "18-masked", "19-identity", "26-dev")
"""What only looks: the host shows it to the same program."""

ELSEWHERE = {
    "2": "tests/security/test_probes.py::test_host_ids_are_of_one_sandbox_only",
    "4": "tests/security/test_files_attacks.py::test_a_poisoned_layer_reaches_only_who_asked_and_cannot_be_changed",
    "10": "tests/security/test_host.py::test_kernel_knobs_are_read_only",
    "13": "tests/security/test_host.py::test_kernel_knobs_are_read_only",
    "17": "tests/security/test_host.py::test_no_path_of_the_host_is_shown_in_mountinfo",
    "20": "tests/security/test_probes.py::test_what_is_shown_of_the_host_is_documented",
    "34": "tests/engine/kernel/test_seccomp.py::test_the_program_says_what_the_tables_say",
    "35": "tests/engine/kernel/test_seccomp_attacks.py::test_a_filter_of_the_guests_own_cannot_weaken_ours",
    "38": "tests/security/test_random_calls.py::test_random_calls_harm_nobody_else",
}
"""Probes of these groups that are attacked by a test of another shape."""


class Attacked:
    """Outcomes of all attacks, by position; each position is attacked once."""

    def __init__(self, host: EngineThread) -> None:
        self._host = host
        self._found: dict[str, dict[str, Any]] = {}

    def outcomes(self, position: str) -> dict[str, Any]:
        if position not in self._found:
            self._found[position] = self._attack(position)
        return self._found[position]

    def _attack(self, position: str) -> dict[str, Any]:
        user = "root" if position == "root inside" else "daytona"
        boxes = [self._host.sandbox(user=user) for _ in range(2 if position == "two at once" else 1)]
        try:
            if position == "a used sandbox":
                for _ in range(3):
                    assert self._host.python(boxes[0], "open('left', 'a').write('x')").exit_code == 0
                self._run(boxes[0])
            arguments = ("setsid",) if position == "a child in a new session" else ()
            with ThreadPoolExecutor(len(boxes)) as pool:
                found = list(pool.map(lambda box: self._run(box, arguments), boxes))
            assert all(one == found[0] for one in found[1:]) or position != "two at once", found
            return found[0]
        finally:
            for box in boxes:
                self._host.run(self._host.engine.delete(box))

    def _run(self, box: Sandbox, arguments: tuple[str, ...] = ()) -> dict[str, Any]:
        run = CodeRun(PROGRAM, argv=arguments, timeout_s=60)
        result = self._host.run(box.run_code(run), 90)
        assert result.exit_code == 0, result
        found: dict[str, Any] = json.loads(result.stdout)
        for name in ("20-limits",):  # differs between two looks; it has a test of its own
            found.pop(name)
        found["22-descriptors"] = [
            target for target in found["22-descriptors"].values() if not target.startswith("pipe:")
        ]
        return found


@pytest.fixture(scope="module")
def attacked(host: EngineThread) -> Attacked:
    return Attacked(host)


@pytest.fixture(scope="module")
def unfiltered() -> Iterator[dict[str, Any]]:
    """Outcomes where every system call is allowed, by the same engine with another filter."""
    allow = struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(seccomp, "compile", lambda *_: allow)
        with own_engine("tidepool-open-") as host:
            yield Attacked(host).outcomes("its user")


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("name", EXPECTED)
def test_refused(attacked: Attacked, name: str, position: str) -> None:
    assert attacked.outcomes(position)[name] == EXPECTED[name]


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("name", BY_USER)
def test_each_user_has_what_is_its_own(attacked: Attacked, name: str, position: str) -> None:
    user = "root" if position == "root inside" else "daytona"
    assert attacked.outcomes(position)[name] == BY_USER[name][user]


CONTROLS = BEHIND_THE_FILTER | REFUSED_BY_ANOTHER


@pytest.mark.parametrize(("name", "word"), CONTROLS.items(), ids=list(CONTROLS))
def test_control_without_the_filter_the_kernel_answers(
    unfiltered: dict[str, Any], name: str, word: str
) -> None:
    assert word in json.dumps(unfiltered[name])


@pytest.mark.parametrize("name", BEHIND_OTHERS_TOO)
def test_refused_by_other_walls_too(unfiltered: dict[str, Any], name: str) -> None:
    assert unfiltered[name] == EXPECTED[name]


@pytest.mark.parametrize("name", ON_THE_HOST)
def test_control_the_host_shows_it(name: str) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, name], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)[name] != EXPECTED[name]


def test_host_ids_are_of_one_sandbox_only(host: EngineThread, make_box: Callable[..., Sandbox]) -> None:
    """Probe 2: seen from the host, processes of each sandbox have ids that nobody else has, never its root's."""
    seen: list[int] = []
    for _ in range(2):
        box = make_box()
        mark = f"mark-{box.id}"
        code = f"import os, time; open('started', 'w').write('x'); time.sleep(3) or {mark!r}"
        process = host.run(box.open(CodeRun(code)))
        host.shell(box, "while [ ! -f started ]; do sleep 0.01; done")
        seen.append(_uid_of_newest_run(host, box))
        host.run(process.kill())
    assert min(seen) >= protocol.FIRST_BLOCK_UID
    assert seen[0] // protocol.SLICE != seen[1] // protocol.SLICE


def _uid_of_newest_run(host: EngineThread, box: Sandbox) -> int:
    """The host's id of a process in a sandbox: of the one that holds a file there which only it can have open."""
    inode = int(host.shell(box, "readlink /proc/self/ns/net").stdout.decode().strip().strip("net:[]"))
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            if (status.parent / "ns/net").readlink().name == f"net:[{inode}]":
                uids = next(line for line in status.read_text().splitlines() if line.startswith("Uid:"))
                if (
                    status.parent.joinpath("cmdline").read_bytes()
                    and int(uids.split()[1]) % protocol.SLICE == 1000
                ):
                    return int(uids.split()[1])
        except OSError:  # it ended, or is a kernel thread
            continue
    raise AssertionError("no process of the sandbox was found")


def test_what_is_shown_of_the_host_is_documented(host: EngineThread, box: Sandbox) -> None:
    """Probe 20: memory is seen as the limit; what still tells of the host is in docs/isolation.md."""
    run = CodeRun(PROGRAM, argv=("20-limits",), timeout_s=30)
    found = json.loads(host.run(box.run_code(run)).stdout)["20-limits"]
    text = (Path(__file__).parents[2] / "docs/isolation.md").read_text()
    assert found["memory"] == box.spec.limits.memory_bytes
    assert "sysinfo(2) and sched_getaffinity(2) answer for the machine" in " ".join(text.split())


def test_every_probe_of_these_groups_is_attacked() -> None:
    numbers = {name.split("-")[0] for name in (*EXPECTED, *BY_USER)} | set(ELSEWHERE)
    assert numbers == {str(number) for number in range(1, 43)}
    for place in ELSEWHERE.values():
        path, name = place.split("::")
        tree = ast.parse((Path(__file__).parents[2] / path).read_text())
        assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    assert set(EXPECTED) | set(BY_USER) | {"20-limits"} == set(probing.ATTACKS)
