"""The attacks of `test_probes` from inside gVisor and crun: each with a column of expected outcomes of its own.

What is not in a column must come out as in a sandbox of namespaces alone. gVisor answers from a kernel of its own:
what is `done` there was done to that kernel, which is the sandbox's alone; that the host is unharmed is looked at after
each attack as everywhere here (conftest).
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.security import test_probes as plain
from tests.security.conftest import EngineThread, own_engine
from tidepool.engine import CodeRun
from tidepool.engine.guest import oci

pytestmark = pytest.mark.needs("user_namespace", "seccomp", "landlock")
USERS = ("daytona", "root")
ENDS_ITSELF = ("30-stop-init", "41-inherited-descriptors")
"""In gVisor: root there may kill its first process, and signals that a program has asked for end that program."""
DIFFERS = ("20-limits",)

OWN_KERNEL: dict[str, Any] = {
    "1-capabilities": "KeyError: 'CapAmb'",
    "5-unshare": {"newcgroup": "done", "newns": "done", "newtime": "done"},
    "5-clone": {"newcgroup": "done", "newns": "done"},
    "6-setns": "OSError: [Errno 38] Function not implemented",
    "6-namespaces-of-init": "done",
    "8-mounts": dict.fromkeys(("fsopen", "mount_setattr", "move_mount", "open_tree"), "ENOSYS"),
    "11-host": {"syslog": "done"},
    "12-personality": dict.fromkeys(("no randomisation", "read implies exec"), "EINVAL"),
    "16-init": {
        "daytona": ["auxv", "environ", "fd", "maps"],
        "root": ["auxv", "environ", "fd", "io", "maps"],
    },
    "18-masked": ["cmdline"],
    "19-identity": {"hostname": "sandbox", "boot_id": "ENOENT", "machine_id": "ENOENT", "sys": []},
    "21-overwrite-programs": {"daytona": [], "root": ["/bin/sh", "/proc/self/exe", "/usr/local/bin/python3"]},
    "22-descriptors": ["/"],  # one that an attack before this has opened
    "23-handles": dict.fromkeys(("name_to_handle_at", "open_by_handle_at"), "ENOTSUP"),
    "25-whiteouts": {"trusted": "ENOTSUP"},
    "26-dev": sorted([*plain.DEVICES, "fuse", "net"]),
    "27-host-devices": ["fuse", "net/tun"],
    "28-io_uring": {"register": "ENOSYS", "setup": "done"},
    "29-large-interfaces": {
        "memfd_secret": "ENOSYS",
        "mincore": "done",
        "perf_event_open": "ENODEV",
        "userfaultfd": "ENOSYS",
        "userfaultfd of user mode": "ENOSYS",
    },
    "30-steer-init": dict.fromkeys(("pidfd_getfd", "process_vm_readv", "process_vm_writev"), "ENOSYS"),
    "31-keyrings": dict.fromkeys(("add_key", "keyctl", "request_key"), "EACCES"),
    "32-sockets": ["uevent"],
    "33-int80": "exit 3",
    "39-priorities": "done",
    "40-terminals": {"TIOCLINUX": "ENOTTY", "TIOCSTI": "ENOTTY", "controlling": "there is one"},
    "42-outside-the-tree": {"daytona": [], "root": ["/dev/x", "/sys/x", "/usr/local/x", "/usr/x"]},
}
"""Debian's runsc of December 2022. Its devices are of its own kernel, its first process holds nothing of the host's."""

CONTAINER: dict[str, Any] = {
    "16-init": {"daytona": [], "root": ["fd"]},
    "21-overwrite-programs": {"daytona": [], "root": ["/bin/sh"]},
}
"""Numbers of its first process's descriptors can be listed by root, not followed."""

COLUMNS = {"gvisor": OWN_KERNEL, "crun": CONTAINER}
NAMES = tuple(name for name in (*plain.EXPECTED, *plain.BY_USER))


class Within:
    """Outcomes by isolation and user; each attacked once, in gVisor without what ends the attacker itself."""

    def __init__(self, host: EngineThread) -> None:
        self._host = host
        self._found: dict[tuple[str, str], dict[str, Any]] = {}

    def outcomes(self, isolation: str, user: str) -> dict[str, Any]:
        key = (isolation, user)
        if key not in self._found:
            self._found[key] = self._attack(isolation, user)
        return self._found[key]

    def _attack(self, isolation: str, user: str) -> dict[str, Any]:
        left_out = ENDS_ITSELF if isolation == "gvisor" else ()
        box = self._host.sandbox(isolation=isolation, user=user)
        try:
            names = [name for name in NAMES if name not in left_out]
            run = CodeRun(plain.PROGRAM, argv=tuple(names), timeout_s=60)
            result = self._host.run(box.run_code(run), 90)
            assert result.exit_code == 0, result
            found: dict[str, Any] = {name: _read(value) for name, value in json.loads(result.stdout).items()}
            targets = found["22-descriptors"].values()
            found["22-descriptors"] = [
                target for target in targets if not target.startswith(("pipe:", "host:", "/memfd:source"))
            ]
            return found
        finally:
            self._host.run(self._host.engine.delete(box))


def _read(value: Any) -> Any:
    """What an attack found, of which some is JSON in a text."""
    return json.loads(value) if isinstance(value, str) and value.startswith("{") else value


@pytest.fixture(scope="module")
def within() -> Iterator[Within]:
    with own_engine("tidepool-within-", pool_size=0) as host:
        yield Within(host)


@pytest.mark.thorough
@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "isolation", [pytest.param(name, marks=pytest.mark.needs(name)) for name in oci.RUNTIMES]
)
def test_outcome(within: Within, isolation: str, name: str, user: str) -> None:
    if isolation == "gvisor" and name in ENDS_ITSELF:
        assert name not in within.outcomes(isolation, user)
        return
    column = COLUMNS[isolation]
    wanted = column.get(name, plain.EXPECTED.get(name, plain.BY_USER.get(name)))
    if isinstance(wanted, dict) and set(wanted) == set(USERS):
        wanted = wanted[user]
    assert within.outcomes(isolation, user)[name] == wanted


@pytest.mark.slow
@pytest.mark.needs("gvisor")
@pytest.mark.parametrize("name", ENDS_ITSELF)
def test_what_may_end_the_attacker_in_gvisor_ends_nobody_else(name: str) -> None:
    with own_engine("tidepool-within-", pool_size=0) as host:
        box, sibling = host.sandbox(isolation="gvisor", user="root"), host.sandbox(isolation="gvisor")
        host.run(box.run_code(CodeRun(plain.PROGRAM, argv=(name,), timeout_s=20)))
        assert host.shell(sibling, "echo alive").stdout == b"alive\n"
