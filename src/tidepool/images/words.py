"""Words of a Dockerfile: split at white space with respect to quotes, and expanded with variables. Pure.

The rules are those of the Dockerfile reference ("Environment replacement"): single quotes keep everything, double
quotes keep white space, the escape character keeps the next character. An expanded value is never split again.
"""

import json
import re
from collections.abc import Mapping

ESCAPE = "\\"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MAX_DEPTH = 16
_BLANK = " \t\r\n"


class BadWord(ValueError):
    """A quote or a brace is not closed, or a form of expansion is not known; the message says which."""


def split(text: str, escape: str = ESCAPE) -> list[str]:
    """The words of a line as they are written, quotes and escapes included.

    Raises:
        BadWord: A quote is not closed.
    """
    words: list[str] = []
    at = 0
    while at < len(text):
        if text[at] in _BLANK:
            at += 1
            continue
        end = _word_end(text, at, escape)
        words.append(text[at:end])
        at = end
    return words


def _word_end(text: str, at: int, escape: str) -> int:
    quote = ""
    while at < len(text) and (quote or text[at] not in _BLANK):
        character = text[at]
        if character == escape and quote != "'":
            at += 1
        elif character == quote:
            quote = ""
        elif character in "'\"" and not quote:
            quote = character
        at += 1
    if quote:
        raise BadWord(f"the quote {quote} is not closed")
    return min(at, len(text))


def expand(word: str, variables: Mapping[str, str], escape: str = ESCAPE) -> str:
    """One word without its quotes, `$name` and `${name}` replaced; unset names become nothing.

    Raises:
        BadWord: A quote or brace is not closed, or the form is not one of `${name}`, `${name:-word}`, `${name-word}`,
            `${name:+word}`, `${name+word}`, `${name:?word}`, `${name?word}`.
    """
    return _Expansion(word, variables, escape, 0).whole()


def json_words(text: str) -> tuple[str, ...] | None:
    """The words of the JSON form `["a", "b"]`; None when the text is not in that form."""
    if not text.startswith("["):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    is_texts = isinstance(found, list) and all(isinstance(word, str) for word in found)
    return tuple(found) if is_texts else None


class _Expansion:
    def __init__(self, text: str, variables: Mapping[str, str], escape: str, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise BadWord(f"expansions are nested more than {_MAX_DEPTH} deep")
        self._text = text
        self._variables = variables
        self._escape = escape
        self._depth = depth
        self._at = 0

    def whole(self) -> str:
        found: list[str] = []
        while self._at < len(self._text):
            character = self._next()
            if character == "'":
                found.append(self._single())
            elif character == '"':
                found.append(self._double())
            elif character == "$":
                found.append(self._variable())
            elif character == self._escape:
                found.append(self._next() if self._at < len(self._text) else character)
            else:
                found.append(character)
        return "".join(found)

    def _next(self) -> str:
        self._at += 1
        return self._text[self._at - 1]

    def _single(self) -> str:
        end = self._text.find("'", self._at)
        if end < 0:
            raise BadWord("the quote ' is not closed")
        found, self._at = self._text[self._at : end], end + 1
        return found

    def _double(self) -> str:
        found: list[str] = []
        while self._at < len(self._text):
            character = self._next()
            if character == '"':
                return "".join(found)
            if character == "$":
                found.append(self._variable())
            elif character == self._escape and self._text[self._at : self._at + 1] in (
                '"',
                "$",
                self._escape,
            ):
                found.append(self._next())
            else:
                found.append(character)
        raise BadWord('the quote " is not closed')

    def _variable(self) -> str:
        braced = self._text.startswith("{", self._at)
        name = _NAME.match(self._text, self._at + braced)
        if name is None:
            if braced:
                raise BadWord("'${' is not followed by a name")
            return "$"
        self._at = name.end()
        return self._braced(name[0]) if braced else self._variables.get(name[0], "")

    def _braced(self, name: str) -> str:
        rest = self._until_brace()
        value = self._variables.get(name)
        if not rest:
            return value or ""
        operator = rest[:2] if rest[0] == ":" else rest[0]
        if operator not in (":-", "-", ":+", "+", ":?", "?"):
            raise BadWord(f"'${{{name}{rest[:20]}}}' is not a form of expansion that is known")
        word = rest[len(operator) :]
        is_set = bool(value) if operator[0] == ":" else value is not None
        if operator[-1] == "+":
            return self._inner(word) if is_set else ""
        if is_set:
            return value or ""
        if operator[-1] == "?":
            raise BadWord(f"{name} is not set: {self._inner(word)[:200]}")
        return self._inner(word)

    def _inner(self, word: str) -> str:
        return _Expansion(word, self._variables, self._escape, self._depth + 1).whole()

    def _until_brace(self) -> str:
        start, depth = self._at, 1
        while self._at < len(self._text):
            character = self._next()
            if character == self._escape:
                self._at += 1
            elif character in "{}":
                depth += 1 if character == "{" else -1
                if not depth:
                    return self._text[start : self._at - 1]
        raise BadWord("'${' is not closed by '}'")
