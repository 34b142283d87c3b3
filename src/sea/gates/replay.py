"""Replay: the candidate imports quietly and gives what was recorded, on the calls it was made from and on others."""

from sea import codec
from sea.gates.case import Case, Verdict
from sea.gates.evidence import Evidence, Recorded
from sea.gates.lab import Outcome


def import_gate(case: Case) -> Verdict:
    """It can be imported alone."""
    error = case.report.error
    return Verdict("isolated import", not error, f"it cannot be imported: {error}" if error else "it imports")


def matches(found: Outcome, recorded: Recorded, evidence: Evidence) -> bool:
    """Whether an outcome is what was recorded, by the evidence's own equality."""
    if evidence.equality == "python" and found.kind == "value" and not recorded.raises:
        return bool(found.value == recorded.result)
    return same_result(found, recorded)


def same_result(found: Outcome, recorded: Recorded) -> bool:
    """Whether an outcome is what was recorded, types and all."""
    if recorded.raises:
        return found.kind == "raised" and found.error == recorded.raises
    return found.kind == "value" and codec.same(found.value, recorded.result)


def replay_gate(case: Case) -> Verdict:
    """What it was made from."""
    count = sum(1 for one in case.recorded if one in case.evidence.examples)
    return _replay(case, "replay", 0, count)


def held_out_gate(case: Case) -> Verdict:
    """What it was not made from."""
    if not case.evidence.held_out:
        return Verdict("held-out replay", True, "no calls were held back", {"calls": 0})
    count = sum(1 for one in case.recorded if one in case.evidence.examples)
    return _replay(case, "held-out replay", count, len(case.recorded))


def _replay(case: Case, gate: str, start: int, stop: int) -> Verdict:
    pairs = list(zip(case.recorded, case.slice(case.report, "recorded"), strict=True))[start:stop]
    wrong = [(one, data, out) for one, (data, out) in pairs if not matches(out, one, case.evidence)]
    figures = {"calls": float(len(pairs)), "wrong": float(len(wrong))}
    if not pairs:
        return Verdict(gate, False, "none of the recorded calls can be made again", figures)
    if wrong:
        one, data, out = wrong[0]
        expected = f"an exception {one.raises}" if one.raises else repr(one.result)[:80]
        said = f"{case.call_text(data)} gave {out}, recorded is {expected}"
        return Verdict(gate, False, f"{len(wrong)} of {len(pairs)} calls differ: {said}", figures)
    return Verdict(gate, True, f"{len(pairs)} recorded calls give what was recorded", figures)
