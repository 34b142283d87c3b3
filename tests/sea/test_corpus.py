"""Mining by shapes gives what looking at every program alone gives; a corpus gives what all traces at once give."""

import ast
import itertools
import pickle
import sqlite3
from pathlib import Path

import pytest

from sea import patterns, select
from sea.bench.scale import changed_traces
from sea.corpus import BadCorpus, Corpus
from sea.sources import Loader
from sea.trace import Step, Trace

CODES = [
    "a = 3\nb = 4.5\nans = (a + b) * a - 7",
    "rows = [12, 5, 9]\nrows = sorted(rows)\nans = rows[len(rows) // 2] - 4",
    "def area(w, h):\n    return w * h / 2\nans = area(3, 8)",
    "import math\nx = 9\ny = -2\nans = math.sqrt(x * x + y * y)",
    "price = 0.5\ntext = f'{price:.2f} of {12}'\nans = text.split()[0]",
    "total = 0\nfor item in [4, 0, 6]:\n    total += item * 2\nans = total / 3",
    "n = 0\nfor item in [4, 1, 6]:\n    if item > 3:\n        n += 1\nans = n * 5 + 2",
    "x = len([4, 1, 6])\nz = x * 2\nans = sum([x, z]) * 2 if 2 >= x and z > 2 else 7 * z + 1",
    "class Box:\n    size = 4\nans = Box.size * 3 + 2",
]


def traces(count: int) -> list[Trace]:
    base = [
        Trace(f"{n}", f"{n}", f"{n}", (Step(code, result_name="ans", answer="0"),))
        for n, code in enumerate(CODES)
    ]
    return list(itertools.islice(changed_traces(base, 7), count))


def told(some: list[patterns.Pattern]) -> list[tuple]:
    """All that tells patterns apart, places in the programs' own names and numbers included."""
    return [
        (
            pattern.id, pattern.kind, pattern.support, pattern.varying, pattern.defaults, pattern.spread,
            pattern.saving, [ast.unparse(node) for node in pattern.example.nodes], pattern.example.names,
            [
                (place.source.trace.id, place.region.names, [ast.unparse(hole) for hole in place.region.holes])
                for place in [*pattern.occurrences, *pattern.chosen_for]
            ],
        )
        for pattern in some
    ]  # fmt: skip


def mined(sources: list[patterns.Source]) -> tuple[list[tuple], list[tuple]]:
    found = patterns.mine(sources)
    return told(found), told(select.choose(found, sources))


def alone(some: list[Trace]) -> list[patterns.Source]:
    """Programs that share nothing."""
    return [source for trace in some for source in Loader().load([trace])]


@pytest.mark.thorough
def test_programs_of_one_shape_are_mined_as_if_each_was_looked_at_alone():
    many = traces(120)
    shared = patterns.load(many)
    assert len({id(source.model) for source in shared}) < 80
    every, chosen = mined(shared)
    assert chosen
    assert (every, chosen) == mined(alone(many))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ans = a / 2", "ans = a / 0"),
        ("ans = a / 2", "ans = a / 2.0"),
        ("ans += 2", "ans += 1"),
        ("ans = 2 > a and b > 2", "ans = 2 > a and b > 3"),
        ("ans = a + b", "ans = a + a"),
        ("ans = sum(a)", "ans = total(a)"),
        ("ans = f'{a}'", "ans = f'{longer}'"),
        ("ans = 'x' * 3", "ans = 'y' * 3"),
        ("def f(a):\n    global b\n    b = a\nans = b", "def f(a):\n    global b\n    c = a\nans = b"),
    ],
)
def test_what_a_normal_form_could_look_at_makes_another_shape(one, other):
    loader = Loader()
    for number, code in enumerate((one, other)):
        loader.load([Trace(f"{number}", f"{number}", "", (Step(code, result_name="ans"),))])
    assert len(loader.models) == 2


@pytest.mark.thorough
def test_a_corpus_opened_again_mines_what_all_traces_at_once_give(tmp_path):
    many, path = traces(150), tmp_path / "corpus"
    first = Corpus(path)
    first.add(many[:90])
    first.close()
    second = Corpus(path)
    assert len(second.sources) == 90
    second.add(many[90:])
    assert mined(second.sources) == mined(patterns.load(many))
    second.close()
    assert len(Corpus(path).sources) == 150


def test_a_corpus_of_another_version_is_read_again_from_its_traces(tmp_path):
    path = tmp_path / "corpus"
    corpus = Corpus(path)
    corpus.add(traces(30))
    corpus.close()
    with sqlite3.connect(path) as base:
        base.execute("update about set version = 'another'")
        base.execute("update shapes set model = x'00'")
    again = Corpus(path)
    assert mined(again.sources) == mined(patterns.load(traces(30)))


class Calls:
    """What would act when it is read."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        """Where it would come from."""
        return Path.touch, (Path("/tmp/never"),)


def test_a_file_that_names_something_else_is_refused_with_a_sentence(tmp_path):
    path = tmp_path / "corpus"
    Corpus(path).close()
    with sqlite3.connect(path) as base:
        base.execute("insert into batches (programs) values (?)", (pickle.dumps([Calls()]),))
    with pytest.raises(BadCorpus, match=r"cannot be read as a corpus: .* has no place in a corpus"):
        Corpus(path)
    (tmp_path / "text").write_text("no database, but a text that is long enough to be taken for one" * 20)
    with pytest.raises(BadCorpus, match="file is not a database"):
        Corpus(tmp_path / "text")


def test_programs_of_known_traces_are_not_read_again_and_those_of_changed_ones_are(tmp_path):
    many, path = traces(20), tmp_path / "corpus"
    corpus = Corpus(path)
    first = corpus.programs(many[:15])
    assert corpus.programs(many)[:15] == first
    assert len(corpus.sources) == 20
    corpus.close()
    again = Corpus(path)
    assert [s.trace for s in again.programs(many)] == many
    other = Trace(many[3].id, many[3].task_id, many[3].source, (Step("ans = 1 + 2", result_name="ans"),))
    (source,) = again.programs([other])
    assert source.trace is other
    assert len(again.sources) == 21
