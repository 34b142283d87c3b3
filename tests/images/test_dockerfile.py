"""Dockerfiles as text: what instructions are read, and which line is named when something is wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidepool.images.dockerfile import KEYWORDS, Heredoc, arguments, operands, pairs, parse
from tidepool.images.errors import BadDockerfile

EVERYTHING = """# syntax=x/y:1
ARG VERSION=3.11 OTHER
FROM python:${VERSION}-slim AS Builder

# a comment
RUN apt-get update && \\
    # inside a continued line

    apt-get install -y curl
run ["echo", "a b"]
ENV A=1 B="two words" C=x\\ y
ENV OLD has spaces = too
COPY --chown=1000:1000 --chmod=755 src/ a.py /app/
COPY ["with space", "/to here"]
ADD x.tar.gz /opt
WORKDIR '/work here'
FROM scratchless
COPY --from=builder /app /app
LABEL a.b="c d" e=f
EXPOSE 80/tcp
VOLUME ["/data"]
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s CMD true
SHELL ["/bin/bash", "-c"]
USER app
ENTRYPOINT ["python", "-m", "app"]
CMD serve
"""


def test_every_instruction_is_read() -> None:
    file = parse(EVERYTHING)
    builder, last = file.stages
    assert arguments(file.arguments[0]) == [("VERSION", "3.11"), ("OTHER", None)]
    assert (builder.base, builder.name, builder.line) == ("python:${VERSION}-slim", "builder", 3)
    run, run_json, env, old, copy, copy_json, add, work_dir = builder.steps
    assert run.text == "apt-get update &&     apt-get install -y curl"
    assert (run.line, run_json.line, run_json.argv) == (6, 10, ("echo", "a b"))
    assert pairs(env) == [("A", "1"), ("B", '"two words"'), ("C", "x\\ y")]
    assert pairs(old) == [("OLD", "has spaces = too")]
    assert (copy.flag("chown"), copy.flag("chmod"), operands(copy)) == (
        "1000:1000",
        "755",
        ("src/", "a.py", "/app/"),
    )
    assert operands(copy_json) == ("with space", "/to here")
    assert (add.keyword, work_dir.text) == ("ADD", "'/work here'")
    assert [step.keyword for step in last.steps] == (
        "COPY LABEL EXPOSE VOLUME STOPSIGNAL HEALTHCHECK SHELL USER ENTRYPOINT CMD".split()  # noqa: SIM905
    )
    assert last.steps[0].flag("from") == "builder"


def test_what_clients_write() -> None:
    text = (
        "FROM python:3.12.10-slim-bookworm\nRUN apt-get update\nRUN apt-get install -y gcc gfortran build-essential\n"
        "RUN pip install --upgrade pip\n"
        "RUN echo 'debconf debconf/frontend select Noninteractive' | debconf-set-selections\n"
        "RUN python -m pip install numpy 'pandas>=2' --pre\n"
        'COPY ["tmp/app.py", "/home/daytona/app.py"]\nCOPY tmp/requirements.txt /.requirements.txt\n'
        'ENV A=\'it\'"\'"\'s\'\nWORKDIR /home/daytona\nENTRYPOINT ["/bin/bash"]\nCMD ["-l"]\n'
    )
    steps = parse(text).stages[0].steps
    assert [step.line for step in steps] == list(range(2, 13))
    assert steps[3].text == "echo 'debconf debconf/frontend select Noninteractive' | debconf-set-selections"
    assert operands(steps[5]) == ("tmp/app.py", "/home/daytona/app.py")
    assert pairs(steps[7]) == [("A", "'it'\"'\"'s'")]


def test_heredocs() -> None:
    steps = (
        parse(
            "FROM a\nRUN <<EOF\necho $x # no comment\n\nEOF\nRUN cat <<-'ONE' <<TWO\n\t\tx\nONE\ny\nTWO\n"
            "COPY <<f.txt /f.txt\nhello\nf.txt\nRUN echo $((1<<3))\nRUN it's <<broken\n"
        )
        .stages[0]
        .steps
    )
    assert steps[0].heredocs == (Heredoc("EOF", "echo $x # no comment\n\n", True),)
    assert steps[1].heredocs == (Heredoc("ONE", "x\n", False), Heredoc("TWO", "y\n", True))
    assert steps[2].heredocs == (Heredoc("f.txt", "hello\n", True),)
    assert (steps[3].heredocs, steps[4].heredocs) == ((), ())


def test_the_escape_directive() -> None:
    steps = parse("# escape=`\nFROM a\nRUN a `\n b\nENV A=C:\\x\n").stages[0].steps
    assert steps[0].text == "a  b"
    assert pairs(steps[1], "`") == [("A", "C:\\x")]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, "no FROM"),
        ("RUN x\nFROM a", 1, "before FROM"),
        ("FROM a\n\nFETCH x", 3, "FETCH"),
        ("FROM a\nRUN", 2, "needs something"),
        ("FROM a b", 1, "FROM IMAGE AS NAME"),
        ("FROM a AS x\nFROM b AS X", 2, "already"),
        ("FROM a AS 1x", 1, "stage"),
        ("FROM a\nCOPY x", 2, "destination"),
        ("FROM a\nCOPY --exclude=y x z", 2, "--exclude"),
        ("FROM a\nENV =x", 2, "NAME=VALUE"),
        ("FROM a\nENV 1a=x", 2, "variable"),
        ("FROM a\nENV a", 2, "no value"),
        ("FROM a\nENV a=1 b", 2, "NAME=VALUE"),
        ("FROM a\nENV a='x", 2, "not closed"),
        ("FROM a\nARG 1", 2, "argument"),
        ("FROM a\nSHELL bash", 2, "JSON"),
        ("FROM a\nRUN []", 2, "command"),
        ("FROM a\n# c\nRUN <<EOF\nx", 3, "heredoc"),
        ("# escape=x\nFROM a", 1, "escape"),
        ("FROM a\nRUN \0", 2, "NUL"),
        ("FROM a\n" + "RUN x\n" * 2001, 2001, "2000"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: str, line: int, words: str) -> None:
    with pytest.raises(BadDockerfile) as caught:
        parse(text)
    assert caught.value.line == line
    assert str(caught.value).startswith(f"Dockerfile line {line}: ")
    assert words in str(caught.value)


_LINE = st.builds(
    lambda keyword, rest: f"{keyword} {rest}",
    st.sampled_from(KEYWORDS),
    st.text(alphabet="ab=\"'\\[]<>$-{}/ #\t", max_size=30),
)


@given(st.lists(st.one_of(_LINE, st.text(max_size=20)), max_size=8))
def test_no_text_does_more_than_be_refused(lines: list[str]) -> None:
    text = "FROM a\n" + "\n".join(lines)
    try:
        found = [(step.line, step.keyword) for stage in parse(text).stages for step in stage.steps]
    except BadDockerfile as error:
        found = [(error.line, "RUN")]
    assert all(1 <= line <= text.count("\n") + 1 and keyword in KEYWORDS for line, keyword in found)


@given(
    st.lists(st.sampled_from(["RUN a", "ENV b=1", "USER c"]), max_size=8),
    st.lists(st.integers(0, 8), max_size=5),
)
def test_comments_and_empty_lines_change_nothing(steps: list[str], places: list[int]) -> None:
    noisy = list(steps)
    for number, place in enumerate(places):
        noisy.insert(min(place, len(noisy)), "# RUN x \\" if number % 2 else "  ")
    found = [
        [(s.keyword, s.text) for s in parse("\n".join(["FROM a", *x])).stages[0].steps]
        for x in (steps, noisy)
    ]
    assert found[0] == found[1]
