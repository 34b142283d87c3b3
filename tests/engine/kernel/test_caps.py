"""Capability tables, and what is left of root after the drop."""

import os
import re
from pathlib import Path

import pytest

from tests.engine.kernel import confined
from tidepool.engine.kernel import caps

HEADER = Path("/usr/include/linux/capability.h")
STATUS = (
    "Name:\tx\nCapInh:\t0000000000000000\nCapPrm:\t00000000000000c1\nCapBnd:\t0000000000000100\nSeccomp:\t2\n"
)
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root has capabilities to drop")
SETS = "print(json.dumps({k: sorted(v) for k, v in caps.parse_status(open('/proc/self/status').read()).items()}))"
DROP = "confine.drop_capabilities(caps.ROOT_INSIDE);"
LEFT = sorted(caps.ROOT_INSIDE)


def test_names_and_numbers_are_those_of_the_kernels_header() -> None:
    if not HEADER.exists():
        pytest.skip("the kernel's headers are not installed")
    defined = re.findall(r"#define CAP_(\w+)\s+(\d+)$", HEADER.read_text(), re.MULTILINE)
    assert {name: int(number) for name, number in defined} == caps.NUMBERS


def test_status_is_read() -> None:
    sets = caps.parse_status(STATUS)
    assert sets == {"CapInh": frozenset(), "CapPrm": frozenset({0, 6, 7}), "CapBnd": frozenset({8})}
    assert caps.names(sets["CapPrm"]) == ["CHOWN", "SETGID", "SETUID"]
    assert caps.names(frozenset({63, 21})) == ["SYS_ADMIN", "63"]


def test_every_kept_capability_has_a_reason_and_none_is_both_kept_and_left_out() -> None:
    assert set(caps.KEPT) | set(caps.LEFT_OUT) <= set(caps.NAMES)
    assert not set(caps.KEPT) & set(caps.LEFT_OUT)
    dangerous = {
        "SYS_ADMIN",
        "SYS_PTRACE",
        "NET_ADMIN",
        "NET_RAW",
        "MKNOD",
        "SYS_MODULE",
        "DAC_READ_SEARCH",
        "BPF",
    }
    assert not {caps.NUMBERS[name] for name in dangerous} & caps.ROOT_INSIDE
    assert not caps.USER_INSIDE


@AS_ROOT
def test_root_keeps_only_what_the_table_says() -> None:
    expected = {"CapInh": [], "CapPrm": LEFT, "CapEff": LEFT, "CapBnd": LEFT, "CapAmb": []}
    assert confined.python(DROP + SETS) == expected


RAISE = """
header, data = confine._Header(0x20080522, 0), confine._Data()
syscalls.syscall("capget", ctypes.byref(header), ctypes.byref(data))
data.half[2] = data.half[1]
syscalls.syscall("capset", ctypes.byref(header), ctypes.byref(data))
syscalls.syscall("prctl", 47, 2, 5, 0, 0)  # PR_CAP_AMBIENT_RAISE of KILL, which is kept
"""


@AS_ROOT
@pytest.mark.parametrize(("drop", "ambient"), [(DROP, []), ("", [5])])
def test_what_was_ambient_is_not_any_more(drop: str, ambient: list[int]) -> None:
    assert confined.python(RAISE + drop + SETS)["CapAmb"] == ambient


@AS_ROOT
def test_control_without_the_drop_root_has_more() -> None:
    assert caps.NUMBERS["SYS_ADMIN"] in confined.python(SETS)["CapEff"]


@AS_ROOT
@pytest.mark.parametrize("become", ["", "os.setresuid(1000, 1000, 1000);"])
def test_exec_gives_nothing_back(become: str) -> None:
    code = f"{DROP}{become}os.execv('/bin/cat', ['cat', '/proc/self/status'])"
    sets = caps.parse_status(_output(code))
    assert sets["CapEff"] == sets["CapPrm"] == (frozenset() if become else caps.ROOT_INSIDE)
    assert sets["CapInh"] == sets["CapAmb"] == frozenset()


def _output(code: str) -> str:
    wrapped = f"""
reading, writing = os.pipe()
if os.fork() == 0:
    os.dup2(writing, 1)
    {code}
os.close(writing)
os.wait()
print(json.dumps(os.read(reading, 65536).decode()))
"""
    answer = confined.python(wrapped)
    assert isinstance(answer, str)
    return answer


@AS_ROOT
def test_another_user_has_none() -> None:
    sets = confined.python(
        f"{DROP}os.setgroups([]); os.setresgid(1000, 1000, 1000); os.setresuid(1000, 1000, 1000);{SETS}"
    )
    assert sets["CapEff"] == sets["CapPrm"] == sets["CapInh"] == sets["CapAmb"] == []


ATTACKS = {
    "packet socket": "socket.socket(17, 3)",
    "host name": "socket.sethostname(socket.gethostname())",
    "mount": "syscalls.mount('', '/', '', 0x40000)",
    "chroot": "os.chroot('/')",
    "device": "os.mknod('/tmp/tidepool-test-node', 0o020600, os.makedev(1, 3))",
}


@AS_ROOT
@pytest.mark.parametrize("name", ATTACKS)
def test_what_needs_more_is_refused(name: str) -> None:
    assert confined.python(DROP + attack(name)) == "PermissionError"


@AS_ROOT
@pytest.mark.parametrize("name", ATTACKS)
def test_control_without_the_drop_it_is_done(name: str) -> None:
    alone = "syscalls.unshare(syscalls.CLONE_NEWNS | syscalls.CLONE_NEWUTS);"
    assert confined.python(alone + attack(name)) == "done"


def attack(name: str) -> str:
    """A text that tries it and says how it ended."""
    return f"""
try:
    {ATTACKS[name]}
    print(json.dumps("done"))
except PermissionError as error:
    print(json.dumps(type(error).__name__))
finally:
    if os.path.lexists("/tmp/tidepool-test-node"):
        os.unlink("/tmp/tidepool-test-node")
"""


@AS_ROOT
def test_what_is_kept_works() -> None:
    code = """
import tempfile
with tempfile.TemporaryDirectory() as place:
    path = place + "/file"
    open(path, "w").close()
    os.chown(path, 1000, 1000); os.chmod(path, 0o400); open(path, "w").close(); os.utime(path)
os.setgroups([1000]); os.setresgid(1000, 1000, 0); os.setresuid(1000, 0, 0)
print(json.dumps("done"))
"""
    assert confined.python(DROP + code) == "done"


@AS_ROOT
def test_nothing_that_was_dropped_can_be_kept() -> None:
    code = """
confine.drop_capabilities({7, 8})
try:
    confine.drop_capabilities({0, 7})
except PermissionError:
    print(json.dumps("refused"))
"""
    assert confined.python(code) == "refused"
