"""One tool that a model proposes for two: it takes their place when it passes every gate with what both have recorded.

The client is real, the endpoint is on loopback; the traces are made so that mining finds the two and not the one.
"""

import ast
import json
from dataclasses import replace
from pathlib import Path

import pytest

from sea import patterns, propose_merge, propose_tools, select
from sea.box import Box
from sea.corpus import Corpus
from sea.evolve import Funnel, Settings, canonical, evolve, split
from sea.gates.evidence import Evidence
from sea.gates.judge import STEPS, judge
from sea.gates.lab import Lab
from sea.generate import tool_code
from sea.ingest import read_traces
from sea.library import Library
from sea.patterns import Pattern, Source
from sea.places import groups_of
from sea.proposed import add_proposed
from sea.specify import Example, Parameter, Specification
from sea.verify import GATES, Candidate, as_tool, original_code
from tests.sea.test_propose import KEY, SPEC, asked
from tests.sea.test_propose_tools import proposal, tools_only

pytestmark = pytest.mark.thorough

TOP = "((((aa + bb) * cc - dd % 7) // (ee + 3) + (ff - 5) ** 2) * 11 + 17) % 1009 - 4"
SHORTER = "((aa + bb) * cc - dd % 7) // (ee + 3) + (ff - 5) ** 2"
WORDS = ("aa", "bb", "cc", "dd", "ee", "ff")


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def two_kinds(tasks: int, top: str) -> list[dict[str, str]]:
    """Traces with one computation, larger than a cut: of a sum in half of them, of a product in the other."""
    found = []
    for n in range(tasks):
        first = f"({n + 2} {'+*'[n % 2]} x)"
        text = top
        values = (first, n * 3 + 1, n % 7 + 2, n * 3 + 4, n + 1, n % 5)
        for word, value in zip(WORDS, values, strict=True):
            text = text.replace(word, str(value))
        value = str(eval(text, {"x": n + 1}))
        found.append({"task": f"kind {n}", "code": f"x = {n + 1}\nprint({text})", "output": value})
    return found


def written(path: Path, tasks: int, top: str) -> Path:
    path.write_text("\n".join(map(json.dumps, two_kinds(tasks, top))))
    return path


def sides_of(path: Path) -> tuple[list[Source], list[Source]]:
    train, held_out = (
        Corpus().programs(one) for one in split(canonical(read_traces([path], None).traces), 0)
    )
    return train, held_out


def pattern_of(train: list[Source], top: str = TOP) -> Pattern:
    (one,), _ = propose_tools.proposals(proposal("weigh", top, "", WORDS), groups_of(train), 3)
    return one.pattern


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("two") / "two.jsonl", 16, TOP)


@pytest.fixture(scope="module")
def _mined(box: Box, two: Path, tmp_path_factory: pytest.TempPathFactory) -> Funnel:
    return evolve([two], Library(tmp_path_factory.mktemp("mined") / "tools"), box=box)


@pytest.fixture
def mined(_mined: Funnel) -> Funnel:
    """What becomes of these traces without a model; a test may go on with it."""
    candidates = [(replace(one, verdicts=[*one.verdicts]), pattern) for one, pattern in _mined.candidates]
    return Funnel(_mined.intake, chosen=[*_mined.chosen], candidates=candidates)


def names(funnel: Funnel) -> list[str]:
    return sorted(candidate.spec.name for candidate, _ in funnel.admitted)


def test_one_tool_takes_the_place_of_two_and_programs_and_tools_are_shorter(box, two, mined, tmp_path):
    library = Library(tmp_path / "tools")
    with asked(tools_only(proposal("weigh", TOP, "", WORDS))) as (_, model):
        funnel = evolve([two], library, Settings(model=model), box=box)
    assert library.names() == ["weigh"]
    assert len(mined.admitted) == 2
    gone = {
        candidate.spec.name: candidate.reason for candidate, _ in funnel.candidates if not candidate.admitted
    }
    assert sorted(gone) == names(mined)
    assert all("weigh does what it does" in why for why in gone.values())
    assert [gate["gate"] for gate in library.evidence("weigh")["gates"]] == list(GATES)
    sources = [source for side in sides_of(two) for source in side]
    before, after = ([pattern for _, pattern in one.admitted] for one in (mined, funnel))
    assert select.length(after, sources) < select.length(before, sources)


def proposed_beside(mined: Funnel, two: Path, box: Box, library: Path) -> Candidate:
    """What becomes of the one tool when it is proposed beside these."""
    with asked(tools_only(proposal("weigh", TOP, "", WORDS))) as (_, model):
        add_proposed(mined, sides_of(two), Settings(model=model), Library(library), box, lambda _: None)
    ((found, _),) = [pair for pair in mined.candidates if pair[0].spec.name == "weigh"]
    return found


@pytest.mark.parametrize("number", [0, 1])
def test_a_tool_gives_way_only_to_one_that_keeps_its_calls(box, two, mined, tmp_path, number: int) -> None:
    """A call of one of the two is put among those recorded of it, with a result that the one tool does not give."""
    before = names(mined)
    candidate = mined.admitted[number][0]
    first = candidate.spec.examples[0]
    call = (first.arguments[0] + 1000, *first.arguments[1:])
    planted = Example(call, -1, "planted")
    candidate.spec = replace(candidate.spec, examples=(*candidate.spec.examples, planted))
    found = proposed_beside(mined, two, box, tmp_path / "tools")
    assert found.reason.startswith("replay: 1 of ")
    assert "recorded is -1" in found.reason
    assert names(mined) == before


