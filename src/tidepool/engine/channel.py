"""Requests and answers over a SOCK_SEQPACKET socket, from the event loop: to the spawner and to each sandbox's init.

What comes from a sandbox is not trusted: frames are bounded and decoded strictly, an answer to a request that was never
made, a frame that does not fit or a descriptor too many breaks the channel, and every wait has a deadline.
"""

import array
import asyncio
import contextlib
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from tidepool.engine.errors import SandboxLost
from tidepool.engine.guest.frames import MAX_FDS, MAX_FRAME

_MAX_UNSENT = 1000
"""Frames a peer may be behind before it counts as gone; each request has its own deadline besides."""


class Channel:
    """One peer. `call` is for one answer; `open` and `close_request` for requests that are answered more than once."""

    def __init__(
        self, sock: socket.socket, on_event: Callable[[dict[str, Any]], None], on_lost: Callable[[str], None]
    ) -> None:
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._on_event = on_event
        self._on_lost = on_lost
        self._waiting: dict[int, Callable[[dict[str, Any], list[int]], None]] = {}
        self._next = 1
        self._unsent: deque[tuple[bytes, list[int]]] = deque()
        """Frames that found the peer's buffer full, with descriptors of their own."""
        self.lost: str | None = None
        """Why the channel is broken; None while it works."""
        sock.setblocking(False)
        self._loop.add_reader(sock.fileno(), self._readable)

    def open(self, on_answer: Callable[[dict[str, Any], list[int]], None]) -> int:
        """A new request number whose answers go to `on_answer` (which owns the descriptors) until `close_request`."""
        number = self._next
        self._next += 1
        self._waiting[number] = on_answer
        return number

    def close_request(self, number: int) -> None:
        """No more answers are expected for this number."""
        self._waiting.pop(number, None)

    def send(self, message: dict[str, Any], fds: tuple[int, ...] = ()) -> None:
        """Send one frame.

        Raises:
            SandboxLost: The peer is gone, or does not read what it is sent.
        """
        if self.lost is not None:
            raise SandboxLost(self.lost)
        data = msgspec.json.encode(message)
        if not self._unsent and self._sent(data, fds):
            return
        if len(self._unsent) >= _MAX_UNSENT:
            self._break(f"the sandbox has not read {_MAX_UNSENT} frames")
        if self.lost is not None:
            raise SandboxLost(self.lost)
        if not self._unsent:
            self._loop.add_writer(self._sock.fileno(), self._writable)
        self._unsent.append((data, [os.dup(fd) for fd in fds]))

    def _sent(self, data: bytes, fds: Sequence[int]) -> bool:
        """Whether a frame is on its way; False when there is no room for it now.

        Raises:
            SandboxLost: The peer is gone.
        """
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            self._sock.sendmsg([data], rights, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return False
        except OSError as error:
            self._break(f"the sandbox does not answer: {error.strerror}")
            raise SandboxLost(self.lost or "") from None
        return True

    def _writable(self) -> None:
        while self._unsent:
            data, fds = self._unsent[0]
            try:
                if not self._sent(data, fds):
                    return
            except SandboxLost:
                return  # whoever waits for the answer has been told
            self._unsent.popleft()
            close_all(fds)
        self._loop.remove_writer(self._sock.fileno())

    async def call(
        self, message: dict[str, Any], fds: tuple[int, ...] = (), timeout_s: float = 30.0
    ) -> tuple[dict[str, Any], list[int]]:
        """Send a request and wait for its one answer; the caller owns the descriptors that come with it.

        Raises:
            SandboxLost: The peer is gone or did not answer in time.
        """
        answered: asyncio.Future[tuple[dict[str, Any], list[int]]] = self._loop.create_future()

        def on_answer(answer: dict[str, Any], received: list[int]) -> None:
            if answered.done():
                close_all(received)
            else:
                answered.set_result((answer, received))

        number = self.open(on_answer)
        try:
            self.send({**message, "id": number}, fds)
            async with asyncio.timeout(timeout_s):
                return await answered
        except TimeoutError:
            raise SandboxLost(f"no answer within {timeout_s:g} s") from None
        finally:
            self.close_request(number)

    def post(self, message: dict[str, Any]) -> None:
        """Send a request without waiting: what is sent after it is done after it. A refusal breaks the channel.

        Raises:
            SandboxLost: As `send`.
        """

        def on_answer(answer: dict[str, Any], fds: list[int]) -> None:
            close_all(fds)
            self.close_request(number)
            if "errno" in answer:
                self._break(f"the sandbox refused {message['op']}: {answer.get('why')}")

        number = self.open(on_answer)
        self.send({**message, "id": number})

    def close(self) -> None:
        """Close our end; waiting requests are answered with a loss."""
        self._break("closed")

    def _readable(self) -> None:
        while self.lost is None:
            try:
                data, ancillary, flags, _ = self._sock.recvmsg(
                    MAX_FRAME + 1, socket.CMSG_SPACE(MAX_FDS * 4), socket.MSG_CMSG_CLOEXEC
                )
            except BlockingIOError:
                return
            except OSError as error:
                self._break(f"the connection failed: {error.strerror}")
                return
            fds = _passed(ancillary)
            if not data or flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
                close_all(fds)
                self._break(
                    "the sandbox is gone" if not data else "the sandbox sent a frame that is too long"
                )
                return
            self._deliver(data, fds)

    def _deliver(self, data: bytes, fds: list[int]) -> None:
        try:
            message = _decode(data)
        except (msgspec.MsgspecError, RecursionError):
            close_all(fds)
            self._break("the sandbox sent a frame that is not valid")
            return
        number = message.get("id")
        if number is None or (isinstance(number, int) and number <= 0):
            close_all(fds)
            self._on_event(message)
            return
        on_answer = self._waiting.get(number) if isinstance(number, int) else None
        if on_answer is None:
            close_all(fds)  # late: its request was given up
            return
        on_answer(message, fds)

    def _break(self, why: str) -> None:
        if self.lost is not None:
            return
        self.lost = why
        self._loop.remove_reader(self._sock.fileno())
        self._loop.remove_writer(self._sock.fileno())
        self._sock.close()
        for _, fds in self._unsent:
            close_all(fds)
        self._unsent.clear()
        for on_answer in list(self._waiting.values()):
            on_answer({"lost": why}, [])
        self._waiting.clear()
        self._on_lost(why)


_decode = msgspec.json.Decoder(dict[str, Any]).decode


def _passed(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    fds: list[int] = []
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            numbers = array.array("i")
            numbers.frombytes(payload[: len(payload) - len(payload) % numbers.itemsize])
            fds.extend(numbers)
    return fds


def close_all(fds: list[int]) -> None:
    """Close every descriptor; one that is closed already is no error here."""
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)
