"""A server that an ordinary user has started: what it can do, what its sandboxes cannot, and what it says is weaker."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Server
from tests.engine import plain_user
from tests.server.client import Api
from tidepool.engine.spawner import protocol, rootless

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.needs("user_namespace", "overlayfs"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user"),
    pytest.mark.skipif(
        shutil.which("newuidmap") is None, reason="newuidmap (package uidmap) is not installed"
    ),
]
PROJECT = Path(__file__).parents[2]


def run(*argv: str, count: int = plain_user.COUNT, **more: str) -> "subprocess.CompletedProcess[str]":
    """A program as the ordinary user, and what came of it."""
    return subprocess.run(
        plain_user.command(*argv, count=count),
        cwd=PROJECT,
        env=os.environ | more,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A directory of the user's, without the files of the server that works in it."""
    directory = Path(tempfile.mkdtemp(prefix="tp-rootless-"))
    os.chown(directory, plain_user.UID, plain_user.UID)
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


def environment(place: Path, key: str) -> dict[str, str]:
    return {
        "TIDEPOOL_STATE_DIR": str(place / "state"),
        "TIDEPOOL_RUNTIME_DIR": str(place / "run"),
        "TIDEPOOL_API_KEY": key,
        "HOME": str(place),
    }


def start(place: Path, **ids: int) -> tuple["subprocess.Popen[str]", Server]:
    """A server of the user's, serving."""
    key = secrets.token_hex(16)
    # A user who hides new files from everybody: sandboxes, who are others, must be able to read theirs.
    argv = ["/bin/sh", "-c", 'umask 077; exec "$0" "$@"', sys.executable, "-m", "tidepool.server"]
    process = subprocess.Popen(
        plain_user.command(*argv, "--port", "0", "--pool", "1", **ids),
        cwd=PROJECT,
        env=os.environ | environment(place, key),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    process.stdout.close()
    assert url, f"the server did not start; it ended with {process.wait(10)}"
    return process, Server(url, key, process.pid)


@pytest.fixture(scope="module")
def server(place: Path) -> Iterator[Server]:
    """One for the module; ended as a user does, which must succeed."""
    process, found = start(place)
    try:
        yield found
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert sandboxed() == []
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def api(server: Server) -> Iterator[Api]:
    found = Api(server.url, server.key)
    yield found
    found.close()


class Box:
    """One sandbox of the user's."""

    def __init__(self, api: Api, **fields: Any) -> None:
        answer = api.call("POST", "/sandbox", {"networkBlockAll": True, **fields})
        assert answer.status == 200, answer.body
        self.described: dict[str, Any] = answer.json
        self.id = str(self.described["id"])
        self.toolbox = api.at(f"/toolbox/{self.id}")
        self._api = api

    def sh(self, script: str, **more: Any) -> str:
        """What a shell script writes; it must end well."""
        answer = self.toolbox.call("POST", "/process/execute", {"command": script, **more})
        assert (answer.status, answer.json.get("exitCode")) == (200, 0), answer.body
        return str(answer.json["result"]).strip()

    def does(self, what: str) -> None:
        answer = self._api.call("POST", f"/sandbox/{self.id}/{what}")
        assert answer.status == 200, answer.body

    def delete(self) -> int:
        return self._api.call("DELETE", f"/sandbox/{self.id}").status


@pytest.fixture
def make_box(api: Api) -> Iterator[Callable[..., Box]]:
    made: list[Box] = []

    def make(**fields: Any) -> Box:
        made.append(Box(api, **fields))
        return made[-1]

    yield make
    for box in made:
        assert box.delete() in (200, 404)


@pytest.fixture
def box(make_box: Callable[..., Box]) -> Box:
    return make_box()


def owners() -> dict[int, tuple[int, bytes]]:
    """Of every process: real uid on the host, and command line."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            try:
                status = Path("/proc", entry, "status").read_text()
                line = next(line for line in status.splitlines() if line.startswith("Uid:"))
                found[int(entry)] = int(line.split()[1]), Path("/proc", entry, "cmdline").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue
    return found


def sandboxed(word: bytes = b"") -> list[int]:
    """Processes that run under a subordinate id of the user, with `word` on their command line."""
    ids = range(plain_user.FIRST_ID, plain_user.FIRST_ID + plain_user.COUNT)
    return [pid for pid, (uid, command) in owners().items() if uid in ids and word in command]


def until(done: Callable[[], bool], patience_s: float = 5.0) -> bool:
    deadline = time.monotonic() + patience_s
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


# what works


def test_code_runs_and_files_come_and_go(box: Box) -> None:
    assert box.sh("id -un; pwd") == "daytona\n/home/daytona"
    answer = box.toolbox.call("POST", "/process/code-run", {"code": "print(6 * 7)", "language": "python"})
    assert answer.json["result"].strip() == "42"
    assert box.toolbox.upload("/files/upload", ("file", "f", b"content"), path="d/f").status == 200
    assert box.sh("cat d/f; stat -c %U d/f") == "contentdaytona"
    box.sh("echo changed > d/f")
    assert box.toolbox.call("GET", "/files/download", path="d/f").body == b"changed\n"


def test_root_inside_installs_and_changes_what_the_image_generated(make_box: Callable[..., Box]) -> None:
    box = make_box(user="root")
    script = (
        "rm -r /etc/fonts; echo hi > /etc/motd; touch /usr/local/bin/tool /opt/x; chown 1000 /opt/x; id -u"
    )
    assert box.sh(script) == "0"
    assert box.sh("test -e /etc/fonts || stat -c %u /opt/x") == "1000"


def test_a_deadline_ends_the_whole_tree(box: Box) -> None:
    script = "for i in $(seq 50); do setsid sleep 4711 & done; trap '' TERM; sleep 4711"
    began = time.monotonic()
    answer = box.toolbox.call("POST", "/process/execute", {"command": script, "timeout": 1})
    assert answer.status == 408
    assert time.monotonic() - began < 3
    assert until(lambda: not sandboxed(b"4711"), 1)
    assert box.sh("echo alive") == "alive"


def test_files_outlive_a_stop_and_nothing_outlives_deletion(
    make_box: Callable[..., Box], place: Path
) -> None:
    box = make_box()
    # A directory made anew hides the image's; a file taken away stays away.
    box.sh("echo kept > f; mkdir d; rm .profile 2>&1; touch /tmp/t; sleep 4712 & echo")
    box.does("stop")
    assert sandboxed(b"4712") == []
    box.does("start")
    assert box.sh("cat f; stat -c %U:%a d; ls /tmp/t") == "kept\ndaytona:755\n/tmp/t"
    saved = place / "state/storage/saved"
    assert box.id in os.listdir(saved)
    ids = range(plain_user.FIRST_ID, plain_user.FIRST_ID + plain_user.COUNT)
    assert (saved / box.id / "r/home/daytona/f").stat().st_uid in ids
    assert box.delete() == 200
    assert until(lambda: box.id not in os.listdir(saved))


def test_more_sandboxes_than_a_zygote_has_ids_for(make_box: Callable[..., Box]) -> None:
    boxes = [make_box() for _ in range(6)]
    outside = {uid for uid, command in owners().values() if b"sleep" in command}
    for box in boxes:
        box.sh("sleep 4713 >/dev/null 2>&1 & echo")
    now = [uid for uid, command in owners().values() if b"4713" in command]
    assert len(set(now)) == len(boxes)
    assert not set(now) & outside


def test_more_kinds_of_sandboxes_than_there_are_ids_for_zygotes() -> None:
    # Ids of its own: other servers of the user take from the usual ones.
    ids = {"first": plain_user.FIRST_ID + plain_user.COUNT, "count": (3 * 4 + 1) * protocol.SLICE}
    with tempfile.TemporaryDirectory(prefix="tp-rootless-") as directory:
        place = Path(directory)
        os.chown(place, plain_user.UID, plain_user.UID)
        place.chmod(0o755)
        process, server = start(place, **ids)
        api = Api(server.url, server.key)
        try:
            for name in ("one", "two", "three", "four"):
                box = Box(api)
                box.sh(f"echo {name} > name; rm .profile 2>&1; mkdir -p d; echo x > d/x")
                assert api.call("POST", f"/sandbox/{box.id}/snapshot", {"name": name}).status in (200, 201)
                assert box.delete() == 200
                again = Box(api, snapshot=name)
                assert again.sh("echo more >> name; rm d/x; cat name; ls -A d") == f"{name}\nmore"
                root = Box(api, snapshot=name, user="root")
                assert root.sh("stat -c %U name; chown root name; stat -c %U name") == "daytona\nroot"
                assert (again.delete(), root.delete()) == (200, 200)
            full = [api.call("POST", "/sandbox", {"networkBlockAll": True}) for _ in range(10)]
            assert [answer.status for answer in full] == [200] * 9 + [503]
            assert "full" in full[-1].message
        finally:
            api.close()
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0


def test_what_was_deleted_or_hidden_stays_so_over_a_stop(make_box: Callable[..., Box]) -> None:
    box = make_box(user="root")
    box.sh("rm -r /etc/fonts; mkdir /etc/fonts; rm /etc/shells; test ! -e /etc/fonts/fonts.conf")
    box.does("stop")
    box.does("start")
    assert box.sh("ls -A /etc/fonts; ls /etc/shells 2>&1 | wc -l; ls /etc/passwd") == "1\n/etc/passwd"


# the walls


def test_no_process_is_root_and_every_sandbox_has_ids_of_its_own(
    server: Server, make_box: Callable[..., Box]
) -> None:
    root, user = make_box(user="root"), make_box()
    for one in (root, user):
        one.sh("sleep 4714 >/dev/null 2>&1 & echo")
    slices = {
        (uid - plain_user.FIRST_ID) // protocol.SLICE for uid, word in owners().values() if b"4714" in word
    }
    assert len(slices) == 2
    assert all(slice_number >= 0 for slice_number in slices)
    below = descendants(server.pid)
    allowed = {plain_user.UID, *range(plain_user.FIRST_ID, plain_user.FIRST_ID + plain_user.COUNT)}
    assert len(below) > 5
    assert {uid for pid, (uid, _) in owners().items() if pid in below} <= allowed


def spawner_of(server: Server) -> int:
    """The process that serves: one waits outside of the namespaces, its child guards, and of that child this is one."""
    below, parents = descendants(server.pid), parents_of_all()
    ours = {pid for pid, (_, words) in owners().items() if pid in below and b"spawner.rootless" in words}
    outside = next(pid for pid in ours if parents[pid] not in ours)
    guardian = next(pid for pid in ours if parents[pid] == outside)
    return next(pid for pid in ours if parents[pid] == guardian)


def parents_of_all() -> dict[int, int]:
    parents = {}
    for pid in owners():
        try:
            parents[pid] = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except FileNotFoundError:
            continue
    return parents


def descendants(top: int) -> set[int]:
    parents = parents_of_all()
    found = {top}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def test_marks_of_overlays_cannot_be_made_inside(make_box: Callable[..., Box]) -> None:
    box = make_box(user="root")
    mark = "import os; os.setxattr('/etc', 'user.overlay.{name}', b'{value}')"
    for name, value in (("opaque", "y"), ("whiteout", "y"), ("redirect", "/root"), ("origin", "x")):
        box.sh(f'python3 -c "{mark.format(name=name, value=value)}" || true')
    box.does("stop")
    box.does("start")
    assert box.sh("ls /etc/passwd /etc/hosts") == "/etc/hosts\n/etc/passwd"
    assert "overlay.opaque" not in box.sh("python3 -c \"import os; print(os.listxattr('/etc'))\"")


def test_the_users_own_id_is_not_shown(box: Box) -> None:
    assert str(plain_user.UID) not in box.sh(
        "cat /proc/self/mountinfo /proc/self/status; stat -c '%u %g' / /dev /usr"
    )


def test_each_sandbox_has_its_own_number_of_processes(make_box: Callable[..., Box]) -> None:
    bombed, one, other = make_box(), make_box(), make_box()
    spawn = "i=0; while [ $i -lt {count} ]; do sleep 4715 & i=$((i+1)); done >/dev/null 2>&1; echo started"
    bomb = {"command": spawn.format(count=600), "timeout": 20}
    assert b"started" not in bombed.toolbox.call("POST", "/process/execute", bomb).body
    # Together they have more than one may have: it is counted for each alone.
    assert one.sh(spawn.format(count=300)) == "started"
    assert other.sh(spawn.format(count=300)) == "started"
    most = max(count_by_slice(b"4715").values())
    assert 300 <= most <= 512


def count_by_slice(word: bytes) -> dict[int, int]:
    found: dict[int, int] = {}
    for uid, command in owners().values():
        if word in command and uid >= plain_user.FIRST_ID:
            number = (uid - plain_user.FIRST_ID) // protocol.SLICE
            found[number] = found.get(number, 0) + 1
    return found


def test_a_process_gets_no_more_memory_than_the_sandbox(make_box: Callable[..., Box]) -> None:
    box = make_box()
    take = "python3 -c 'bytearray({mib} << 20)' 2>&1 | tail -1"
    assert box.sh(take.format(mib=1100)) == "MemoryError"
    assert box.sh(take.format(mib=700)) == ""
    assert make_box(memory=2).sh(take.format(mib=1100)) == ""


def test_limits_cannot_be_raised_inside(make_box: Callable[..., Box]) -> None:
    raise_it = "import resource; resource.setrlimit(resource.RLIMIT_{name}, ({value}, {value}))"
    box = make_box(user="root")
    for name in ("NPROC", "DATA"):
        code = raise_it.format(name=name, value=1 << 40)
        assert box.sh(f'python3 -c "{code}" 2>&1 | tail -1').startswith("ValueError: not allowed")


def test_limits_of_a_running_sandbox_stay_and_that_is_said(api: Api, box: Box) -> None:
    answer = api.call("POST", f"/sandbox/{box.id}/resize", {"memory": 4})
    assert answer.status == 400
    assert "stop it first" in answer.message


# what is weaker


def test_a_sandbox_lists_what_is_weaker(box: Box) -> None:
    facts = box.described["tidepool"]
    said = facts["notEnforced"]
    assert [text.partition(":")[0] for text in said] == list(rootless.WEAKER)
    assert not [text for text in facts["enforced"] if "limit" in text]


def test_volumes_are_refused_with_the_reason(api: Api) -> None:
    answer = api.call("POST", "/volumes", {"name": "one"})
    assert (answer.status, rootless.WEAKER["volumes"] in answer.message) == (400, True)


def test_doctor_lists_the_same() -> None:
    done = run(sys.executable, "-m", "tidepool.cli", "doctor")
    assert done.returncode == 0, done.stdout
    states = {line.rsplit("  ", 2)[0].strip(): line for line in done.stdout.splitlines()}
    for name in rootless.WEAKER:
        if not name.endswith(" limit"):
            assert any(line.startswith(name) and "not enforced" in line for line in states.values()), name
    for name in ("cgroup_memory", "cgroup_pids", "cgroup_cpu"):
        assert f"{name}: " in done.stdout
    assert "45 sandboxes at a time" in done.stdout


@pytest.mark.parametrize(("count", "what"), [(0, "no range of ids"), (4096, "only 4096 ids")])
def test_without_enough_ids_nothing_runs_and_it_says_what_to_do(place: Path, count: int, what: str) -> None:
    server = (sys.executable, "-m", "tidepool.server", "--port", "0")
    done = run(*server, count=count, **environment(place, "key"))
    assert done.returncode == 1
    sentence = done.stderr.strip()
    assert what in sentence
    assert f"usermod --add-subuids 100000-165535 {plain_user.NAME}" in sentence
    asked = run(sys.executable, "-m", "tidepool.cli", "doctor", count=count)
    assert asked.returncode == 1
    assert what in asked.stdout


def test_a_state_directory_that_cannot_hold_marks_is_refused(place: Path) -> None:
    poor = place / "poor"
    poor.mkdir()
    start_there = plain_user.command(sys.executable, "-m", "tidepool.server", "--port", "0")
    script = f'mount -t ramfs ramfs {poor} && chmod 777 {poor} && exec "$0" "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, *start_there],
        cwd=PROJECT,
        env=os.environ | environment(poor, "key"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "put the state directory on one such as ext4" in done.stderr


# its end


def test_a_killed_server_leaves_nothing(tmp_path_factory: pytest.TempPathFactory) -> None:
    before = set(owners())
    with tempfile.TemporaryDirectory(prefix="tp-rootless-") as directory:
        place = Path(directory)
        os.chown(place, plain_user.UID, plain_user.UID)
        place.chmod(0o755)
        process, server = start(place)
        api = Api(server.url, server.key)
        Box(api).sh("sleep 4716 >/dev/null 2>&1 & echo")
        assert sandboxed(b"4716")
        process.kill()
        process.wait()
        api.close()
        ids = (plain_user.UID, *range(plain_user.FIRST_ID, plain_user.FIRST_ID + plain_user.COUNT))
        assert until(lambda: not sandboxed(b"4716"))
        assert until(
            lambda: not [pid for pid, (uid, _) in owners().items() if uid in ids and pid not in before]
        )


def test_files_outlive_a_killed_spawner(
    place: Path, server: Server, make_box: Callable[..., Box], api: Api
) -> None:
    box = make_box()
    box.sh("echo kept > f; sleep 4717 >/dev/null 2>&1 & echo")
    os.kill(spawner_of(server), signal.SIGKILL)
    assert until(lambda: not sandboxed(b"4717"))
    assert until(lambda: api.call("GET", f"/sandbox/{box.id}").json["state"] == "stopped")
    box.does("start")
    assert box.sh("cat f") == "kept"