def test_it_has_the_calls_of_both_as_its_own(box, two, mined, tmp_path) -> None:
    added = []
    for candidate, _ in mined.admitted:
        first = candidate.spec.examples[0]
        call = (first.arguments[0] + 1000, *first.arguments[1:])
        namespace: dict[str, object] = {}
        exec(tool_code(candidate.spec), namespace)
        result = namespace[candidate.spec.name](*call)  # type: ignore[operator]
        added.append(Example(call, result, "added"))
        candidate.spec = replace(candidate.spec, examples=(*candidate.spec.examples, added[-1]))
    found = proposed_beside(mined, two, box, tmp_path / "tools")
    assert found.admitted
    assert names(mined) == ["weigh"]
    taken = [one for one in found.spec.examples if one.trace_id == "added"]
    assert [one.result for one in taken] == [one.result for one in added]
    assert all(one.result == eval(TOP, dict(zip(WORDS, one.arguments, strict=True))) for one in taken)


SPECIAL = TOP.replace("aa", "(price + 1)").replace("bb", "2").replace("cc", "number").replace("dd", "price")
SPECIAL = SPECIAL.replace("ee", "4").replace("ff", "(number * 2)")


def special(body: str, calls: list[tuple[int, int]]) -> Specification:
    seen = [
        Example(call, eval(SPECIAL, dict(zip(("price", "number"), call, strict=True))), "t") for call in calls
    ]
    return replace(SPEC, body=tuple(ast.parse(body).body), examples=tuple(seen))


def general(more: str) -> Specification:
    """A tool of the whole computation, with something more."""
    parameters = tuple(Parameter(word, "int", "for example 3") for word in WORDS)
    calls = [(n, n + 1, n % 5 + 1, n * 3, n % 7, n % 4) for n in range(2, 30)]
    seen = [Example(call, eval(TOP, dict(zip(WORDS, call, strict=True))), "t") for call in calls]
    body = tuple(ast.parse(f"return {TOP}{more}").body)
    return replace(SPEC, name="weigh", parameters=parameters, body=body, examples=tuple(seen))


@pytest.mark.parametrize(("more", "kept"), [("", True), (" + (aa == 5001)", False)])
def test_what_is_recorded_of_another_decides(box, two, more: str, kept: bool) -> None:
    """Code that its own recorded calls do not find out is found out by those that it takes over."""
    other = special(f"return {SPECIAL}", [(price, number) for price in (3, 8, 5000) for number in (1, 4)])
    tool, lab = general(more), Lab(box, ())
    steps = [step for step in STEPS if step[0] in ("isolated import", "replay")]
    for spec in (tool, propose_merge.with_calls(tool, [other], pattern_of(sides_of(two)[0]), lab)):
        assert spec is not None
        evidence = Evidence(as_tool(Candidate(spec, [], [])).calls, original=original_code(general("")))
        found = judge(tool_code(spec), spec.name, evidence, lab, steps)
        assert found.accepted is (kept or spec is tool)


@pytest.mark.parametrize(
    "text",
    [SPECIAL.replace("1009", "1008"), "price * number", f"({SPECIAL}) + 1", "x = price\nreturn x"],
)
def test_what_a_proposal_does_not_generalise_it_is_not_given_the_calls_of(two, text: str) -> None:
    body, pattern = text if "return" in text else f"return {text}", pattern_of(sides_of(two)[0])
    assert propose_tools.given(special(body, []), pattern) == ""
    assert "(price + 1, 2, number, price, 4, number * 2, )" in propose_tools.given(
        special(f"return {SPECIAL}", []), pattern
    )


def test_calls_that_cannot_be_made_are_no_evidence(box, two) -> None:
    other = special(f"return {SPECIAL}".replace("(price + 1)", "(price // 0)"), [(1, 2)])
    pattern = pattern_of(sides_of(two)[0])
    assert propose_merge.with_calls(general(""), [other], pattern, Lab(box, ())) is None


def test_a_proposal_that_makes_programs_and_tools_longer_is_not_chosen(tmp_path) -> None:
    """Looked for one tool after the other, it is: it saves more than each of the two, and less than both."""
    train, held_out = sides_of(written(tmp_path / "t.jsonl", 24, SHORTER))
    sources, fresh = [*train, *held_out], pattern_of(train, SHORTER)
    mined = select.choose(patterns.mine(train, 3), sources)
    assert [one.id for one in select.choose([*mined, fresh], sources)] == [fresh.id]
    assert select.length([fresh], sources) > select.length(mined, sources)
    admitted = [(Candidate(SPEC, [], []), pattern) for pattern in mined]
    assert propose_merge.chosen(admitted, [fresh], sources) == ([], {})
    gone, left = propose_merge.giving_way(
        [*admitted, (Candidate(SPEC, [], []), fresh)], {fresh.id: []}, sources
    )
    assert (list(gone), left) == ([fresh.id], {})
