"""The egress process: `python -m tidepool.egress --control-fd N [--config-fd N] [--log-fd N]... [--drop-to UID:GID]`.

Reads the configuration, gives up every privilege, and only then touches the network. It never serves as root.
`--read-config` instead prints the configuration blob for `--config-fd`; it holds secrets and goes to a pipe
only.
"""

import argparse
import asyncio
import contextlib
import os
import resource
import socket
import stat
import sys
import threading
import time
from collections.abc import Callable

import anyio

from tidepool.egress import authority, policy
from tidepool.egress.control import ControlServer
from tidepool.egress.dial import Dialer, Outside
from tidepool.egress.forward import Forwarder
from tidepool.egress.host import read_host
from tidepool.egress.indexes import HostIndexes
from tidepool.egress.log import DecisionLog
from tidepool.egress.packages import Packages
from tidepool.egress.proxy import Proxy

_MOST_DEATHS = 10
_DEATHS_WITHIN_S = 60.0


def main(argv: list[str] | None = None) -> int:
    """Runs the process; returns its exit code."""
    args = _arguments(argv)
    if args.read_config:
        return _print_config()
    indexes = _configuration(args.config_fd)
    packages = Packages(indexes)  # reads certificates, as does the next line: while that is still allowed
    forwarder = Forwarder(Dialer(_outside(args)))
    authority.load()
    anyio.run(_load_everything)
    if args.drop_to:
        drop_to(*args.drop_to)
    if 0 in (*os.getresuid(), *os.getresgid()):
        sys.stderr.write(
            "tidepool.egress: refuses to serve as root; start it as another user or give --drop-to\n"
        )
        return 2
    _raise_file_limit()
    proxy = Proxy(packages, forwarder, DecisionLog(args.log_fd or [2]))
    control = socket.socket(fileno=args.control_fd)
    if args.renew_fd is None:
        asyncio.run(_serve(control, proxy, indexes))
        return 0
    renewals = socket.socket(fileno=args.renew_fd)
    return supervise(control, renewals, lambda sock: asyncio.run(_serve(sock, proxy, indexes)))


def supervise(control: socket.socket, renewals: socket.socket, serve: Callable[[socket.socket], None]) -> int:
    """Have a child serve, and another one when it is killed: the engine is sent the other end of a new socket.

    Returns the status of a child that ended by itself, as when the engine hangs up; 1 when they die too often.
    """
    deaths: list[float] = []
    while True:
        alive, tie = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(tie)
            renewals.close()
            threading.Thread(target=_end_with, args=(alive,), daemon=True).start()
            serve(control)
            os._exit(0)
        os.close(alive)
        control.close()
        _, status = os.waitpid(pid, 0)
        os.close(tie)
        if os.WIFEXITED(status):
            return os.WEXITSTATUS(status)
        deaths = [when for when in deaths if when > time.monotonic() - _DEATHS_WITHIN_S] + [time.monotonic()]
        sys.stderr.write(f"tidepool.egress: killed by signal {os.WTERMSIG(status)}\n")
        if len(deaths) > _MOST_DEATHS:
            return 1
        ours, control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            socket.send_fds(renewals, [b"again"], [ours.fileno()])


def _end_with(alive: int) -> None:
    os.read(alive, 1)
    os._exit(1)  # whoever would start another one is gone


def drop_to(uid: int, gid: int) -> None:
    """Becomes an ordinary user for good: all ids, no further groups; the capabilities go with them.

    Raises:
        PermissionError: Not started with the privilege to change ids.
        RuntimeError: The way back is still open.
    """
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    try:
        os.setresuid(-1, 0, -1)
    except PermissionError:
        return
    raise RuntimeError("privileges could not be given up; nothing is served")


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tidepool.egress", description="Package mirror and proxy for sandboxes."
    )
    parser.add_argument("--control-fd", type=int, help="connected SOCK_SEQPACKET socket to the engine")
    parser.add_argument("--renew-fd", type=int, help="where a new control socket is sent after a death")
    parser.add_argument(
        "--config-fd", type=int, help="pipe with the blob of --read-config; read here when absent"
    )
    parser.add_argument(
        "--log-fd", type=int, action="append", help="file for decisions; two of them take turns"
    )
    parser.add_argument("--drop-to", type=_ids, metavar="UID:GID", help="become this user after start")
    parser.add_argument(
        "--read-config", action="store_true", help="print the blob of this host and user, and end"
    )
    parser.add_argument(
        "--open", action="append", default=[], metavar="CIDR", help="private network that sandboxes may reach"
    )
    parser.add_argument(
        "--host",
        action="append",
        default=[],
        metavar="NAME=ADDRESS",
        help="address of a name; may be repeated",
    )
    args = parser.parse_args(argv)
    if args.control_fd is None and not args.read_config:
        parser.error("--control-fd is missing")
    return args


def _outside(args: argparse.Namespace) -> Outside:
    hosts: dict[str, tuple[str, ...]] = {}
    for entry in args.host:
        name, _, address = entry.partition("=")
        host = policy.canonical_host(name)
        hosts[host] = (*hosts.get(host, ()), policy.canonical_host(address))
    return Outside(tuple(policy.parse_network(text) for text in args.open), hosts)


def _ids(text: str) -> tuple[int, int]:
    uid, _, gid = text.partition(":")
    if not (uid.isdecimal() and gid.isdecimal() and int(uid) and int(gid)):
        raise argparse.ArgumentTypeError("must be UID:GID, two numbers above 0")
    return int(uid), int(gid)


def _print_config() -> int:
    if stat.S_ISCHR(os.fstat(1).st_mode):
        sys.stderr.write("tidepool.egress: the blob holds secrets; standard output must be a pipe\n")
        return 2
    sys.stdout.buffer.write(read_host().encode())
    sys.stdout.flush()
    return 0


def _configuration(fd: int | None) -> HostIndexes:
    if fd is None:
        return read_host()
    with os.fdopen(fd, "rb") as pipe:
        return HostIndexes.decode(pipe.read())


async def _load_everything() -> None:
    """Imports what asyncio, anyio and name resolution load at first use: later their files may be out of
    reach."""
    with contextlib.suppress(OSError):  # a host need not know that name
        await asyncio.get_running_loop().getaddrinfo("localhost", 80)
    await asyncio.to_thread("a.b".encode, "idna")
    policy.canonical_host("\u00fc.example")
    async with anyio.create_task_group() as group:
        group.start_soon(anyio.sleep, 0)
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    async with server, await anyio.connect_tcp(*server.sockets[0].getsockname()):
        return


def _raise_file_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _serve(sock: socket.socket, proxy: Proxy, indexes: HostIndexes) -> None:
    await ControlServer(sock, proxy, indexes).run()
    # Everything is closed. An orderly end would still wait for threads that resolve names: up to a minute.
    os._exit(0)


if __name__ == "__main__":
    raise SystemExit(main())
