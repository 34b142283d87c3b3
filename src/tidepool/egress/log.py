"""The log of decisions: JSON lines, in two files that take turns, so that no sandbox can fill the disk with it.

Records are flat and hold no secrets: that is for the caller to see to.
"""

import os
from collections.abc import Mapping, Sequence

import msgspec

MAX_LOG_BYTES = 32 << 20
"""Of each file; the newest 32 MiB of lines at least are always kept."""


class DecisionLog:
    """Writes to one of the files until it is full, then empties the other and goes on there.

    Args:
        fds: One descriptor that is only written to, or two of regular files opened for appending.
        max_bytes: Of each of two files.
    """

    def __init__(self, fds: Sequence[int], max_bytes: int = MAX_LOG_BYTES) -> None:
        self._max_bytes = max_bytes
        sizes = [os.fstat(fd).st_size for fd in fds]
        # Where the last process stopped: a file that is not yet full, the fuller one of two.
        self._fds = [fd for _, fd in sorted(zip(sizes, fds, strict=True), key=lambda pair: -pair[0])]
        self._size = max(sizes)

    def __call__(self, record: Mapping[str, object]) -> None:
        """Writes one record as one line."""
        line = msgspec.json.encode(record) + b"\n"
        if len(self._fds) == 2 and self._size + len(line) > self._max_bytes:
            self._fds.reverse()
            os.ftruncate(self._fds[0], 0)
            self._size = 0
        self._size += os.write(self._fds[0], line)
