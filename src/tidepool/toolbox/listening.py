"""Which TCP ports programs of a sandbox listen on, as the kernel says inside it."""

import re

from tidepool.engine import Command, Sandbox
from tidepool.engine.errors import SandboxLost
from tidepool.engine.pool import PROXY_PORT

TIMEOUT_S = 10.0
_LISTEN = re.compile(rb"^ *[0-9]+: [0-9A-F]+:(?P<port>[0-9A-F]{4}) [0-9A-F:]+ 0A ", re.M)
"""A line of /proc/net/tcp or tcp6 whose state is TCP_LISTEN (proc(5))."""


def parse(table: bytes) -> list[int]:
    """The listening ports in /proc/net/tcp and tcp6, in order, each once."""
    return sorted({int(found["port"], 16) for found in _LISTEN.finditer(table)})


async def listening(sandbox: Sandbox) -> list[int]:
    """Ports on which something inside listens; the one on which this host serves packages is left out.

    Raises:
        WrongState: It is not started.
        SandboxLost: It could not be asked.
    """
    argv = ("cat", "/proc/net/tcp", "/proc/net/tcp6")
    result = await sandbox.exec(Command(argv=argv, timeout_s=TIMEOUT_S))
    if not result.stdout.strip():
        raise SandboxLost(
            f"the sandbox does not say what listens: {result.stderr[-300:].decode('utf-8', 'replace')}"
        )
    return [port for port in parse(result.stdout) if port != PROXY_PORT]
