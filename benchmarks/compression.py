"""How much shorter a library makes programs it has not seen: `compression.py [NAME...] [--salt TEXT]`.

Tools are mined on one half of the tasks and written into the programs of the other half; every rewritten program is
executed in a sandbox, and one that does not give what was recorded counts as unchanged and as an error. The floor is
measured in the same run with the same token count: whole programs that are equal but for their literals, not executed.
"""

import argparse
import ast
import hashlib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from measure import own_server

from daytona_sdk import Daytona
from sea import patterns
from sea.box import Box, Job
from sea.evolve import dependencies_of, job_of, reproduces
from sea.generate import draft_code
from sea.ingest import read_traces
from sea.normalise import cost, parse
from sea.patterns import Source
from sea.regions import canon, survey
from sea.rewrite import Rewritten, rewrite
from sea.specify import draft

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SETS = ("pot_tabmwp", "pot_multiarith_zs", "pot_svamp", "pot_svamp_zs", "tora_gsm8k")
SUPPORT = 3
HEAD = (
    f"{'set':18} {'programs':>8} {'tools':>6} {'ratio':>7} {'rewritten':>9} {'errors':>6} "
    f"{'unproven':>8}   {'floor':>6} {'tools':>6} {'rewritten':>9}"
)


@dataclass
class Measured:
    """Tokens of the programs of one half, before and after, and of the library."""

    before: int = 0
    after: int = 0
    library: int = 0
    tools: int = 0
    rewritten: int = 0
    errors: int = 0
    """Rewritten programs that gave something else than was recorded."""
    unproven: int = 0
    """Programs that could be rewritten but for which no result is recorded; they count as unchanged."""

    @property
    def ratio(self) -> float:
        """Times shorter, the whole library included."""
        return self.before / (self.after + self.library)


def halves(sources: list[Source], salt: str) -> tuple[list[Source], list[Source]]:
    """Learning and test programs; a task is on one side only."""
    sides: tuple[list[Source], list[Source]] = ([], [])
    for source in sources:
        digest = hashlib.md5((salt + source.task).encode(), usedforsecurity=False).hexdigest()
        sides[int(digest, 16) % 2].append(source)
    return sides


def executed(learn: list[Source], test: list[Source], box: Box) -> Measured:
    """Mine on one half, rewrite the other and run every rewritten program."""
    chosen = patterns.choose(patterns.mine(learn, SUPPORT), learn)
    taken: set[str] = set()
    drafts = [draft(pattern, taken) for pattern in chosen]
    code = {drafted.name: draft_code(drafted) for drafted in drafts}
    tools = {drafted.pattern.id: (drafted.name, drafted.pattern) for drafted in drafts}
    result = Measured(library=sum(map(cost, code.values())), tools=len(drafts))
    tried: list[tuple[Source, Rewritten]] = []
    jobs: list[Job] = []
    for source in test:
        result.before += source.size
        result.after += source.size
        found = rewrite(source, tools)
        if found is None or cost(found.text) >= source.size:
            continue
        step = source.trace.steps[source.step]
        if step.answer is None and step.output is None:
            result.unproven += 1
            continue
        tried.append((source, found))
        jobs.append(job_of(source, found.text, "\n".join(code[name] for name in found.tools)))
    ran = box.run_all(jobs, dependencies_of([source for source, _ in tried]))
    for (source, found), ended in zip(tried, ran, strict=True):
        good, why = reproduces(source, ended)
        if not good:
            result.errors += 1
            print(f"  error in {source.trace.id}: {why}")
            continue
        result.rewritten += 1
        result.after += cost(found.text) - source.size
    return result


def floor(learn: list[Source], test: list[Source]) -> Measured:
    """One tool for each whole program that recurs in three tasks but for its literals, which become parameters."""
    seen: dict[str, list[tuple[Source, list[str]]]] = defaultdict(list)
    for source in learn:
        key, values = _skeleton(source)
        seen[key].append((source, values))
    tools: dict[str, tuple[list[int], list[str]]] = {}
    result = Measured()
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


def row(name: str, count: int, ours: Measured, trivial: Measured) -> str:
    """One line of the table."""
    return (
        f"{name:18} {count:8} {ours.tools:6} {ours.ratio:7.3f} {ours.rewritten / count:9.1%} {ours.errors:6} "
        f"{ours.unproven:8}   {trivial.ratio:6.3f} {trivial.tools:6} {trivial.rewritten / count:9.1%}"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=SETS, metavar="NAME", help="data sets; default: all five")
    parser.add_argument("--salt", default="x", help="decides which task is in which half")
    options = parser.parse_args()
    rows = [HEAD]
    with own_server(pool=1) as config, Daytona(config) as daytona:
        for name in options.names:
            files = sorted(DATA.glob(f"*/{name}.jsonl.gz"))
            if not files:
                rows.append(
                    f"{name:18} skipped: there is no {name}.jsonl.gz under {DATA.name} beside the project"
                )
                continue
            learn, test = halves(patterns.load(read_traces(files).traces), options.salt)
            rows.append(row(name, len(test), executed(learn, test, Box(daytona)), floor(learn, test)))
    print("\n".join(rows))


if __name__ == "__main__":
    main()
