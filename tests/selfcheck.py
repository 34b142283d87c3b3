"""What every isolation must do, by name: a program in a sandbox of it, and how its run must end.

The same table is run for each isolation (tests/engine/test_isolation.py). A behaviour that differs between them by
their nature is not in it.
"""

from collections.abc import Callable
from dataclasses import dataclass

from tidepool.engine import ExecResult


@dataclass(frozen=True)
class Behaviour:
    """One shell text, and what is true of its result."""

    script: str
    holds: Callable[[ExecResult], bool]
    timeout_s: float = 20.0


def says(text: bytes) -> Callable[[ExecResult], bool]:
    """It exits with 0 and prints just this."""
    return lambda result: result.exit_code == 0 and result.stdout == text


BEHAVIOURS = {
    "exit codes": Behaviour("exit 42", lambda result: result.exit_code == 42),
    "streams are apart": Behaviour(
        "echo a; echo b >&2", lambda result: (result.stdout, result.stderr) == (b"a\n", b"b\n")
    ),
    "signals": Behaviour("kill -SEGV $$", lambda result: (result.exit_code, result.verdict) == (139, "signaled")),
    "a program that is missing": Behaviour("no-such-program", lambda result: result.exit_code == 127),
    "an ordinary user": Behaviour("id -u", says(b"1000\n")),
    "home is the work directory": Behaviour("pwd", says(b"/home/daytona\n")),
    "a deadline": Behaviour("sleep 60", lambda result: result.verdict == "timed_out", 1.0),
    "a deadline ends daemons": Behaviour(
        "setsid sh -c 'trap : TERM HUP; sleep 61 & wait' >/dev/null 2>&1 & sleep 60",
        lambda result: result.verdict == "timed_out",
        1.0,
    ),
    "nothing of that is left": Behaviour("ps -ef | grep -c '[s]leep 6'", lambda result: result.stdout == b"0\n"),
    "the image is read-only for its user": Behaviour(
        "touch /usr/x || touch /etc/x || touch /x", lambda result: result.exit_code != 0
    ),
    "home and tmp are writable": Behaviour("touch /tmp/x x && echo ok", says(b"ok\n")),
    "no processes but its own": Behaviour(
        "echo /proc/[0-9]* | wc -w", lambda result: 2 <= int(result.stdout) < 12
    ),
    "no network": Behaviour(
        "python3 -c 'import socket; socket.create_connection((\"1.1.1.1\", 53), 3)'",
        lambda result: result.exit_code == 1 and b"Error" in result.stderr,
    ),
    "loopback": Behaviour(
        "python3 -c 'import socket; s = socket.create_server((\"127.0.0.1\", 0));"
        " socket.create_connection(s.getsockname()); print(1)'",
        says(b"1\n"),
    ),
    "no mounts": Behaviour("mount -t tmpfs x /mnt", lambda result: result.exit_code != 0),
    "no set-user-id": Behaviour("cp /usr/bin/id i; chmod u+s i; ./i -u", says(b"1000\n")),
    "pipes and files": Behaviour("seq 1000 | sort -n | tail -1 > n; cat n", says(b"1000\n")),
    "unix sockets": Behaviour(
        "python3 -c 'import socket; s = socket.socket(socket.AF_UNIX); s.bind(\"u\"); s.listen();"
        " c = socket.socket(socket.AF_UNIX); c.connect(\"u\"); print(1)'",
        says(b"1\n"),
    ),
    "much output is cut, not lost": Behaviour(
        "head -c 3000000 /dev/zero", lambda result: len(result.stdout) == 3_000_000 and not result.truncated_bytes
    ),
}  # fmt: skip
