"""Invariant: parsing and expanding any Dockerfile ends in stages or BadDockerfile or BadWord, in time that grows with
its length only, and no word it expands is longer than what the text and the variables could make by replacing once.
"""

import time

from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.fuzzing import examples, near_text, nothing_but
from tidepool.images import dockerfile, words
from tidepool.images.errors import BadDockerfile, BadImage
from tidepool.images.reference import parse_reference

GOOD = (
    "# syntax=docker/dockerfile:1\nFROM --platform=linux/amd64 python:3.11 AS base\nRUN --mount=type=cache x\n",
    "# escape=`\nFROM a\nENV A=1 B=\"two words\" C='x'\nLABEL x=$A y=${A:-b} z=${A:+c}\nCOPY --chown=1:2 a b /c/\n",
    'FROM a\nRUN <<EOF cat <<-\'TWO\'\nhello $A\nEOF\n\ttwo\n\tTWO\nCMD ["a", "b"]\nHEALTHCHECK --interval=5s CMD x\n',
    'ARG V=1\nFROM a:${V}\nCOPY --from=0 ./a \\\n# comment\n  b\nSHELL ["/bin/sh","-c"]\nEXPOSE 80/tcp\nSTOPSIGNAL 9\n',
)
TAKEN = {"ENV": dockerfile.pairs, "LABEL": dockerfile.pairs, "ARG": dockerfile.arguments}


@examples(150)
@given(near_text(*GOOD))
def test_parse(text: str) -> None:
    found = nothing_but(BadDockerfile, lambda: dockerfile.parse(text))
    if found is None:
        return
    assert found.stages
    for stage in found.stages:
        for step in stage.steps:
            take = TAKEN.get(step.keyword, dockerfile.operands)
            nothing_but(BadDockerfile, lambda take=take, step=step: take(step, found.escape))


@examples(150)
@given(
    near_text("$A", "${A:-${B:+c}}", "'$A'\"$B\"\\$", '["a", "b\\u0041"]', "a b\tc"),
    st.dictionaries(st.sampled_from("AB"), st.text(max_size=9)),
)
def test_words(text: str, variables: dict[str, str]) -> None:
    for take in (words.split, words.json_words):
        nothing_but(words.BadWord, lambda take=take: take(text))
    found = nothing_but(words.BadWord, lambda: words.expand(text, variables))
    longest = max([1, *map(len, variables.values())])
    assert found is None or len(found) <= (len(text) + 1) * longest


def test_time_grows_with_length_only() -> None:
    for piece in ("\\\n", "a=", '"', "${A:-", "<<A ", "[", "# escape=", "--x ", "$", "'", "\t"):
        for text in (f"FROM a\nRUN {piece * 20_000}", piece * 20_000):
            started = time.process_time()
            nothing_but(BadDockerfile, lambda text=text: dockerfile.parse(text))
            for take in (words.split, words.json_words, lambda text: words.expand(text, {})):
                nothing_but(words.BadWord, lambda take=take, text=text: take(text))
            assert time.process_time() - started < 3, (piece, "takes more than linear time")


@examples(150)
@given(near_text("python", "host.test:5000/a/b:tag@sha256:" + "0" * 64, "a/../b", "localhost/x"))
def test_names_of_images(text: str) -> None:
    found = nothing_but(BadImage, lambda: parse_reference(text))
    if found is not None:
        said = found.host + found.repository + found.version
        assert said.isascii()
        assert ".." not in found.repository.split("/")
        assert not set(said) & set(" \r\n\t\\?#%&")
