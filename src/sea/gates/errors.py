"""Bad inputs: the same exceptions as the original code; without one, none that takes the process along."""

from sea.gates.case import Case, Verdict, agrees


def errors_gate(case: Case) -> Verdict:
    """Generated calls beyond what was recorded, and arguments of other types."""
    runs = case.slice(case.report, "wild")
    if case.original is None:
        ended = [(data, out) for data, out in runs if out.kind == "ended" and "too long" not in out.error]
        figures = {"calls": float(len(runs)), "ended": float(len(ended))}
        if ended:
            said = f"{case.call_text(ended[0][0])} {ended[0][1].error}"
            return Verdict("error behaviour", False, f"a bad input takes the process along: {said}", figures)
        return Verdict(
            "error behaviour", True, f"{len(runs)} bad inputs end in a value or an exception", figures
        )
    theirs = case.slice(case.original, "wild")
    pairs = [
        (data, found, expected)
        for (data, found), (_, expected) in zip(runs, theirs, strict=True)
        if expected.kind not in ("ended", "missing", "odd")
    ]
    wrong = [pair for pair in pairs if not agrees(pair[1], pair[2])]
    figures = {"calls": float(len(pairs)), "wrong": float(len(wrong))}
    if wrong:
        data, found, expected = wrong[0]
        said = f"{case.call_text(data)} gives {found}, the original code {expected}"
        return Verdict(
            "error behaviour", False, f"{len(wrong)} of {len(pairs)} bad inputs differ: {said}", figures
        )
    return Verdict("error behaviour", True, f"{len(pairs)} bad inputs end as with the original code", figures)
