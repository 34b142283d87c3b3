"""A run with a terminal: a pseudo terminal of the sandbox's own, and the process that stands between it and the host.

The host only ever has pipes: what is typed and shown goes through them, sizes through a third. The master never leaves
the sandbox, so nothing that is done to it inside can make the host wait. The process in between is the run's leader and
ends as the program at the terminal does.
"""

import fcntl
import os
import select
import signal
import struct
import termios
from typing import NoReturn

SIZE = struct.Struct("=HHHH")
"""struct winsize: rows, columns, and pixels that nobody knows; what is read from the descriptor for sizes."""
_INPUT, _OUTPUT, _SIZES = 0, 1, 3
_CHUNK = 1 << 16


def enter(size: bytes, note: int) -> None:
    """Return in a child that has a terminal of this size as its controlling one, its input and its outputs.

    The caller becomes the process in between and never returns: descriptors 0, 1 and 3 are its pipes.

    Raises:
        OSError: There are no more terminals or processes.
    """
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, size)
    pid = os.fork()
    if pid == 0:
        os.close(master)
        os.close(_SIZES)
        os.login_tty(slave)  # closes it too
        return
    try:
        os.close(slave)
        os.close(note)
        _Between(master).carry()
        _end_like(pid)
    finally:
        os._exit(1)  # never back into init's own loop


class _Between:
    """Carries bytes both ways, each no faster than they are taken."""

    def __init__(self, master: int) -> None:
        self._master = master
        self._typed = self._shown = b""
        self._sources = {_INPUT, _SIZES, master}
        for fd in (*self._sources, _OUTPUT):
            os.set_blocking(fd, False)
        signal.signal(signal.SIGINT, lambda *_: self._interrupt())

    def carry(self) -> None:
        """Until nobody has the terminal open any more and all that was shown is taken."""
        while self._master in self._sources or self._shown:
            for fd, events in self._poll():
                if fd == _OUTPUT:
                    self._shown = self._write(fd, self._shown)
                elif fd == self._master and events & select.POLLOUT:
                    self._typed = self._write(fd, self._typed)
                elif fd in self._sources:
                    self._take(fd)

    def _poll(self) -> list[tuple[int, int]]:
        poller = select.poll()
        for fd in self._sources:
            if not (self._typed if fd == _INPUT else self._shown if fd == self._master else b""):
                poller.register(fd, select.POLLIN)
        if self._shown:
            poller.register(_OUTPUT, select.POLLOUT)
        if self._typed and self._master in self._sources:
            wanted = select.POLLOUT if self._shown else select.POLLIN | select.POLLOUT
            poller.register(self._master, wanted)
        return poller.poll()

    def _take(self, fd: int) -> None:
        try:
            data = os.read(fd, SIZE.size if fd == _SIZES else _CHUNK)
        except BlockingIOError:
            return
        except OSError:  # EIO: the last who had the terminal open has closed it
            data = b""
        if not data:
            self._sources.discard(fd)
        elif fd == _INPUT:
            self._typed = data
        elif fd == self._master:
            self._shown += data
        elif len(data) == SIZE.size:
            fcntl.ioctl(self._master, termios.TIOCSWINSZ, data)

    def _write(self, fd: int, data: bytes) -> bytes:
        """What could not be written yet."""
        try:
            return data[os.write(fd, data) :]
        except BlockingIOError:
            return data
        except OSError:  # EIO: nobody will read what was typed
            return b""

    def _interrupt(self) -> None:
        """SIGINT to us is meant for what runs in the foreground."""
        try:
            os.killpg(os.tcgetpgrp(self._master), signal.SIGINT)
        except OSError:
            return  # it has just ended


def _end_like(pid: int) -> NoReturn:
    """Wait for it, then end as it did."""
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code < 0:
        if code not in (-signal.SIGKILL, -signal.SIGSTOP):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code & 0xFF if code >= 0 else 128 - code)
