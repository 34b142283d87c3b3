"""What a spawner leaves to the guardian in case it is killed: whose disk is whose, and how far it had come.

A record is a symbolic link in the work area, which shows whole or not at all and costs microseconds; it is made before
anything of its sandbox runs and taken away after everything of it was removed. Two numbers are in shared memory.
"""

import contextlib
import mmap
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

_DIRECTORY = "k"
_NEW = f"{_DIRECTORY}/~"
_NUMBERS = struct.Struct("<QQ")


@dataclass(frozen=True)
class Record:
    """One sandbox."""

    slot: int
    first_id: int
    """First host id of its slice."""
    name: str
    """Name under which its files are to be saved; empty: they are not."""


@dataclass
class Journal:
    """The records of one work area, which is the current directory, and the numbers."""

    _shared: mmap.mmap = field(default_factory=lambda: mmap.mmap(-1, mmap.PAGESIZE))

    @classmethod
    def create(cls) -> "Journal":
        """An empty one."""
        os.mkdir(_DIRECTORY, 0o700)
        return cls()

    def number(self) -> int:
        """A number for a zygote or a sandbox; no spawner of one engine gives it twice."""
        number, request = _NUMBERS.unpack_from(self._shared)
        _NUMBERS.pack_into(self._shared, 0, number + 1, request)
        return int(number) + 1

    def received(self, request: int) -> None:
        """Note that a request was taken from the engine's socket."""
        number, before = _NUMBERS.unpack_from(self._shared)
        _NUMBERS.pack_into(self._shared, 0, number, max(before, request))

    @property
    def last_request(self) -> int:
        """The newest request that was taken from the engine's socket."""
        return int(_NUMBERS.unpack_from(self._shared)[1])

    def write(self, record: Record) -> None:
        """Insert or replace."""
        text = f"{record.first_id}:{record.name}"
        try:
            os.symlink(text, _NEW)
        except FileExistsError:  # of a spawner that was killed here
            os.unlink(_NEW)
            os.symlink(text, _NEW)
        os.rename(_NEW, f"{_DIRECTORY}/{record.slot}")

    def keep(self, slot: int, name: str) -> None:
        """Have a sandbox's files saved under another name, or with an empty one not."""
        self.write(replace(self._read(slot), name=name))

    def remove(self, slot: int) -> None:
        """Forget a sandbox; no error when it is not there."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{_DIRECTORY}/{slot}")

    def records(self) -> Iterator[Record]:
        """Every sandbox there was."""
        for name in sorted(os.listdir(_DIRECTORY)):
            if name.isdecimal():
                yield self._read(int(name))

    def _read(self, slot: int) -> Record:
        first_id, _, name = os.readlink(f"{_DIRECTORY}/{slot}").partition(":")
        return Record(slot, int(first_id), name)

    def clear(self) -> None:
        """Forget every sandbox."""
        for name in os.listdir(_DIRECTORY):
            os.unlink(f"{_DIRECTORY}/{name}")
