"""The probe tells the truth on this host, in worlds made narrower on purpose, and leaves nothing behind."""

import os
import time
from pathlib import Path

import pytest

from tests.engine.kernel import confined
from tidepool.cli import doctor
from tidepool.engine.errors import HostUnsupported
from tidepool.engine.kernel import probe
from tidepool.engine.kernel.probe import Feature

pytestmark = pytest.mark.thorough

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="sandboxes need root on this host")
SHOW = """
print(json.dumps({one.name: [one.works, one.detail, one.enable] for one in probe.features()}))
"""
GOOD = Feature("good", True, "fine", True, "nothing")
WEAK = Feature("weak", False, "refused", False, "buy memory")
BAD = Feature("bad", False, "no such call", True, "use a newer kernel")
WORSE = Feature("worse", False, "not at all", True, "use a newer kernel")


@pytest.fixture(scope="module")
def found() -> dict[str, list[str]]:
    """Name to works, detail and enable, seen from a fresh process."""
    answer = confined.python(SHOW)
    assert isinstance(answer, dict)
    return answer


def state() -> dict[str, object]:
    """What an attempt could leave."""
    groups = [path for path, _, _ in os.walk("/sys/fs/cgroup") if "probe" in path]
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    namespaces = {name: os.readlink(f"/proc/self/ns/{name}") for name in os.listdir("/proc/self/ns")}
    kept = {name: Path("/proc/self", name).read_text() for name in ("mounts", "cgroup", "uid_map")}
    return {"groups": groups, "children": children, "fds": os.listdir("/proc/self/fd"), **namespaces, **kept}


LEAVES = """
sys.path.insert(0, os.getcwd())
import time
from tests.engine.kernel.test_probe import state
before = state()
times = []
for _ in range(3):
    start = time.monotonic()
    probe.features()
    times.append(time.monotonic() - start)
after = state()
print(json.dumps([min(times), {key: [before[key], after[key]] for key in before if before[key] != after[key]}]))
"""


def test_it_leaves_nothing_and_takes_less_than_300_ms() -> None:
    seconds, changed = confined.python(LEAVES)
    assert changed == {}
    assert seconds < 0.3


@AS_ROOT
def test_everything_needed_works_where_these_tests_run_sandboxes(found: dict[str, list[str]]) -> None:
    needed = {feature.name for feature in probe.features() if feature.needed}
    assert {name: found[name] for name in needed if not found[name][0]} == {}
    assert len(needed) >= 15


def test_names_are_unique_and_each_has_a_way_to_be_enabled(found: dict[str, list[str]]) -> None:
    assert {"user_namespace", "overlayfs", "idmapped_mounts", "seccomp", "landlock", "cgroup_memory"} <= set(
        found
    )
    assert [name for name, (_, _, enable) in found.items() if not enable] == []


def narrowed(how: str) -> dict[str, tuple[bool, str]]:
    """What is found after something has been taken away."""
    answer = confined.python(f"{how}\n{SHOW}")
    return {name: (works, f"{detail}: {enable}") for name, (works, detail, enable) in answer.items()}


def broken(seen: dict[str, tuple[bool, str]]) -> set[str]:
    """Names of what does not work."""
    return {name for name, (works, _) in seen.items() if not works}


def test_under_the_filter_no_namespace_and_no_mount_works() -> None:
    names = broken(narrowed("filter_calls()"))
    assert {
        "user_namespace",
        "mount_namespace",
        "net_namespace",
        "tmpfs",
        "overlayfs",
        "idmapped_mounts",
    } <= names
    assert not {"pidfd", "close_range", "seccomp"} & names


@AS_ROOT
def test_a_limit_of_no_user_namespaces_is_named() -> None:
    limit = """
syscalls.unshare(syscalls.CLONE_NEWUSER)
open("/proc/self/setgroups", "w").write("deny")
open("/proc/self/uid_map", "w").write("0 0 1"); open("/proc/self/gid_map", "w").write("0 0 1")
open("/proc/sys/user/max_user_namespaces", "w").write("0")
"""
    seen = narrowed(limit)
    works, sentence = seen["user_namespace"]
    assert not works
    assert "sysctl -w user.max_user_namespaces=15000" in sentence
    assert {"proc_mount", "idmapped_mounts", "unprivileged_user_namespace"} <= broken(seen)


@AS_ROOT
def test_another_user_is_told_to_start_as_root() -> None:
    become = "os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)"
    seen = narrowed(f"{become}; syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)")
    assert seen["idmapped_mounts"] == (False, "Operation not permitted: start the server as root")
    assert not seen["cgroup_memory"][0]
    assert seen["seccomp"][0]


@AS_ROOT
def test_without_capabilities_root_is_not_enough() -> None:
    names = broken(narrowed("confine.drop_capabilities({7})"))
    assert {"mount_namespace", "overlayfs", "idmapped_mounts"} <= names


