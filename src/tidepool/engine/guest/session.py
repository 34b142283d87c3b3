"""The driver of a session: one shell in which commands run one after the other, each with pipes of its own.

Requests come as lines of JSON on stdin: `{"id": 1, "command": "...", "input": true}` and `{"id": 1, "give": "..."}`.
Answers are frames on stdout, `HEADER` and payload. What a command left running goes on being its output when the next
one has begun. Only a shell is needed of the image, and nothing the shell is told stands in its way.
"""

import json
import os
import select
import signal
import struct
import traceback
from collections import deque
from collections.abc import Callable
from typing import Any, NoReturn

HEADER = struct.Struct(">cII")
"""Kind, number of the command, length of the payload; where there is none, the exit code."""
OUT, ERR, CODE, END = b"o", b"e", b"x", b"z"
"""What it wrote; that it has ended; that the shell has, and with it the command that ran."""
_CHUNK = 1 << 16
_AT_THE_END = 64
"""Chunks read of a stream when its command ends: what else goes on writing is not waited for."""


def run() -> NoReturn:
    """Serve until stdin ends."""
    try:
        _Driver().serve()
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(0)


class _Driver:
    def __init__(self) -> None:
        self._sources: dict[int, Callable[[bytes], None]] = {}
        """What is done with what is read from each descriptor, b"" at its end."""
        self._unwritten: dict[int, bytes] = {}
        self._waiting: deque[dict[str, Any]] = deque()
        self._given: dict[int, bytes] = {}
        """Input for commands that have not begun."""
        self._running: _Command | None = None
        self._lines = self._codes = b""
        codes, self._tell = os.pipe()
        wake, woken = os.pipe()
        for fd in (codes, wake, woken, 0):
            os.set_blocking(fd, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
        self._sources.update({codes: self._on_codes, wake: self._on_child, 0: self._on_requests})
        self._read_codes = codes
        self._pid, self._shell = _start_shell()

    def serve(self) -> None:
        """Until nothing is asked for any more."""
        while 0 in self._sources:
            poller = select.poll()
            for fd in self._sources:
                poller.register(fd, select.POLLIN)
            for fd in self._unwritten:
                poller.register(fd, select.POLLOUT)
            for fd, _ in poller.poll():
                if fd in self._unwritten:
                    self._write(fd)
                elif fd in self._sources:
                    self._read(fd, 1)

    def _read(self, fd: int, times: int) -> None:
        while times and fd in self._sources:
            times -= 1
            try:
                data = os.read(fd, _CHUNK)
            except BlockingIOError:
                return
            use = self._sources[fd] if data else self._sources.pop(fd)
            if not data:
                os.close(fd)
            use(data)

    def _write(self, fd: int) -> None:
        try:
            rest = self._unwritten[fd][os.write(fd, self._unwritten[fd]) :]
        except BlockingIOError:
            return
        except BrokenPipeError:  # it reads no more: its end is told by other means
            rest = b""
        self._unwritten[fd] = rest
        if not rest:
            del self._unwritten[fd]

    def _send(self, fd: int, data: bytes) -> None:
        self._unwritten[fd] = self._unwritten.get(fd, b"") + data

    def _on_requests(self, data: bytes) -> None:
        *lines, self._lines = (self._lines + data).split(b"\n")
        for line in lines:
            request = json.loads(line)
            if "command" in request:
                self._waiting.append(request)
                self._begin()
            else:
                self._give(request["id"], request["give"].encode("utf-8", "replace"))

    def _give(self, number: int, data: bytes) -> None:
        if self._running is not None and self._running.number == number:
            if self._running.feed >= 0:
                self._send(self._running.feed, data)
        elif any(request["id"] == number for request in self._waiting):
            self._given[number] = self._given.get(number, b"") + data

    def _begin(self) -> None:
        if self._running is not None or not self._waiting:
            return
        request = self._waiting.popleft()
        self._running = command = _Command(request["id"], bool(request["input"]))
        for kind, fd in command.outputs.items():
            os.set_blocking(fd, False)
            self._sources[fd] = self._forwarder(kind, command.number)
        if command.feed >= 0:
            os.set_blocking(command.feed, False)
            self._send(command.feed, self._given.pop(command.number, b""))
        self._send(self._shell, command.line(request["command"], self._tell))

    def _forwarder(self, kind: bytes, number: int) -> Callable[[bytes], None]:
        def forward(data: bytes) -> None:
            if data:
                _say(kind, number, len(data), data)

        return forward

    def _on_codes(self, data: bytes) -> None:
        *lines, self._codes = (self._codes + data).split(b"\n")
        for line in filter(bytes.isdigit, lines):  # a command can find this pipe
            self._finish(int(line) & 0xFF)
            self._begin()

    def _finish(self, code: int, kind: bytes = CODE) -> None:
        command, self._running = self._running, None
        if command is not None:
            for fd in command.outputs.values():
                self._read(fd, _AT_THE_END)
            self._unwritten.pop(command.feed, None)
            command.close()
        if command is not None or kind == END:
            _say(kind, command.number if command is not None else 0, code)

    def _on_child(self, _: bytes) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == self._pid:
                self._read(self._read_codes, 1)  # what it said before
                code = os.waitstatus_to_exitcode(status)
                code = code if code >= 0 else 128 - code
                self._finish(code, END)
            if pid == 0:
                return


class _Command:
    """One command's pipes, which the shell opens by the names they have in /proc."""

    def __init__(self, number: int, takes_input: bool) -> None:
        self.number = number
        out, err = os.pipe(), os.pipe()
        self.outputs = {OUT: out[0], ERR: err[0]}
        """Stay open as long as anybody writes to them."""
        self._own = [out[1], err[1]]
        self._stdin, self.feed = -1, -1
        if takes_input:
            self._stdin, self.feed = os.pipe()
            self._own += [self._stdin, self.feed]

    def line(self, text: str, tell: int) -> bytes:
        """What the shell reads: the command, and then its exit code, told out of reach of what it was redirected to.

        `command` keeps a syntax error from ending a shell that is not bash.
        """
        stdin = "/dev/null" if self._stdin < 0 else _name(self._stdin)
        quoted = "'" + text.replace("'", "'\\''") + "'"
        return (
            f"command eval {quoted} <{stdin} >{_name(self._own[0])} 2>{_name(self._own[1])}\n"
            f"command printf '%s\\n' \"$?\" >{_name(tell)}\n"
        ).encode("utf-8", "replace")

    def close(self) -> None:
        """It has ended."""
        for fd in self._own:
            os.close(fd)


def _name(fd: int) -> str:
    return f"/proc/{os.getpid()}/fd/{fd}"


def _say(kind: bytes, number: int, value: int, data: bytes = b"") -> None:
    view = memoryview(HEADER.pack(kind, number, value) + data)
    while view:
        view = view[os.write(1, view) :]


def _start_shell() -> tuple[int, int]:
    """Its pid, and where it reads from."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.setsid()
            os.dup2(read, 0)
            os.dup2(os.open("/dev/null", os.O_WRONLY), 1)
            for name in ("bash", "sh"):
                try:
                    os.execvp(name, [name])
                except FileNotFoundError:
                    continue
        finally:
            os.write(2, b"this sandbox has no shell\n")
            os._exit(127)
    os.close(read)
    os.set_blocking(write, False)
    return pid, write
