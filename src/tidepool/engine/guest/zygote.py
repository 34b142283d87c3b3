"""The zygote: one preloaded, single-threaded interpreter per image and dependency layer that forks sandboxes.

Rules of the room: it is itself inside a sandbox (own user, mount, pid, network namespaces, no secrets), because what it
preloads may run code at import. It is pid 1 of its pid namespace, so when it ends, every sandbox it forked ends with
it. It trusts nothing but its control socket (fd 3), whose end means: exit.

The order of one fork: `fork` frame -> child in a new pid namespace -> its pidfd goes to the spawner -> the spawner
puts it into its control group and lets it go -> it builds its mounts and makes its user namespace -> we write its id
maps (only the parent namespace may, user_namespaces(7)) -> it confines itself and serves.
"""

import os
import select
import signal
import socket
import sys
from typing import Any

from tidepool.engine.guest import faults, frames, init, preload, sizes, syscalls

CONTROL_FD = 3
SLICE = 1024
"""Ids of one sandbox: 0 to 1,022 inside, and 65,534."""


def main() -> None:
    """Serve fork requests until the spawner closes the control socket. Never returns."""
    control = socket.socket(fileno=CONTROL_FD)
    first = frames.receive(control)
    if first is None:
        os._exit(0)
    config, fds = first
    faults.arm(str(config.get("fault", "")))
    config["seccomp"] = frames.read_filters(fds[0])[0]
    frames.close_all(fds)
    # setresuid made us undumpable, and then /proc/PID/uid_map of our children would not be ours to write.
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)
    report = preload.preload(list(config["modules"]), pytest=bool(config["pytest"]))
    sizes.machine()
    faults.step("zygote.start.preloaded")
    frames.send(control, {"ev": "ready", **report})
    Zygote(control, config).serve()


class Zygote:
    """The loop: fork on request, write maps when a child asks, reap."""

    def __init__(self, control: socket.socket, config: dict[str, Any]) -> None:
        self._control = control
        self._config = config
        self._own_pid_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        self._unmapped: dict[int, tuple[socket.socket, int, int]] = {}
        """Children that wait for their id maps, by the fd they ask on: socket, pid, slice."""

    def serve(self) -> None:
        """Until the control socket ends; then exit, and the kernel ends the rest of the pid namespace."""
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_read, False)
        os.set_blocking(wake_write, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        poller = select.poll()
        poller.register(self._control, select.POLLIN)
        poller.register(wake_read, select.POLLIN)
        while True:
            for fd, _ in poller.poll():
                if fd == wake_read:
                    os.read(wake_read, 512)
                    _reap()
                elif fd == self._control.fileno():
                    self._on_control(poller)
                else:
                    poller.unregister(fd)
                    self._map(fd)

    def _on_control(self, poller: "select.poll") -> None:
        received = frames.receive(self._control)
        if received is None:
            os._exit(0)
        message, fds = received
        asking = self._fork(message, fds)
        if asking is not None:
            poller.register(asking, select.POLLIN)

    def _fork(self, message: dict[str, Any], fds: list[int]) -> int | None:
        faults.step("zygote.fork.received")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            syscalls.unshare(syscalls.CLONE_NEWPID)
            pid = os.fork()
        except OSError as error:
            frames.close_all(fds)
            frames.send(self._control, {"ev": "failed", "slot": message["slot"], "why": str(error)})
            return None
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            init.become(self._config, message, fds, theirs.detach())
        # unshare(CLONE_NEWPID) may not be repeated before our own children-to-be are back in our own namespace.
        syscalls.setns(self._own_pid_namespace, syscalls.CLONE_NEWPID)
        frames.close_all(fds)
        theirs.close()
        pidfd = os.pidfd_open(pid)
        faults.step("zygote.fork.done")
        frames.send(self._control, {"ev": "forked", "slot": message["slot"]}, (pidfd,))
        faults.step("zygote.fork.told")
        os.close(pidfd)
        self._unmapped[ours.fileno()] = (ours, pid, int(message["slice"]))
        return ours.fileno()

    def _map(self, fd: int) -> None:
        sock, pid, slice_number = self._unmapped.pop(fd)
        with sock:
            if sock.recv(1) != b"m":
                return  # the child died before it asked
            first = slice_number * SLICE
            text = f"0 {first} {SLICE - 1}\n65534 {first + SLICE - 1} 1"
            for file in ("uid_map", "gid_map"):
                map_fd = os.open(f"/proc/{pid}/{file}", os.O_WRONLY | os.O_CLOEXEC)
                try:
                    os.write(map_fd, text.encode())
                finally:
                    os.close(map_fd)
            faults.step("zygote.map.written")
            sock.send(b"k")


def _reap() -> None:
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return


if __name__ == "__main__":
    sys.exit("the zygote is started by the spawner")
