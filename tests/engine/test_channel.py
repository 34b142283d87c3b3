"""The channel to spawner and init under a peer that is slow, gone or talks nonsense; with real sockets."""

import asyncio
import os
import socket
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tidepool.engine.channel import Channel
from tidepool.engine.errors import SandboxLost


class Peer:
    """Our end as a channel, the other as a plain socket."""

    def __init__(self) -> None:
        ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.lost: list[str] = []
        self.channel = Channel(ours, lambda _: None, self.lost.append)

    def close(self) -> None:
        """Both ends."""
        self.channel.close()
        self.theirs.close()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def flood(channel: Channel) -> None:
    for number in range(5000):
        channel.send({"number": number, "text": "x" * 500}, (0,))


def test_frames_wait_in_order_while_the_peer_is_slow() -> None:
    async def run() -> None:
        peer = Peer()
        before = descriptors()
        read, write = os.pipe()
        for number in range(500):
            peer.channel.send({"number": number}, (write,) if number == 400 else ())
        os.close(write)
        seen: list[Any] = []
        passed: list[int] = []
        while len(seen) < 500:
            data, fds, _, _ = await asyncio.to_thread(socket.recv_fds, peer.theirs, 65536, 4)
            seen.append(msgspec.json.decode(data)["number"])
            passed += fds
        assert seen == list(range(500))
        os.write(passed[0], b"x")
        assert os.read(read, 1) == b"x", "the descriptor came with its frame though ours was closed meanwhile"
        os.close(passed[0])
        os.close(read)
        assert descriptors() == before
        assert peer.lost == []
        peer.close()

    asyncio.run(run())


def test_a_peer_that_never_reads_is_given_up() -> None:
    async def run() -> None:
        peer = Peer()
        before = descriptors()
        with pytest.raises(SandboxLost, match="has not read"):
            flood(peer.channel)
        assert len(peer.lost) == 1
        assert descriptors() < before, "what waited is closed"
        peer.close()

    asyncio.run(run())


def test_a_request_that_waits_to_be_sent_is_told_of_the_loss() -> None:
    async def run() -> None:
        peer = Peer()
        waiting = [
            asyncio.create_task(peer.channel.call({"text": "x" * 2000}, timeout_s=20)) for _ in range(50)
        ]
        await asyncio.sleep(0.05)
        peer.theirs.close()
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(answer, SandboxLost) or "lost" in answer[0] for answer in answers)  # type: ignore[index]
        peer.close()

    asyncio.run(run())


@pytest.mark.parametrize("ends", ["cancelled", "too late"])
def test_what_comes_with_an_answer_that_nobody_waits_for_any_more_is_closed(ends: str) -> None:
    async def run() -> None:
        peer = Peer()
        before = descriptors()
        call = asyncio.ensure_future(
            peer.channel.call({"op": "x"}, timeout_s=0.2 if ends == "too late" else 9)
        )
        await asyncio.to_thread(peer.theirs.recv, 65536)
        with Path(__file__).open() as file:
            socket.send_fds(peer.theirs, [b'{"id": 1}'], [file.fileno()])
        if ends == "too late":
            time.sleep(0.3)  # the answer and the end of the time are found in one turn of the loop
        else:
            peer.channel._readable()
            assert descriptors() == before + 1
            call.cancel()
        with pytest.raises(asyncio.CancelledError if ends == "cancelled" else SandboxLost):
            await call
        assert descriptors() == before
        peer.close()

    asyncio.run(run())
