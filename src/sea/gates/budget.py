"""Time and memory: recorded calls stay within what a tool may cost.

What was measured is kept apart from the verdict: the same tool gives the same evidence on any machine.
"""

from sea.gates.case import Case, Verdict

MOST_CALL_S = 1.0
"""Processor time of a recorded or similar call, on average."""
MOST_MIB = 256


def budget_gate(case: Case) -> Verdict:
    """Of the run that replayed the recorded calls."""
    report = case.report
    answered = max(1, sum(1 for out in report.outcomes if out.kind not in ("missing", "ended")))
    each, mib = report.cpu_s / answered, report.peak_kib / 1024
    case.costs = {"cpu_ms_a_call": round(each * 1000, 3), "peak_mib": round(mib, 1)}
    hung = [data for data, out in case.slice(report, "recorded") if out.kind in ("ended", "missing")]
    if hung or each > MOST_CALL_S:
        return Verdict("time and memory", False, f"a call takes {each:.2f} s of {MOST_CALL_S:g} allowed")
    if mib > MOST_MIB:
        return Verdict("time and memory", False, f"it needs {mib:.0f} MiB of {MOST_MIB} allowed")
    return Verdict("time and memory", True, f"a call stays below {MOST_CALL_S:g} s and {MOST_MIB} MiB")
