"""The guardian and what it guards, killed at any time; the journal and the storage as they are left then.

Deaths at named steps are in `test_faults`.
"""

import contextlib
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.engine.dying import (
    WITNESS,
    Place,
    children,
    groups,
    guardian,
    kill,
    spawner,
    states,
    stored,
    unsupervised,
    wait,
)
from tests.security.conftest import EngineThread
from tidepool.engine import SandboxSpec, State
from tidepool.engine.errors import Fault, HostUnsupported, SetupFailed
from tidepool.engine.guest import faults, syscalls
from tidepool.engine.spawner import guardian as guardians
from tidepool.engine.spawner import storage
from tidepool.engine.spawner.journal import Journal, Record

pytestmark = [pytest.mark.thorough, pytest.mark.needs("user_namespace", "overlayfs", "idmapped_mounts")]


def test_a_spawner_that_is_killed_is_replaced_and_says_what_became_of_each(place: Place) -> None:
    with place.engine() as host:
        host.run(host.engine.keep_warm(SandboxSpec(), 1))
        kept, lost = host.sandbox(name="kept"), host.sandbox(name="lost", ephemeral=True)
        for box in (kept, lost):
            host.shell(box, f"printf acknowledged > {WITNESS}; (sleep 60; :) >/dev/null 2>&1 &")
        kill(spawner(host))
        assert wait(lambda: states(host) == {State.STOPPED, State.ERROR})
        assert not unsupervised()
        why = "the spawner was killed by signal 9 (SIGKILL)"
        assert kept.error_reason == f"{why}; its files were saved, it can be started again"
        assert (lost.state, lost.error_reason) == (State.ERROR, why)
        assert wait(lambda: _warm(host) == 1)
        host.run(host.engine.start_again(kept))
        assert kept.error_reason is None
        assert host.run(kept.files.read(WITNESS)) == b"acknowledged"


def _warm(host: EngineThread) -> int:
    """How many parked sandboxes live."""
    lines = host.engine._pool._lines.values()
    return sum(warm.channel.lost is None for line in lines for warm in line.parked)


def test_what_a_spawner_had_not_read_when_it_was_killed_is_done_or_answered(place: Place) -> None:
    with place.engine() as host:
        host.run(host.engine.keep_warm(SandboxSpec(), 1))
        assert wait(lambda: _warm(host) == 1)
        former = spawner(host)
        os.kill(former, signal.SIGSTOP)
        try:
            box = host.sandbox()
            host.run(box.files.write(WITNESS, b"acknowledged"))
        except BaseException:
            kill(former)
            raise
        with ThreadPoolExecutor() as threads:
            names, refused = (
                threads.submit(host.run, stored(host, "saved")),
                threads.submit(host.run, host.engine.freeze(box, "frozen")),
            )
            time.sleep(0.2)
            kill(former)
            assert names.result(10) == (box.id,)
            with pytest.raises(SetupFailed, match="killed by signal 9"):
                refused.result(10)
        assert wait(lambda: box.state is State.STOPPED)
        host.run(host.engine.start_again(box))
        assert host.run(box.files.read(WITNESS)) == b"acknowledged"


def test_whatever_a_spawner_leaves_running_is_ended() -> None:
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
            spawner = os.fork()
            if spawner == 0:
                if os.fork() == 0:
                    time.sleep(60)
                os._exit(0)
            os.waitpid(spawner, 0)
            guardians.end_children()
            try:
                os.wait()
            except ChildProcessError:
                os._exit(0)
        os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0


def test_a_zygote_that_is_killed_takes_its_sandboxes_along_but_not_their_files(place: Place) -> None:
    with place.engine() as host:
        box = host.sandbox()
        host.shell(box, f"printf acknowledged > {WITNESS}")
        (keeper,) = children(spawner(host))
        # What claims the ids, for as long as anything runs under them; also when the spawner is gone.
        assert os.listdir(f"/proc/{keeper}/fd") == ["0"]
        kill(keeper)
        assert wait(lambda: box.state is State.ERROR)
        # Its init dies with the zygote, and may be seen first.
        assert (box.error_reason or "").endswith("ended; its files were saved, it can be started again")
        host.run(host.engine.start_again(box))
        assert host.run(box.files.read(WITNESS)) == b"acknowledged"


