"""Beyond the record: the original code on generated inputs, or, without one, the candidate's own claims."""

from typing import Any

from sea.gates.case import Case, Verdict, agrees
from sea.gates.lab import Outcome

_ACCIDENTS = frozenset(
    {
        "TypeError",
        "AttributeError",
        "NameError",
        "UnboundLocalError",
        "IndexError",
        "KeyError",
        "RecursionError",
        "ZeroDivisionError",
        "AssertionError",
        "StopIteration",
        "MemoryError",
        "ImportError",
        "ModuleNotFoundError",
        "NotImplementedError",
    }
)
"""Exceptions nobody raises on purpose from a finished function on inputs like the recorded ones."""
ACCIDENT_SHARE = 0.25
"""Share of generated calls that may end in one: generated inputs can miss a precondition the examples do not show."""


def differential_gate(case: Case) -> Verdict:
    """Same outcome as the original code; without it, the types of the examples and no accidents."""
    return _against_original(case) if case.original is not None else _own_claims(case)


def _against_original(case: Case) -> Verdict:
    assert case.original is not None
    if case.original.error:
        return Verdict("differential run", False, f"the original code cannot be run: {case.original.error}")
    mine, theirs = case.slice(case.report, "like"), case.slice(case.original, "like")
    pairs = [
        (data, found, expected)
        for (data, found), (_, expected) in zip(mine, theirs, strict=True)
        if expected.kind not in ("ended", "missing")
    ]
    wrong = [(data, found, expected) for data, found, expected in pairs if not agrees(found, expected)]
    figures = {"calls": float(len(pairs)), "wrong": float(len(wrong))}
    if wrong:
        data, found, expected = wrong[0]
        said = f"{case.call_text(data)} gives {found}, the original code {expected}"
        return Verdict("differential run", False, f"{len(wrong)} of {len(pairs)} differ: {said}", figures)
    return Verdict("differential run", True, f"{len(pairs)} generated calls agree with the original", figures)


def _own_claims(case: Case) -> Verdict:
    """What the code itself says by its examples: results of these types, and an answer to inputs like these."""
    known = {kind_of(one.result) for one in case.evidence.examples if not one.raises}
    runs = case.slice(case.report, "like")
    accidents = [(data, out) for data, out in runs if _accident(out)]
    strangers = [(data, out) for data, out in runs if out.kind == "value" and kind_of(out.value) not in known]
    figures = {"calls": float(len(runs)), "accidents": float(len(accidents)), "types": float(len(strangers))}
    if runs and len(accidents) / len(runs) > ACCIDENT_SHARE:
        data, out = accidents[0]
        said = f"{case.call_text(data)} {out}"
        return Verdict("differential run", False, f"inputs like the recorded ones fail: {said}", figures)
    detail = f"{len(runs)} inputs like the recorded ones are answered; no original code to compare with"
    return Verdict("differential run", True, detail, figures)


def _accident(out: Outcome) -> bool:
    return out.kind in ("ended", "odd") or (out.kind == "raised" and out.error in _ACCIDENTS)


def kind_of(value: Any) -> str:
    """The outer type of a result, numbers as one."""
    return "number" if type(value) in (int, float) else type(value).__name__
