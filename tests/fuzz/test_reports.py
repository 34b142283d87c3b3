"""Invariant: whatever a zygote sends, the spawner gets a report of one of three kinds, or NotFitting; a descriptor is
a pidfd that goes with a fork, or is among those kept for later; nothing is longer than the engine takes.
"""

import array
import os
import socket

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.fuzzing import examples, near
from tidepool.engine.guest import frames
from tidepool.engine.kernel import strays
from tidepool.engine.spawner import reports

GOOD = (
    b'{"ev":"ready","loaded":200,"failed":{"x":"ImportError: y"},"refused":"","seconds":0.5}',
    b'{"ev":"forked","slot":7}',
    b'{"ev":"failed","slot":7,"why":"errno 11"}',
    b'{"ev":"failed","slot":7,"why":"\\ud800"}',
    b'{"ev":"ready","loaded":1,"refused":"","failed":{"x":"' + b"\\u0001" * 10_000 + b'"}}',
)
KINDS = {
    "pidfd": lambda: os.pidfd_open(os.getpid()),
    "null": lambda: os.open("/dev/null", os.O_RDONLY),
    "socket": lambda: socket.socket().detach(),
}


@examples(200)
@given(near(*GOOD), st.lists(st.sampled_from(sorted(KINDS)), max_size=3))
def test_what_a_zygote_says(data: bytes, kinds: list[str]) -> None:
    before = len(os.listdir("/proc/self/fd"))
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    kept: list[int] = []
    with ours, theirs:
        fds = [KINDS[kind]() for kind in kinds]
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        theirs.sendmsg([data or b" "], rights)
        frames.close_all(fds)
        try:
            found = reports.receive(ours, kept)
        except reports.NotFitting:
            found = None
        if found is not None:
            report, fd = found
            assert (fd >= 0) is isinstance(report, reports.Forked)
            assert len(msgspec.json.encode({"id": 1, "preload": report})) < frames.MAX_FRAME
            frames.close_all([fd] if fd >= 0 else [])
        kept += strays.drain(ours)
    strays.shed(kept)
    assert len(os.listdir("/proc/self/fd")) == before