def test_without_its_guardian_the_spawner_goes_on_and_saves_at_the_end(place: Place) -> None:
    with place.engine() as host:
        box = host.sandbox()
        host.shell(box, f"printf acknowledged > {WITNESS}")
        kill(guardian(host))
        assert host.run(box.files.read(WITNESS)) == b"acknowledged"
        assert host.shell(host.sandbox(), "echo made").stdout == b"made\n"
    with place.engine() as host:
        box = host.engine.adopt(box.spec, box.id, has_files=True)
        host.run(host.engine.start_again(box))
        assert host.run(box.files.read(WITNESS)) == b"acknowledged"


def test_without_both_every_sandbox_says_so_and_nothing_runs(place: Place) -> None:
    with place.engine() as host:
        box, former = host.sandbox(), spawner(host)
        kill(guardian(host))
        kill(former)
        assert wait(lambda: box.state is State.ERROR)
        assert box.error_reason == "spawner and guardian were killed; its files are lost"
        with pytest.raises(Fault, match="spawner"):
            host.sandbox()
        assert wait(lambda: not unsupervised())
        found = groups(host)  # nobody is left to remove them: docs/decisions/0009
        for group in [*found, *{os.path.dirname(group) for group in found}]:
            os.rmdir(group)


@pytest.mark.slow
def test_a_spawner_that_dies_again_and_again_is_given_up(place: Place) -> None:
    with place.engine() as host:
        box = host.sandbox()
        host.shell(box, f"printf acknowledged > {WITNESS}")
        for _ in range(5):
            kill(spawner(host))
            with contextlib.suppress(Fault):
                host.run(stored(host, "saved"))  # answered by the next one
        assert wait(lambda: not os.path.exists(f"/proc/{guardian(host)}/ns/mnt"))
        assert (box.state, box.has_saved_files) == (State.STOPPED, True)
        with pytest.raises(Fault, match="spawner"):
            host.sandbox()


def test_a_zygote_that_nothing_comes_from_any_more_ends_with_its_last_sandbox(place: Place) -> None:
    with place.engine("init.create.mounted:kill:2") as host:
        first, second = host.sandbox(), host.sandbox()
        assert len(children(spawner(host))) == 2
        host.run(host.engine.delete(first))
        assert wait(lambda: len(children(spawner(host))) == 1)
        assert host.shell(second, "echo usable").stdout == b"usable\n"


def test_an_engine_that_cannot_start_leaves_nothing_running(place: Place) -> None:
    (place.path / "state").mkdir(exist_ok=True)
    (place.path / "state" / place.storage).touch()
    before = set(children(os.getpid()))
    with pytest.raises(HostUnsupported, match="File exists"), place.engine():
        raise AssertionError("it started")
    assert set(children(os.getpid())) == before


def test_a_tree_whose_place_was_being_taken_is_whole_again(tmp_path: Path) -> None:
    store = storage.Storage.prepare(tmp_path)
    for names in (("one~", "one.old~"), ("two.old~",), ("three", "three~"), ("four", "four~", "four.old~")):
        for name in names:
            store.path("saved", name).mkdir()
            (store.path("saved", name) / "file").write_text(name)
    store.mend()
    found = {path.parent.name: path.read_text() for path in (tmp_path / "saved").glob("*/file")}
    assert found == {"one": "one~", "two": "two.old~", "three": "three", "four": "four"}


def test_a_new_spawner_waits_for_one_that_is_ending_and_not_for_one_that_lives(tmp_path: Path) -> None:
    former = storage.Storage.prepare(tmp_path)
    assert former.alone
    begun = time.monotonic()
    assert not storage.Storage.prepare(tmp_path).alone
    assert time.monotonic() - begun < 1


def test_the_journal_tells_whole_records_and_numbers_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    journal = Journal.create()
    (tmp_path / "k" / "~").symlink_to("7:half")
    journal.write(Record(1, 5000, ""))
    journal.write(Record(2, 6000, "other"))
    journal.keep(1, "name")
    assert list(journal.records()) == [Record(1, 5000, "name"), Record(2, 6000, "other")]
    journal.remove(1)
    journal.remove(1)
    assert [record.slot for record in journal.records()] == [2]
    if os.fork() == 0:
        journal.number()
        journal.received(9)
        os._exit(0)
    os.wait()
    journal.received(4)
    assert (journal.number(), journal.last_request) == (2, 9)


@pytest.mark.parametrize(
    "text", ["create", "create.upper", "create.upper:stop", "create.upper:kill:0", "a.b:kill "]
)
def test_a_fault_that_is_no_step_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be like"):
        faults.arm(text)
