"""Determinism: two processes, two hash seeds, the calls in opposite orders, the same outcomes; arguments left alone."""

from sea.gates.case import Case, Verdict, agrees


def determinism_gate(case: Case) -> Verdict:
    """Nothing the outcome depends on but the arguments."""
    first, second = case.report, case.again
    pairs = list(zip(case.calls, first.outcomes, second.outcomes, strict=True))
    compared = [pair for pair in pairs if not {pair[1].kind, pair[2].kind} & {"ended", "missing"}]
    wrong = [(data, one, two) for data, one, two in compared if not agrees(two, one)]
    changed = sum(1 for _, one, _ in compared if one.after is not None)
    figures = {"calls": float(len(compared)), "wrong": float(len(wrong)), "changed_arguments": float(changed)}
    if second.error and not first.error:
        return Verdict(
            "determinism", False, f"the second time it cannot be imported: {second.error}", figures
        )
    if wrong:
        data, one, two = wrong[0]
        said = f"{case.call_text(data)} gave {one}, then {two}"
        return Verdict("determinism", False, f"{len(wrong)} of {len(compared)} calls differ: {said}", figures)
    said = f"{len(compared)} calls give the same twice, under two hash seeds and in two orders"
    return Verdict("determinism", True, said, figures)
