"""Root inside leaves traps in its own system for the runtime and the second server of the next start.

Both start on the zygote's read-only tree, so whatever root has made of its own, what runs in crun is behind filter and
Landlock, and the runtime comes up. In the controls they start from the sandbox's own files, and walk into each trap.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.directories import open_directory
from tests.security.conftest import EngineThread
from tests.tiers import thorough_after
from tidepool.engine import images
from tidepool.engine.errors import TidepoolError

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.needs("user_namespace", "overlayfs", "idmapped_mounts", "seccomp", "landlock", "crun"),
    pytest.mark.skipif(os.geteuid() != 0, reason="without root, root inside cannot replace files of /usr"),
]
GUEST = f"/usr/{images.GUEST}"
UNDO = f"""
rm -rf {GUEST}/__pycache__
echo 'install_seccomp = lambda program: None
restrict_landlock = lambda *_, **more: {{}}' >> {GUEST}/confine.py
"""
INTERPRETER = """
real=$(readlink -f /usr/local/bin/python3)
mv $real $real.real
echo '#!/bin/sh
echo "$(id -u) $(grep Seccomp: /proc/self/status)" >> /tmp/seen
exec '$real'.real "$@"' > $real
chmod 755 $real
"""
LIBRARY = "for file in /usr/lib/*/libyajl.so.2; do rm $file; echo broken > $file; done"
LOOK = "grep -h Seccomp: /proc/self/status; cat /tmp/seen 2>/dev/null || true"
CLOSED = "Seccomp:\t2\n"

SERVER = "    control = socket.socket(fileno=fcntl"
SERVER_INSIDE = f"""    if "AGAIN" not in os.environ:
        os.chroot(_SANDBOX)
        os.chdir("/")
        os.execve(_PYTHON, [_PYTHON, "-I", "-S", "-c", _START], {{"AGAIN": "1"}})
    os.chroot = lambda _: None
{SERVER}"""
RUNTIME = "        _enter(system)\n"
RUNTIME_INSIDE = """        syscalls.mount("/", _SANDBOX, "", syscalls.MS_BIND | syscalls.MS_REC)
        syscalls.mount("runtime", _PLACE, "tmpfs", 0, "size=8m")
"""


@contextmanager
def engine(wall: str = "", without: str = "") -> Iterator[EngineThread]:
    """An engine of its own, in whose sandboxes a line of `guest.oci` is another."""
    with open_directory("tidepool-second-wall-") as place:
        guest = images.compose(place / "state").usr[0] / images.GUEST
        text = (guest / "oci.py").read_text()
        assert wall in text, "the wall that is to be taken down is called otherwise now"
        shutil.rmtree(guest / "__pycache__")
        (guest / "oci.py").write_text(text.replace(wall, without))
        thread = EngineThread(place / "state", place / "run", pool_size=0)
        try:
            yield thread
        finally:
            thread.close()


def seen_after(host: EngineThread, trap: str) -> str:
    """What root inside finds in a sandbox that was stopped and started again with a trap laid."""
    box = host.sandbox(isolation="crun", user="root")
    assert host.shell(box, LOOK).stdout.decode() == CLOSED
    laid = host.shell(box, trap)
    assert (laid.exit_code, laid.stderr) == (0, b""), laid
    host.run(host.engine.stop(box))
    host.run(host.engine.start_again(box))
    found = host.shell(box, LOOK).stdout.decode()
    host.run(host.engine.delete(box))
    return found


@pytest.mark.parametrize(
    "trap", thorough_after(1, [UNDO, INTERPRETER, LIBRARY]), ids=["server", "interpreter", "library"]
)
def test_root_inside_takes_neither_runtime_nor_server_from_the_next_start(trap: str) -> None:
    with engine() as host:
        assert seen_after(host, trap) == CLOSED


@pytest.mark.parametrize(
    ("trap", "found"),
    [(UNDO, "Seccomp:\t0\n"), (INTERPRETER, f"{CLOSED}0 Seccomp:\t0\n")],
    ids=["server", "interpreter"],
)
def test_a_server_from_the_sandbox_would_walk_into_the_trap(trap: str, found: str) -> None:
    with engine(SERVER, SERVER_INSIDE) as host:
        assert seen_after(host, trap) == found


def test_a_runtime_on_the_sandbox_s_tree_would_load_its_library_from_there() -> None:
    with engine(RUNTIME, RUNTIME_INSIDE) as host, pytest.raises(TidepoolError, match=r"crun: .*libyajl"):
        seen_after(host, LIBRARY)
