"""What an evolution is to do, and what became of it, stage by stage. Plain records; nothing is decided here."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from sea import verify
from sea.model import Model
from sea.patterns import Pattern, Source
from sea.trace import Intake

Say = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """What one evolution is to do; what it finds follows from these, from the traces, and from a model's answers."""

    seed: int = 0
    min_support: int = 3
    """Distinct tasks in which a region must recur."""
    limit: int | None = None
    """Traces that are read at most; None: all."""
    model: Model | None = None
    """Asked for names, and for other code where a gate turns a tool away; None: nobody is."""


@dataclass
class Funnel:
    """What happened, stage by stage."""

    intake: Intake
    programs: int = 0
    patterns: list[Pattern] = field(default_factory=list)
    idle: Counter[str] = field(default_factory=Counter)
    """Why patterns would make tools that do nothing of their own, and how many of them."""
    chosen: list[Pattern] = field(default_factory=list)
    candidates: list[tuple[verify.Candidate, Pattern]] = field(default_factory=list)
    not_observed: list[tuple[str, str]] = field(default_factory=list)
    """(tool, why) for drafts that never came as far as a specification."""
    replayed: dict[str, tuple[list[Source], list[Source]]] = field(default_factory=dict)
    """Programs of training and held out that each pattern's tool is replayed in, by the pattern's id."""
    own_code: dict[str, str] = field(default_factory=dict)
    """What a model has written with a proposal, by the pattern's id: tried first where a gate turns the tool away."""
    asked: dict[str, int] = field(default_factory=dict)
    """What became of asking a model, in words of the event log; empty without one."""

    @property
    def admitted(self) -> list[tuple[verify.Candidate, Pattern]]:
        """What entered the library."""
        return [(candidate, pattern) for candidate, pattern in self.candidates if candidate.admitted]