NO_CALL = """
import struct
number = NUMBERS[{name!r}]
code = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (6, 0, 0, seccomp.ENOSYS), (6, 0, 0, seccomp.ALLOW)]
confine.install_seccomp(b"".join(struct.pack("=HBBI", *one) for one in code))
"""


@pytest.mark.parametrize(
    ("call", "feature"),
    [
        ("seccomp", "seccomp"),
        ("landlock_restrict_self", "landlock"),
        ("pidfd_open", "pidfd"),
        ("close_range", "close_range"),
        ("fsopen", "new_mount_api"),
        ("mount_setattr", "idmapped_mounts"),
    ],
)
def test_a_kernel_without_a_call_is_found_out(call: str, feature: str) -> None:
    works, sentence = narrowed(NO_CALL.format(name=call))[feature]
    assert not works
    assert "not implemented" in sentence


@pytest.mark.parametrize(
    ("call", "feature"), [("seccomp", "seccomp"), ("landlock_restrict_self", "landlock")]
)
def test_a_wall_that_is_only_pretended_is_found_out(call: str, feature: str) -> None:
    pretending = NO_CALL.format(name=call).replace("seccomp.ENOSYS", "seccomp.SKIP")
    works, sentence = narrowed(pretending)[feature]
    assert not works
    assert "did not act" in sentence


IN_NAME_ONLY = """
import struct
program = [(0x20, 0, 0, 0), (0x15, 0, 3, NUMBERS["unshare"]), (0x20, 0, 0, 16), (0x15, 0, 1, syscalls.CLONE_NEWNS)]
program += [(6, 0, 0, seccomp.EPERM), (6, 0, 0, seccomp.ALLOW)]
confine.install_seccomp(b"".join(struct.pack("=HBBI", *one) for one in program))
"""


def test_user_namespaces_that_give_no_capabilities_do_not_work() -> None:
    assert {"user_namespace", "unprivileged_user_namespace"} <= broken(narrowed(IN_NAME_ONLY))


LINGERS = """
import time
def lives(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False
works, pid = probe._try(lambda: (str(probe._sleeper()), time.sleep(0.1))[0])
deadline = time.monotonic() + 1
while lives(pid) and time.monotonic() < deadline:
    time.sleep(0.01)
print(json.dumps([works, lives(pid)]))
"""


def test_what_an_attempt_leaves_running_ends_with_it() -> None:
    assert confined.python(LINGERS) == [True, False]


def test_an_attempt_that_hangs_is_given_up() -> None:
    start = time.monotonic()
    code = """
import time
probe._DEADLINE_MS = 200
print(json.dumps(probe._try(lambda: time.sleep(60) or "")))
"""
    assert confined.python(code) == [False, "it did not answer in time"]
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    ("sysctls", "container", "part"),
    [
        ({"user/max_user_namespaces": "0"}, False, "user.max_user_namespaces=15000"),
        ({"user/max_user_namespaces": "9", "kernel/unprivileged_userns_clone": "0"}, False, "userns_clone=1"),
        ({"kernel/apparmor_restrict_unprivileged_userns": "1"}, False, "AppArmor"),
        ({"kernel/apparmor_restrict_unprivileged_userns": "0"}, True, "--privileged"),
        ({}, False, "CONFIG_USER_NS"),
    ],
)
def test_advice_names_the_switch(sysctls: dict[str, str], container: bool, part: str) -> None:
    assert part in probe.user_namespace_advice(sysctls, container)


def test_require_is_silent_when_all_that_is_needed_works() -> None:
    probe.require((GOOD, WEAK))


def test_require_says_what_is_missing_and_what_to_do_once() -> None:
    with pytest.raises(HostUnsupported) as caught:
        probe.require((GOOD, WEAK, BAD, WORSE))
    assert str(caught.value) == (
        "this host cannot isolate, because these do not work: "
        "bad (no such call), worse (not at all): use a newer kernel"
    )


def test_the_report_says_what_is_not_enforced_and_how_to_enable_it() -> None:
    text = doctor.report((GOOD, WEAK))
    assert text.splitlines()[1].split() == ["good", "works", "fine"]
    assert "weak     not enforced  refused" in text
    assert "weak: buy memory." in text
    assert "good: " not in text
    assert text.endswith("Sandboxes run on this host, without: weak.")
    assert doctor.report((GOOD,)).endswith("with every wall in place.")
    assert doctor.report((GOOD, BAD)).endswith("Sandboxes cannot run on this host: bad must work first.")


def test_the_exit_status_is_about_what_is_needed() -> None:
    assert doctor.exit_status((GOOD, WEAK)) == 0
    assert doctor.exit_status((GOOD, BAD)) == doctor.MISSING == 1
