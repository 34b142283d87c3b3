"""How tables and small quantities are written for a person. Pure: nothing here prints, asks or waits."""

from collections.abc import Sequence
from datetime import datetime

_AGES = ((86400, "d"), (3600, "h"), (60, "m"))
_SIZES = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Left-aligned columns, two spaces apart, a line each; control characters in cells are made visible."""
    lines = [list(header), *([_inert(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    padded = (
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines
    )
    return "\n".join(line.rstrip() for line in padded)


def _inert(cell: str) -> str:
    """Names and labels come from users: no escape sequence may reach the terminal."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in cell)


def age(since: datetime, now: datetime) -> str:
    """How long ago, in its largest whole unit: 5s, 3m, 2h, 4d."""
    seconds = max(0, int((now - since).total_seconds()))
    for unit, letter in _AGES:
        if seconds >= unit:
            return f"{seconds // unit}{letter}"
    return f"{seconds}s"


def size(count: int) -> str:
    """Bytes in the largest unit that keeps at least one: 512MiB, 1GiB, 1.5GiB."""
    for unit, name in _SIZES:
        if count >= unit:
            return f"{round(count / unit, 1):g}{name}"
    return f"{count}B"
