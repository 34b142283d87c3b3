"""Rows of the table of `sea bench`, and where its data lies. Pure, but for looking whether the data is there."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sea.ingest import BadInput

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
"""Beside the checkout."""


@dataclass(frozen=True)
class Row:
    """One metric on one data set."""

    metric: str
    what: str
    measured: str
    peer: str
    goal: str
    met: bool | None
    """None: there was nothing to measure."""


@dataclass(frozen=True)
class Setting:
    """What a run of the bench was asked for."""

    data: Path
    seed: int = 0
    sample: int = 15
    """Tools that M4 to M6 look at."""
    traces: int = 100_000
    """Traces that M8 mines, after smaller numbers that there are goals for."""

    def file(self, name: str) -> Path:
        """A file of the data by its name, in whichever folder.

        Raises:
            BadInput: It is not there.
        """
        found = sorted(self.data.glob(f"*/{name}"))
        if not found:
            raise BadInput(
                f"{self.data}: there is no {name} below it; name the folder of the data with --data"
            )
        return found[0]


def table(rows: Iterable[Row]) -> str:
    """The rows as text, in columns."""
    head = ("metric", "what", "measured", "floor or peer", "goal", "met")
    lines = [head]
    for row in rows:
        met = {True: "yes", False: "NO", None: "-"}[row.met]
        lines.append((row.metric, row.what, row.measured, row.peer, row.goal, met))
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
