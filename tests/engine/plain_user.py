"""A program run as an ordinary user with subordinate ids: `python -m tests.engine.plain_user FIRST:COUNT ARGV...`.

Root becomes that user in a private mount namespace, where the user has a line in /etc/passwd and its kind; the host's
own files are not touched. Whoever is no root already is an ordinary user, and stays it.
"""

import os
import sys
import tempfile
from pathlib import Path

from tidepool.engine.guest import syscalls

NAME = "tidepool-plain"
UID = 424_242
FIRST_ID = 1_200_000_000
COUNT = 65_536
"""As useradd(8) gives to each user."""


def lines(first: int, count: int) -> dict[str, str]:
    """What the user has in each file."""
    ids = f"{NAME}:{first}:{count}\n" if count else ""
    return {
        "/etc/passwd": f"{NAME}:x:{UID}:{UID}::/nonexistent:/bin/sh\n",
        "/etc/group": f"{NAME}:x:{UID}:\n",
        "/etc/subuid": ids,
        "/etc/subgid": ids,
    }


def command(*argv: str, first: int = FIRST_ID, count: int = COUNT) -> list[str]:
    """What runs a program as that user, from the project's root."""
    return [sys.executable, "-m", "tests.engine.plain_user", f"{first}:{count}", *argv]


def main(argv: list[str], first: int, count: int) -> None:
    """Become the user and run a program; never returns."""
    if os.geteuid() == 0:
        syscalls.unshare(syscalls.CLONE_NEWNS)
        syscalls.mount("", "/", "", syscalls.MS_REC | syscalls.MS_PRIVATE)
        with tempfile.TemporaryDirectory(prefix="tp-plain-") as place:
            for path, text in lines(first, count).items():
                _add(Path(path), text, Path(place))
            _let_through(Path(sys.base_prefix), Path(place))
            # Only the mounts are needed from here on, and they keep their files.
        os.setgroups([])
        os.setresgid(UID, UID, UID)
        os.setresuid(UID, UID, UID)
    os.execv(argv[0], argv)


def _add(path: Path, text: str, place: Path) -> None:
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: the package uidmap is not installed")
    mine = place / path.name
    mine.write_text(path.read_text() + text)
    mine.chmod(0o644)
    syscalls.mount(str(mine), str(path), "", syscalls.MS_BIND)


def _let_through(prefix: Path, place: Path) -> None:
    """Let the user reach the interpreter, where it stands below a directory that is closed to others."""
    closed = next((one for one in reversed(prefix.parents) if not one.stat().st_mode & 0o001), None)
    if closed is None:
        return
    interpreter = syscalls.open_tree(str(prefix))
    syscalls.mount("plain", str(closed), "tmpfs", 0, "mode=0755")
    prefix.mkdir(parents=True)
    syscalls.move_mount(interpreter, str(prefix))
    os.close(interpreter)


if __name__ == "__main__":
    main(sys.argv[2:], *(int(word) for word in sys.argv[1].split(":")))
