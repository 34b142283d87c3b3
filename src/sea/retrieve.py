"""Which few tools suit a task's text: BM25 over names, parameter names and descriptions. Nothing is executed.

Words that stand in a large part of the library tell tools apart no better than chance and cost most of the time; they
count only when a text has no other word. The same text and library give the same tools in the same order.
"""

import ast
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from sea.library import Library, function_of

_K1, _B = 1.2, 0.75
"""The usual constants of BM25."""
_COMMON = 0.1
"""Share of the library from which on a word is common."""
_WORD = re.compile(r"[A-Za-z]+|\d+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_ENDINGS = (("ings", "", 4), ("ing", "", 4), ("ies", "y", 3), ("ed", "", 4), ("es", "", 4), ("s", "", 3))
"""(ending, what stands for it, letters that must be left)."""


@dataclass(frozen=True)
class Found:
    """A tool and how well it suits; scores compare within one answer only."""

    name: str
    score: float


def words(text: str) -> list[str]:
    """A text's words: lower case, `snake_case` and `camelCase` taken apart, without endings."""
    return [_stem(word.lower()) for word in _WORD.findall(_CAMEL.sub(" ", text))]


def _stem(word: str) -> str:
    for ending, instead, least in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= least:
            return word.removesuffix(ending) + instead
    return word


class Retriever:
    """An inverted index with every word's weight for every tool worked out beforehand."""

    def __init__(self, tools: Iterable[tuple[str, str]]) -> None:
        """Index (name, text) pairs."""
        pairs = sorted(tools)
        self._names = [name for name, _ in pairs]
        counts = [Counter(words(f"{name} {text}")) for name, text in pairs]
        lengths = [count.total() for count in counts]
        mean = max(1.0, sum(lengths) / max(1, len(lengths)))
        spread = Counter(word for count in counts for word in count)
        self._weights: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for number, count in enumerate(counts):
            norm = _K1 * (1 - _B + _B * lengths[number] / mean)
            for word, times in count.items():
                rarity = math.log(1 + (len(pairs) - spread[word] + 0.5) / (spread[word] + 0.5))
                self._weights[word].append((number, rarity * times * (_K1 + 1) / (times + norm)))

    def find(self, text: str, count: int = 5) -> list[Found]:
        """At most `count` tools for a text, the best first; none when no word fits."""
        known = sorted(
            (word for word in set(words(text)) if word in self._weights),
            key=lambda word: (len(self._weights[word]), word),
        )
        limit = max(50.0, _COMMON * len(self._names))
        rare = [word for word in known if len(self._weights[word]) <= limit] or known[:1]
        scores: dict[int, float] = defaultdict(float)
        for word in rare:
            for number, weight in self._weights[word]:
                scores[number] += weight
        best = sorted(scores, key=lambda number: (-scores[number], number))[:count]
        return [Found(self._names[number], scores[number]) for number in best]


def of_library(library: Library) -> Retriever:
    """The index of a library's active tools.

    Raises:
        NoLibrary: There is none.
    """
    return Retriever((name, described(library.source(name))) for name in library.active())


def described(source: str) -> str:
    """What of a tool's text is searched: its docstring and the names of its parameters."""
    function = function_of(source)
    arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return " ".join([ast.get_docstring(function) or "", *(argument.arg for argument in arguments)])
