"""`sea report`: one HTML page on a library, from its files and its event log alone.

No script, nothing loaded from elsewhere. Everything shown was recorded: evidence by the gates, savings by noted calls;
what was never recorded is said to be so.
"""

import json
from collections.abc import Sequence
from html import escape
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from sea import ledger, observe
from sea.ledger import Uses
from sea.library import Library

if TYPE_CHECKING:
    from sea.evolve import Funnel

_STAGES = ("traces", "programs", "patterns", "chosen", "tested", "admitted")
_WIDTH, _ROW, _LABEL = 720, 20, 260
_POINTS = 400
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#1b1f24;background:#fff}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.2rem .6rem .2rem 0;vertical-align:top}
pre{background:#f4f6f8;padding:.8rem;overflow:auto}details{border-top:1px solid #d5dbe1;padding:.5rem 0}
summary{cursor:pointer}svg{max-width:100%}.no{color:#a11}.note{color:#5a6570}
"""


def funnel_of(funnel: "Funnel") -> dict[str, Any]:
    """A run's figures as they stand in the event log, with why each candidate was turned away."""
    turned = [[c.spec.name, c.reason] for c, _ in funnel.candidates if not c.admitted]
    return {
        "traces": len(funnel.intake.traces),
        "tasks": funnel.intake.tasks,
        "skipped": len(funnel.intake.skipped),
        "skipped_first": funnel.intake.skipped[:20],
        "programs": funnel.programs,
        "patterns": len(funnel.patterns),
        "chosen": len(funnel.chosen),
        "tested": len(funnel.candidates),
        "admitted": len(funnel.admitted),
        "turned_away": [*turned, *map(list, funnel.not_observed)],
    }


def page(library: Library) -> str:
    """The page.

    Raises:
        NoLibrary: There is no library.
    """
    names, used, states = library.names(), library.uses(), library.states()
    title = f"Tools in {library.directory.resolve().name}"
    parts = [f"<h1>{escape(title)}</h1>", _counts(states), _funnel(library)]
    parts += ["<h2>Saving</h2>", _saving(library, names), "<h2>Reuse</h2>", _reuse(names, used)]
    parts += [
        "<h2>Tools</h2>",
        *(_tool(library, name, states[name], used.get(name, Uses())) for name in names),
    ]
    parts += ["<h2>Changes</h2>", _list(ledger.history(library.directory))]
    body = "\n".join(parts)
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n{body}\n</body></html>\n'


def _counts(states: dict[str, str]) -> str:
    words = [f"{sum(s == state for s in states.values())} {state}" for state in ledger.STATES]
    return f"<p>{', '.join(words)}</p>"


def _funnel(library: Library) -> str:
    runs = [e for e in observe.events(library.directory / observe.EVENTS) if e.get("span") == "evolve"]
    done = [run for run in runs if not run.get("error")]
    if not done:
        return "<h2>Funnel</h2><p class=note>No run is in the event log.</p>"
    found: dict[str, Any] = done[-1]["attributes"]
    rows = [(stage, float(found.get(stage, 0))) for stage in _STAGES]
    turned = [f"{name}: {why}" for name, why in found.get("turned_away", [])]
    more = f"<h3>Turned away</h3>{_list(turned)}" if turned else ""
    skipped = found.get("skipped", 0)
    noted = f"<p>{skipped} records skipped</p>{_list(found.get('skipped_first', []))}" if skipped else ""
    return f"<h2>Funnel</h2>{bars(rows)}<p class=note>{done[-1]['seconds']:.1f} s</p>{noted}{more}"


def _saving(library: Library, names: Sequence[str]) -> str:
    calls = _calls(library)
    admitted = [(name, float(library.evidence(name)["tokens_saved"])) for name in names]
    mined = f"<p>Tokens saved on the traces the tools were found in:</p>{bars(_top(admitted))}"
    if not calls:
        return f"<p class=note>No call was noted yet.</p>{mined}"
    total = list(accumulate(calls))
    return f"<p>{total[-1]} tokens saved by {len(calls)} noted calls:</p>{line(total)}{mined}"


def _calls(library: Library) -> list[int]:
    found: list[int] = []
    for text in (ledger.read(library.directory / ledger.USES) or "").splitlines():
        try:
            found.append(int(json.loads(text)["saved_tokens"]))
        except (ValueError, KeyError, TypeError):
            continue
    return found


def _reuse(names: Sequence[str], used: dict[str, Uses]) -> str:
    rows = [(name, float(used[name].calls)) for name in names if name in used]
    if not rows:
        return "<p class=note>No call was noted yet.</p>"
    often = sum(calls >= 3 for _, calls in rows)
    return f"<p>{len(rows)} of {len(names)} tools called, {often} three times or more:</p>{bars(_top(rows))}"


def _top(rows: list[tuple[str, float]]) -> list[tuple[str, float]]:
    return sorted(rows, key=lambda row: (-row[1], row[0]))[:40]


def _tool(library: Library, name: str, state: str, used: Uses) -> str:
    evidence, record = library.evidence(name), library.record(name)
    gates = "".join(
        f"<tr><td{'' if g['passed'] else ' class=no'}>{'passed' if g['passed'] else 'failed'}</td>"
        f"<td>{escape(str(g['gate']))}</td><td>{escape(str(g['detail']))}</td></tr>"
        for g in evidence["gates"]
    )
    traces = ", ".join(map(str, evidence["trace_ids"][:10]))
    more = f" and {len(evidence['trace_ids']) - 10} more" if len(evidence["trace_ids"]) > 10 else ""
    edited = ", edited by a person" if library.is_edited(name) else ""
    facts = (
        f"{state}{edited}; version {record['version'][:12]}, {len(record['versions'])} so far; "
        f"found in {evidence['support']} tasks, held out {len(evidence['held_out_tasks'])}; "
        f"{used.calls} calls noted, {used.saved_tokens} tokens saved, {record['cost']} tokens to define"
    )
    return (
        f"<details><summary><b>{escape(name)}</b> {escape(facts)}</summary>"
        f"<pre>{escape(library.source(name))}</pre><table>{gates}</table>"
        f"<p class=note>From {escape(traces + more)}</p></details>"
    )


def _list(lines: Sequence[Any]) -> str:
    return "<ul>" + "".join(f"<li>{escape(str(text))}</li>" for text in lines) + "</ul>"


def bars(rows: Sequence[tuple[str, float]]) -> str:
    """Horizontal bars with names and figures, as inline SVG."""
    most = max((abs(value) for _, value in rows), default=0) or 1
    room, drawn = _WIDTH - _LABEL - 80, []
    for number, (name, value) in enumerate(rows):
        y, wide = number * _ROW, max(1, round(room * abs(value) / most))
        colour = "#2f6f9f" if value >= 0 else "#a11"
        drawn.append(
            f'<text x="{_LABEL - 8}" y="{y + 14}" text-anchor="end">{escape(name[:36])}</text>'
            f'<rect x="{_LABEL}" y="{y + 3}" width="{wide}" height="{_ROW - 6}" fill="{colour}"/>'
            f'<text x="{_LABEL + wide + 6}" y="{y + 14}">{value:g}</text>'
        )
    return _svg(max(1, len(rows)) * _ROW, "".join(drawn))


def line(values: Sequence[int]) -> str:
    """A line over the number of calls, as inline SVG; at most some hundred points are drawn."""
    step = max(1, len(values) // _POINTS)
    points = [(number, values[number]) for number in range(0, len(values), step)] + [
        (len(values) - 1, values[-1])
    ]
    low, high = min(0, *values), max(1, *values)
    across, up = (_WIDTH - 80) / max(1, len(values) - 1), 160 / (high - low)
    path = " ".join(f"{60 + number * across:.1f},{170 - (value - low) * up:.1f}" for number, value in points)
    zero = 170 + low * up
    axis = f'<line x1="60" x2="{_WIDTH - 20}" y1="{zero:.1f}" y2="{zero:.1f}" stroke="#9aa5af"/>'
    marks = f'<text x="54" y="16" text-anchor="end">{high}</text><text x="54" y="{zero:.0f}" text-anchor="end">0</text>'
    end = f'<text x="{_WIDTH - 20}" y="190" text-anchor="end">{len(values)} calls</text>'
    return _svg(
        196, f'{axis}<polyline points="{path}" fill="none" stroke="#2f6f9f" stroke-width="2"/>{marks}{end}'
    )


def _svg(height: int, inner: str) -> str:
    size = f'width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-size="12">{inner}</svg>'
