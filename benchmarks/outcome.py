"""What one row of the table found: samples with their percentiles, checks against targets, facts.

Pure data and arithmetic; a row makes an `Outcome`, the table prints it, both agree on its JSON form.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from measure import percentile


@dataclass(frozen=True)
class Terms:
    """How much is measured."""

    scale: float = 1.0
    """Rounds are multiplied by it."""
    seconds: float = 60.0
    """Of the sustained load."""
    alive: int = 3000
    """Sandboxes that live at once, memory allowing."""
    full: bool = False
    """Every real program instead of a sample."""
    data: Path = Path(__file__).resolve().parents[2] / "shared" / "data"
    """Where real programs are."""

    def rounds(self, count: int) -> int:
        """So many rounds, scaled; never under five."""
        return max(5, round(count * self.scale))


@dataclass(frozen=True)
class Check:
    """One target and what was found."""

    what: str
    value: float
    target: float
    unit: str
    sense: str
    """`<=` or `>=`."""
    kind: str
    """`absolute` depends on the machine, `ratio` is measured within one run."""

    @property
    def met(self) -> bool:
        """Whether the target is met here."""
        return self.value <= self.target if self.sense == "<=" else self.value >= self.target

    @property
    def sentence(self) -> str:
        """One line of a report."""
        verdict = "met here" if self.met else "NOT met here"
        found = f"{self.what} {self.sense} {self.target:g}{self.unit}: {self.value:.2f}{self.unit}"
        return f"{found}, {verdict}{' (ratio)' if self.kind == 'ratio' else ''}"


def at_most(what: str, value: float, target: float, unit: str = " ms") -> Check:
    """An absolute ceiling."""
    return Check(what, value, target, unit, "<=", "absolute")


def at_least(what: str, value: float, target: float, unit: str) -> Check:
    """An absolute floor."""
    return Check(what, value, target, unit, ">=", "absolute")


def times_faster(what: str, value: float, target: float) -> Check:
    """A floor of a ratio within one run."""
    return Check(what, value, target, "x", ">=", "ratio")


@dataclass
class Outcome:
    """What one row found."""

    warm: str
    """What was warm when it was measured."""
    samples: dict[str, list[float]] = field(default_factory=dict)
    """Milliseconds by what was done; the peers are among them."""
    tried: int = 0
    failed: int = 0
    checks: list[Check] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    """Sentences about what went wrong; at most ten are kept."""
    left_out: list[str] = field(default_factory=list)
    """Peers that could not be measured, with the reason."""

    def attempt(self, call: Callable[[], object]) -> bool:
        """Call and count; a failure is noted and counted, not raised."""
        self.tried += 1
        try:
            call()
        except Exception as error:
            self.fail(f"{type(error).__name__}: {error}")
            return False
        return True

    def fail(self, sentence: str) -> None:
        """Count a failure."""
        self.failed += 1
        if len(self.wrong) < 10:
            self.wrong.append(sentence[:300])

    def note(self, name: str, milliseconds: float) -> None:
        """One sample more."""
        self.samples.setdefault(name, []).append(milliseconds)

    def at(self, name: str, share: float) -> float:
        """A percentile of one way.

        Raises:
            RuntimeError: Nothing of it could be measured.
        """
        if not self.samples.get(name):
            raise RuntimeError(
                f"nothing of {name!r} could be measured: {'; '.join(self.wrong) or 'not tried'}"
            )
        return percentile(self.samples[name], share)

    def ratio(self, slow: str, fast: str) -> float:
        """How many times faster one way is than another, by their medians."""
        return self.at(slow, 0.5) / self.at(fast, 0.5)

    def limits(self, name: str, *targets: float, shares: Sequence[float] = (0.5, 0.99)) -> None:
        """Check percentiles of one way against ceilings in milliseconds, the median first."""
        for share, target in zip(shares, targets, strict=False):
            self.checks.append(at_most(f"{name}: p{share * 100:g}", self.at(name, share), target))

    @property
    def success(self) -> float:
        """Share of what was tried that worked."""
        return 1 - self.failed / self.tried if self.tried else 0.0

    def as_json(self) -> dict[str, Any]:
        """For a file; the samples are there as well, rounded to microseconds."""
        found = asdict(self)
        found["samples"] = {name: [round(one, 3) for one in some] for name, some in self.samples.items()}
        for one, check in zip(found["checks"], self.checks, strict=True):
            one["met"] = check.met
        return found

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> "Outcome":
        """What `as_json` wrote."""
        checks = [Check(**{key: one[key] for key in one if key != "met"}) for one in found.pop("checks")]
        return cls(**found, checks=checks)
