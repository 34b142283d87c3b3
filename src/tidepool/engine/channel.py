"""Requests and answers over a SOCK_SEQPACKET socket, from the event loop: to the spawner and to each sandbox's init.

What comes from a sandbox is not trusted: frames are bounded and decoded strictly; an answer to a request that was never
made, more answers than requests, a frame that does not fit or a descriptor of anything but a file breaks the channel;
one that sends without end gets its turn like the others; and every wait has a deadline.
"""

import array
import asyncio
import contextlib
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from tidepool.engine.errors import SandboxLost
from tidepool.engine.guest.frames import MAX_FDS, MAX_FRAME
from tidepool.engine.kernel import strays

_POST_AFTER_S = 0.001
"""How long what nobody waits for may lie."""
_MAX_UNSENT = 1000
"""Frames a peer may be behind before it counts as gone; each request has its own deadline besides."""
_TURN = 32
"""Frames that are read before others get their turn."""
_SURPLUS = 1000
"""Frames that a sandbox may send beyond two for each request: what is asked for once, and late, is fine."""
_UNTIL_DEAD_S = 3.0
"""After which a sandbox whose channel broke is dead: it is killed at once."""


class Channel:
    """One peer. `call` is for one answer; `open` and `close_request` for requests that are answered more than once."""

    def __init__(
        self,
        sock: socket.socket,
        on_event: Callable[[dict[str, Any]], None],
        on_lost: Callable[[str], None],
        trusted: bool = False,
    ) -> None:
        self._sock = sock
        self._trusted = trusted
        """Whether the peer is ours: then it may pass any descriptor, and send events without end."""
        self._received = 0
        self._loop = asyncio.get_running_loop()
        self._on_event = on_event
        self._on_lost = on_lost
        self._waiting: dict[int, Callable[[dict[str, Any], list[int]], None]] = {}
        self._next = 1
        self._unsent: deque[tuple[bytes, list[int]]] = deque()
        """Frames that found the peer's buffer full, with descriptors of their own."""
        self._posted: list[dict[str, Any]] = []
        """What nobody waits for and has not been sent yet."""
        self.lost: str | None = None
        """Why the channel is broken; None while it works."""
        self.on_misconduct: Callable[[str], None] | None = None
        """Called besides `on_lost` where the peer broke the protocol: nothing else ends its processes."""
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
        """Send one frame, after what was posted before it.

        Raises:
            SandboxLost: The peer is gone, or does not read what it is sent.
        """
        if self._posted:
            self._send_posted()
        if self.lost is not None:
            raise SandboxLost(self.lost)
        data = msgspec.json.encode(message)
        if not self._unsent and self._sent(data, fds):
            return
        if len(self._unsent) >= _MAX_UNSENT:
            self._expel(f"the sandbox has not read {_MAX_UNSENT} frames")
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
        except (TimeoutError, asyncio.CancelledError) as error:
            if answered.done() and not answered.cancelled():
                close_all(answered.result()[1])  # it came as we were told to give up
            if isinstance(error, TimeoutError):
                raise SandboxLost(f"no answer within {timeout_s:g} s") from None
            raise
        finally:
            self.close_request(number)

    def answer_all(self, last: int, answer: dict[str, Any]) -> None:
        """Answer every request up to number `last` that still waits: its peer was replaced and will not."""
        for number in [number for number in self._waiting if number <= last]:
            self._waiting[number](dict(answer), [])

    def post(self, message: dict[str, Any]) -> None:
        """Send a request soon, without waiting: what is sent after it is done after it. A refusal breaks the channel.

        Not at once: the peer would wake and take the processor from whoever has something to answer now.

        Raises:
            SandboxLost: The peer is gone.
        """
        if self.lost is not None:
            raise SandboxLost(self.lost)

        def on_answer(answer: dict[str, Any], fds: list[int]) -> None:
            close_all(fds)
            self.close_request(number)
            if "errno" in answer:
                self._break(f"the sandbox refused {message['op']}: {answer.get('why')}")

        number = self.open(on_answer)
        if not self._posted:
            self._loop.call_later(_POST_AFTER_S, self._send_posted)
        self._posted.append({**message, "id": number})

    def _send_posted(self) -> None:
        posted, self._posted = self._posted, []
        for message in posted:
            with contextlib.suppress(SandboxLost):  # whoever waits for something has been told
                self.send(message)

    def close(self) -> None:
        """Close our end; waiting requests are answered with a loss."""
        self._break("closed")

    def _readable(self) -> None:
        for _ in range(_TURN):
            if self.lost is not None or not self._receive():
                return

    def _receive(self) -> bool:
        """Take one frame in; False when there is none."""
        try:
            data, ancillary, flags, _ = self._sock.recvmsg(
                MAX_FRAME + 1, socket.CMSG_SPACE(MAX_FDS * 4), socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return False
        except OSError as error:
            self._break(f"the connection failed: {error.strerror}")
            return False
        fds = strays.passed(ancillary)
        if not data:
            self._break("the sandbox is gone", fds)
            return False
        if why := self._objection(flags, fds):
            self._expel(why, fds)
            return False
        self._received += 1
        self._deliver(data, fds)
        return True

    def _objection(self, flags: int, fds: list[int]) -> str:
        """Why a frame ends it all; empty for one that does not."""
        if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
            return "the sandbox sent a frame that is too long"
        if self._trusted:
            return ""
        if self._received > 2 * self._next + _SURPLUS:
            return "the sandbox sent more than it was asked for"
        return "" if all(map(strays.is_plain, fds)) else "the sandbox passed something that is no file"

    def _deliver(self, data: bytes, fds: list[int]) -> None:
        try:
            message = _decode(data)
        except (msgspec.MsgspecError, RecursionError, ValueError):  # ValueError: thousands of digits
            self._expel("the sandbox sent a frame that is not valid", fds)
            return
        number = message.get("id")
        if isinstance(number, int) and number >= self._next and not self._trusted:
            self._expel("the sandbox answered what it was not asked", fds)
            return
        if number is None or (isinstance(number, int) and number <= 0):
            close_all(fds)
            self._on_event(message)
            return
        on_answer = self._waiting.get(number) if isinstance(number, int) else None
        if on_answer is None:
            close_all(fds)  # late: its request was given up
            return
        on_answer(message, fds)

    def _expel(self, why: str, fds: Sequence[int] = ()) -> None:
        self._break(why, fds)
        if self.on_misconduct is not None:
            self.on_misconduct(why)

    def _break(self, why: str, fds: Sequence[int] = ()) -> None:
        """End it; `fds` are descriptors that came with what broke it."""
        if self.lost is not None:
            return
        self.lost = why
        self._loop.remove_reader(self._sock.fileno())
        self._loop.remove_writer(self._sock.fileno())
        unread = [*fds, *strays.drain(self._sock)]
        self._sock.close()
        if all(map(strays.is_plain, unread)):
            close_all(unread)
        else:  # closing one could wait
            threading.Thread(target=_shed_later, args=(unread,), name="shed", daemon=True).start()
        for _, fds in self._unsent:
            close_all(fds)
        self._unsent.clear()
        for on_answer in list(self._waiting.values()):
            on_answer({"lost": why}, [])
        self._waiting.clear()
        self._on_lost(why)


_decode = msgspec.json.Decoder(dict[str, Any]).decode


def _shed_later(fds: list[int]) -> None:
    time.sleep(_UNTIL_DEAD_S)
    strays.shed(fds)


def close_all(fds: list[int]) -> None:
    """Close every descriptor; one that is closed already is no error here."""
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)
