"""How much shorter a library makes programs it has not seen: `compression.py [NAME...] [--seed N]`.

Half of the tasks are the test; tools are mined on training tasks and chosen on validation tasks too. Everything is
counted as `sea.score` says. Beside it, of the same run and with the same token count: the trivial miner (whole
programs that are equal but for their literals, not executed), and what the normal forms would save if they counted
without tools.
"""

import argparse
import ast
import time
from collections import defaultdict
from pathlib import Path

from measure import own_server

from daytona_sdk import Daytona
from sea import patterns, select
from sea.box import Box
from sea.evolve import Funnel, prepare
from sea.generate import tool_code
from sea.ingest import read_traces
from sea.inline import is_empty
from sea.normalise import cost, parse
from sea.patterns import Source
from sea.regions import canon, survey
from sea.score import Score, Shelved, score, sides
from sea.trace import Intake

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SETS = ("pot_tabmwp", "pot_multiarith_zs", "pot_svamp_zs", "pot_svamp", "tora_gsm8k")
SUPPORT = 3
HEAD = (
    f"{'set':18} {'programs':>8} {'tools':>5} {'library':>7} {'ratio':>6} {'rewritten':>9} {'errors':>6} "
    f"{'not back':>8} {'unproven':>8} {'used':>5} {'thrice':>6} {'floor':>6} {'tools':>5} {'form only':>9} "
    f"{'mine s':>6} {'run s':>6}"
)


def library_of(found: dict[str, list[Source]], box: Box) -> list[Shelved]:
    """Tools mined on training tasks, chosen with validation tasks, specified from what running them showed."""
    learn = [*found["train"], *found["validation"]]
    chosen = select.choose(patterns.mine(found["train"], SUPPORT), learn)
    funnel = Funnel(Intake(), chosen=chosen)
    prepare(funnel, found["train"], found["validation"], box, lambda _: None)
    tools = [Shelved(c.spec.name, tool_code(c.spec), pattern) for c, pattern in funnel.candidates]
    for tool in tools:
        assert not is_empty(tool.code), tool.code
    return tools


def floor(learn: list[Source], test: list[Source]) -> Score:
    """One tool for each whole program that recurs in three tasks but for its literals, which become parameters."""
    seen: dict[str, list[tuple[Source, list[str]]]] = defaultdict(list)
    for source in learn:
        key, values = _skeleton(source)
        seen[key].append((source, values))
    tools: dict[str, tuple[list[int], list[str]]] = {}
    result = Score(len(test))
    for key, places in seen.items():
        if len({source.task for source, _ in places}) < SUPPORT:
            continue
        first, values = places[0]
        varying = [i for i in range(len(values)) if len({other[i] for _, other in places}) > 1]
        tools[key] = (varying, values)
        result.library += first.size + 6 + 2 * len(varying)
    result.tools = len(tools)
    for source in test:
        key, values = _skeleton(source)
        result.before += source.size
        result.after += source.size
        if key not in tools:
            continue
        varying, constant = tools[key]
        call = cost("ans = tool(" + ", ".join(values[i] for i in varying) + ")\n")
        same = all(i in varying or value == constant[i] for i, value in enumerate(values))
        if same and call < source.size:
            result.rewritten += 1
            result.after += call - source.size
    return result


def _skeleton(source: Source) -> tuple[str, list[str]]:
    tree = parse(source.trace.steps[source.step].code)
    key, holes, _ = canon(tree.body, survey(tree, frozenset()).fixed)
    return key, [ast.unparse(hole) for hole in holes]


def form_only(test: list[Source]) -> float:
    """What the whole normal form saves by itself; no tool earns this, so it is never counted."""
    return sum(s.size for s in test) / sum(min(s.size, cost(ast.unparse(s.whole.tree))) for s in test)


def row(name: str, ours: Score, trivial: Score, form: float, seconds: tuple[float, float]) -> str:
    """One line of the table."""
    return (
        f"{name:18} {ours.programs:8} {ours.tools:5} {ours.library:7} {ours.ratio:6.3f} "
        f"{ours.rewritten / ours.programs:9.1%} {len(ours.errors):6} {len(ours.not_given_back):8} {ours.unproven:8} "
        f"{ours.share_used(1):5.0%} {ours.share_used(3):6.0%} {trivial.ratio:6.3f} {trivial.tools:5} {form:9.3f} "
        f"{seconds[0]:6.1f} {seconds[1]:6.1f}"
    )


def measure(name: str, seed: int, box: Box) -> str:
    """One row; what went wrong is printed."""
    files = sorted(DATA.glob(f"*/{name}.jsonl.gz"))
    if not files:
        return f"{name:18} skipped: there is no {name}.jsonl.gz under {DATA.name} beside the project"
    started = time.monotonic()
    found = sides(patterns.load(read_traces(files).traces), seed)
    tools = library_of(found, box)
    mined = time.monotonic()
    ours = score(found["test"], tools, box, seed)
    for sentence in [*ours.errors, *ours.not_given_back]:
        print(f"  {sentence}")
    trivial = floor([*found["train"], *found["validation"]], found["test"])
    seconds = (mined - started, time.monotonic() - mined)
    return row(name, ours, trivial, form_only(found["test"]), seconds)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=SETS, metavar="NAME", help="data sets; default: all five")
    parser.add_argument("--seed", type=int, default=0, help="decides which task is on which side")
    options = parser.parse_args()
    rows = [HEAD]
    with own_server(pool=1) as config, Daytona(config) as daytona:
        for name in options.names:
            rows.append(measure(name, options.seed, Box(daytona)))
            print(rows[-1], flush=True)
    print("\n".join(rows))


if __name__ == "__main__":
    main()
