"""Words of a Dockerfile: a table of the reference's forms, and what must hold for every text."""

import contextlib
import shlex
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidepool.images.words import BadWord, expand, json_words, split

VALUES = {"a": "1", "empty": "", "path": "/x y"}


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("$a", "1"),
        ("${a}b", "1b"),
        ("$ab", ""),
        ("\\$a", "$a"),
        ("'$a'", "$a"),
        ('"$a"', "1"),
        ('"\\$a"', "$a"),
        ("${none:-x}", "x"),
        ("${empty:-x}", "x"),
        ("${empty-x}", ""),
        ("${none-x}", "x"),
        ("${a:+x}", "x"),
        ("${none:+x}", ""),
        ("${empty+x}", "x"),
        ("${none:-${a}}", "1"),
        ("$path", "/x y"),
        ("$", "$"),
        ("$5", "$5"),
        ("a\\", "a\\"),
        ("a\\ b", "a b"),
    ],
)
def test_expansion(word: str, value: str) -> None:
    assert expand(word, VALUES) == value


@pytest.mark.parametrize("word", ["'a", '"a', "${a", "${", "${a#b}", "${none:?}", "${1}"])
def test_what_is_not_closed_or_not_known_is_refused(word: str) -> None:
    with pytest.raises(BadWord):
        expand(word, VALUES)


def test_the_escape_character_can_be_a_back_quote() -> None:
    assert expand("`$a\\", VALUES, "`") == "$a\\"
    assert split("a` b c", "`") == ["a` b", "c"]


@pytest.mark.thorough
@given(st.lists(st.text(min_size=1).filter(lambda text: "\0" not in text), max_size=5))
def test_words_quoted_for_a_shell_come_back(words: list[str]) -> None:
    assert [expand(word, {}) for word in split(shlex.join(words))] == words


@given(st.text(alphabet=string.printable, max_size=60))
def test_no_text_does_more_than_be_refused(text: str) -> None:
    with contextlib.suppress(BadWord):
        assert all(isinstance(expand(word, VALUES), str) for word in split(text))


def test_nesting_ends() -> None:
    with pytest.raises(BadWord, match="nested"):
        expand("${x:-" * 50 + "}" * 50, {})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('["a", "b c"]', ("a", "b c")),
        ("[]", ()),
        ("a", None),
        ("['a']", None),
        ("[1]", None),
        ("[" * 9999, None),
    ],
)
def test_the_json_form(text: str, words: tuple[str, ...] | None) -> None:
    assert json_words(text) == words
