"""Invariant: whatever frames and descriptors a guest sends, a channel answers each request once or is lost, keeps no
descriptor open, raises nothing into the loop and holds no more than a few frames.
"""

import array
import asyncio
import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.fuzzing import examples, near
from tidepool.engine.channel import Channel, close_all
from tidepool.engine.errors import SandboxLost
from tidepool.engine.guest import frames

GOOD = (
    b'{"id":1,"size":5}',
    b'{"id":2}',
    b'{"id":-1,"ev":"ready"}',
    b'{"ev":"ready"}',
    b'{"id":1.0,"errno":2}',
    b'{"id":true}',
    b'{"id":' + b"9" * 4400 + b"}",
    b'{"id":1,"a":' + b"[" * 3000 + b"]" * 3000 + b"}",
    b'{"id":1e999}',
    b'{"id":NaN}',
)
OPENED = {
    "file": lambda: os.open("/etc/passwd", os.O_RDONLY),
    "null": lambda: os.open("/dev/null", os.O_RDONLY),
}
sent = st.lists(
    st.tuples(near(*GOOD), st.lists(st.sampled_from(sorted(OPENED)), max_size=30)), min_size=1, max_size=6
)


@pytest.fixture(scope="module", autouse=True)
def _at_once() -> Iterator[None]:
    """Nobody here has to be dead before what they passed is closed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tidepool.engine.channel._UNTIL_DEAD_S", 0.0)
        yield


@examples(100)
@given(sent)
def test_a_channel_takes_anything(messages: list[tuple[bytes, list[str]]]) -> None:
    asyncio.run(_take(messages))


async def _take(messages: list[tuple[bytes, list[str]]]) -> None:
    raised: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: raised.append(context))
    before = len(os.listdir("/proc/self/fd"))
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    lost: list[str] = []
    channel = Channel(ours, lambda _: None, lost.append)
    calls = [asyncio.create_task(channel.call({"op": "x"}, timeout_s=0.05)) for _ in range(2)]
    await asyncio.sleep(0)
    for data, kinds in messages:
        fds = [OPENED[kind]() for kind in kinds]
        try:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
            theirs.sendmsg([data], rights, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except OSError:
            break  # it was broken by what came before
        finally:
            close_all(fds)
        await asyncio.sleep(0)
    theirs.close()
    for answered in await asyncio.gather(*calls, return_exceptions=True):
        if isinstance(answered, tuple):
            close_all(answered[1])
        else:
            assert isinstance(answered, SandboxLost), answered
    channel.close()
    assert len(lost) == 1
    assert raised == []
    for thread in [thread for thread in threading.enumerate() if thread.name == "shed"]:
        thread.join()  # what is no file is closed there
    assert len(os.listdir("/proc/self/fd")) == before


@examples(200)
@given(near(*GOOD), st.integers(0, 30))
def test_the_guest_s_own_reader_refuses_with_one_error(data: bytes, count: int) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        null = os.open("/dev/null", os.O_RDONLY)
        before = len(os.listdir("/proc/self/fd"))
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [null] * count))] if count else []
        theirs.sendmsg([data or b" "], rights)
        try:
            found = frames.receive(ours)
        except frames.BadFrame:
            found = None
        if found is not None:
            assert isinstance(found[0], dict)
            frames.close_all(found[1])
        assert len(os.listdir("/proc/self/fd")) == before
        os.close(null)
