"""Logs of sessions as data, and what a session does with a shell that is not bash and with commands that meddle."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.security.conftest import EngineThread, own_engine
from tidepool.engine import Command, Sandbox
from tidepool.engine.errors import WrongState
from tidepool.engine.guest.session import HEADER
from tidepool.toolbox import sessions
from tidepool.toolbox.sessions import HEAD_BYTES, TAIL_BYTES, Frames, Log, Session, SessionEnded, sessions_of

pytestmark = pytest.mark.thorough


def test_a_log_is_read_on_from_where_it_was_left() -> None:
    log = Log()
    log.add("stdout", b"one")
    log.add("stdout", b"two")
    log.add("stderr", b"three")
    assert log.since(0) == ([("stdout", b"onetwo"), ("stderr", b"three")], 11)
    assert log.since(4) == ([("stdout", b"wo"), ("stderr", b"three")], 11)
    log.add("stderr", b"four")
    assert log.since(11) == ([("stderr", b"four")], 15)
    assert log.since(15) == ([], 15)
    assert (log.text(), log.text("stdout")) == ("onetwothreefour", "onetwo")


def test_a_log_keeps_head_and_tail_and_says_what_is_missing() -> None:
    log = Log()
    for number in range(3000):
        log.add("stdout", b"%05d" % number * 200)
    pieces, position = log.since(0)
    text = b"".join(data for _, data in pieces)
    assert text.startswith(b"00000")
    assert text.endswith(b"02999")
    head, _, rest = text.partition(b"\n[... ")
    count, _, tail = rest.partition(b" bytes left out ...]\n")
    assert len(head) + int(count) + len(tail) == position == 3_000_000
    assert HEAD_BYTES - 10_000 <= len(head) <= HEAD_BYTES + 70_000
    assert TAIL_BYTES - 70_000 <= len(tail) <= TAIL_BYTES + 70_000
    assert log.since(position - 5) == ([("stdout", b"02999")], position)
    behind = b"".join(data for _, data in log.since(HEAD_BYTES + 200_000)[0])
    assert behind.startswith(b"\n[... ")
    assert behind.endswith(tail)


def test_a_log_of_many_small_pieces_takes_no_more_memory() -> None:
    log = Log()
    for number in range(40_000):
        log.add("stdout" if number % 2 else "stderr", b".")
    assert log.cost < HEAD_BYTES + TAIL_BYTES + 1000
    assert b"left out" in b"".join(data for _, data in log.since(0)[0])


def test_what_is_forgotten_is_said_and_what_comes_later_is_kept() -> None:
    log = Log()
    log.add("stdout", b"early")
    log.forget()
    log.add("stdout", b"late")
    assert log.text() == "\n[... 5 bytes left out ...]\nlate"
    assert log.since(5) == ([("stdout", b"late")], 9)


def test_what_a_driver_says_is_cut_into_frames_wherever_it_was_cut() -> None:
    said = HEADER.pack(b"o", 1, 3) + b"abc" + HEADER.pack(b"x", 1, 7) + HEADER.pack(b"z", 0, 7)
    expected = [(b"o", 1, 3, b"abc"), (b"x", 1, 7, b""), (b"z", 0, 7, b"")]
    for size in (1, 2, 10, 13, 100):
        frames = Frames()
        pieces = [said[start : start + size] for start in range(0, len(said), size)]
        assert [frame for piece in pieces for frame in frames.take(piece)] == expected
    for wrong in (HEADER.pack(b"q", 0, 0), HEADER.pack(b"e", 0, 65537)):
        with pytest.raises(ValueError, match="a frame of kind"):
            list(Frames().take(wrong))


@pytest.fixture(scope="module")
def host() -> Iterator[EngineThread]:
    """An engine of this module's own."""
    with own_engine("tidepool-sessions-") as thread:
        yield thread


@pytest.fixture(scope="module")
def box(host: EngineThread) -> Sandbox:
    """One sandbox for all of them; it ends with the engine."""
    return host.sandbox()


async def output(session: Session, text: str) -> tuple[int | None, str]:
    """Run a command and wait for its end."""
    command = await session.execute(text)
    await asyncio.wait_for(command.ended.wait(), 20)
    return command.exit_code, command.log.text()


@pytest.mark.needs("user_namespace", "overlayfs", "idmapped_mounts")
def test_a_shell_that_is_not_bash_does_the_same(host: EngineThread) -> None:
    async def talk() -> None:
        await box.exec(Command(shell="mkdir /tmp/only; ln -s /bin/dash /tmp/only/sh"))
        await box.change_env({"PATH": "/tmp/only"})
        session = await sessions_of(box).create("one")
        assert await output(session, "cd /tmp; a='it''s'; f() { echo $a; }; echo ${BASH:-none}") == (
            0,
            "none\n",
        )
        assert await output(session, "pwd; f; (exit 3)") == (3, "/tmp\nits\n")
        assert (await output(session, "if then"))[0] == 2
        assert await output(session, "exit 4") == (4, "")
        with pytest.raises(SessionEnded):
            await session.execute("true")

    box = host.sandbox()
    host.run(talk())


@pytest.mark.needs("user_namespace", "overlayfs", "idmapped_mounts")
def test_a_command_cannot_speak_for_the_driver(host: EngineThread, box: Sandbox) -> None:
    async def talk() -> None:
        session = await sessions_of(box).create("liar")
        assert (await output(session, "printf 'z00000000' >/proc/$PPID/fd/1"))[0] == 1
        tell = (
            'for fd in /proc/$PPID/fd/*; do [ -p $fd ] && timeout 0.2 sh -c "echo no >$fd"; done 2>/dev/null'
        )
        assert (await output(session, f"{tell}; exec 2>&-; true"))[0] == 0
        assert await output(session, "echo here") == (0, "here\n")
        await sessions_of(box).delete("liar")
        assert box.busy == 0

    host.run(talk())


@pytest.mark.needs("user_namespace", "overlayfs", "idmapped_mounts")
def test_the_oldest_output_of_all_is_forgotten_first(
    host: EngineThread, box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "KEPT_BYTES", 250_000)

    async def talk() -> None:
        session = await sessions_of(box).create("full")
        commands = [await session.execute(f"echo {n}; head -c 100000 /dev/zero") for n in range(4)]
        await asyncio.wait_for(commands[-1].ended.wait(), 20)
        kept = [len(command.log.text()) > 100_000 for command in commands]
        assert kept == [False, False, True, True]
        assert commands[0].log.text() == "\n[... 100002 bytes left out ...]\n"
        await sessions_of(box).delete("full")

    host.run(talk())


@pytest.mark.needs("user_namespace", "overlayfs", "idmapped_mounts")
def test_a_command_that_was_to_be_waited_for_takes_no_input(host: EngineThread, box: Sandbox) -> None:
    async def talk() -> None:
        session = await sessions_of(box).create("deaf")
        command = await session.execute("sleep 0.5; cat", takes_input=False)
        with pytest.raises(WrongState, match="runAsync"):
            await session.give_input(command, "words")
        await asyncio.wait_for(command.ended.wait(), 20)
        assert (command.exit_code, command.log.text()) == (0, "")

    host.run(talk())
