"""What official clients wrap around a command (protocol section 10.2), and the hint for shell lines sent as code."""

import base64
import shlex
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidepool.server.envelope import HINT, Unwrapped, hint, unwrap


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def wrapped(command: str, **env: str) -> str:
    """As clients before 0.158 send a command."""
    exports = "; ".join(f"export {key}=$(echo '{b64(value)}' | base64 -d)" for key, value in env.items())
    inner = f"echo '{b64(command)}' | base64 -d | sh"
    return f'sh -c "{exports + "; " if exports else ""}{inner}"'


def python(code: str, argv: str = "") -> str:
    return f""" sh -c 'python3 -u -c "exec(__import__(\\"base64\\").b64decode(\\"{b64(code)}\\").decode())" {argv}' """


def node(code: str, argv: str = "") -> str:
    run = f'node -e "$(cat)" {argv}'
    return f""" sh -c 'echo {b64(code)} | base64 --decode | {run} 2>&1 | grep -vE "npm notice"' """


def ts_node(code: str, argv: str = "") -> str:
    run = f'npx ts-node -O "{{\\"module\\":\\"CommonJS\\"}}" -e "$(cat)" x {argv}'
    return f""" sh -c 'echo {b64(code)} | base64 --decode | {run} 2>&1 | grep -vE "npm notice"' """


CODE = "print('a \"quoted\" $thing')\nprint(2)"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # no envelope: what a user or a newer client sends
        ("ls -l", Unwrapped(command="ls -l")),
        ("", Unwrapped(command="")),
        ('sh -c "echo hi"', Unwrapped(command='sh -c "echo hi"')),
        (python("print(1)"), Unwrapped(command=python("print(1)"))),
        # an envelope around a command
        (wrapped("ls -l"), Unwrapped(command="ls -l")),
        (wrapped("echo 'ü'\nexit 3"), Unwrapped(command="echo 'ü'\nexit 3")),
        (wrapped("x", A="1", B="two $(rm)\n"), Unwrapped(command="x", env={"A": "1", "B": "two $(rm)\n"})),
        (wrapped("x", EMPTY=""), Unwrapped(command="x", env={"EMPTY": ""})),
        # and around code
        (wrapped(python(CODE)), Unwrapped(code=CODE, language="python")),
        (wrapped(python(CODE, "a --b=c ./d")), Unwrapped(code=CODE, language="python", argv=("a", "--b=c", "./d"))),
        (wrapped(python(CODE), A="1"), Unwrapped(code=CODE, language="python", env={"A": "1"})),
        (wrapped(node(CODE, "1")), Unwrapped(code=CODE, language="javascript", argv=("1",))),
        (wrapped(ts_node(CODE)), Unwrapped(code=CODE, language="typescript")),
        # arguments that a shell would change: then a shell must see them
        *[
            (wrapped(python("1", argv)), Unwrapped(command=python("1", argv)))
            for argv in ('"two words"', "$HOME", "*.py", "`id`", "a;b", "~", "x>y", "a\\ b", "#x", "{a,b}")
        ],
        # nearly envelopes: run as they are
        *[
            (text, Unwrapped(command=text))
            for text in (
                wrapped("x").replace("base64 -d", "base64 -D"),
                wrapped("x") + "; id",
                "id; " + wrapped("x"),
                "sh -c \"echo 'bm8gcGFkZGluZw' | base64 -d | sh\"",
                "sh -c \"echo '/w==' | base64 -d | sh\"",  # not UTF-8
                f"sh -c \"rm -rf x; echo '{b64('x')}' | base64 -d | sh\"",
                f"sh -c \"export A=1; echo '{b64('x')}' | base64 -d | sh\"",
                f"sh -c \"export A=$(echo '/w==' | base64 -d); echo '{b64('x')}' | base64 -d | sh\"",
            )
        ],
    ],
)  # fmt: skip
def test_unwrap(text: str, expected: Unwrapped) -> None:
    assert unwrap(text) == expected


@given(st.text(max_size=200))
def test_any_command_comes_out_as_it_went_in(command: str) -> None:
    text = "".join(character for character in command if character.isprintable() or character == "\n")
    assert unwrap(wrapped(text)).command == text


@given(st.text(alphabet=list("sh -c\"'echo|base64d()$;\\=A \n"), max_size=120))
def test_what_is_no_envelope_is_left_alone(text: str) -> None:
    found = unwrap(text)
    assert found.command == text or found.code is not None or found.command is not None
    if "base64 -d | sh" not in text:
        assert found == Unwrapped(command=text)


@pytest.mark.parametrize(
    "command", ["echo one; echo two >&2; exit 5", "printf '%s|' \"$A\" $B", "cat <<E\n$A\nE"]
)
def test_the_command_inside_does_what_the_envelope_would_have_done(command: str) -> None:
    env = {"A": "x  y", "B": "1 2"}
    # The daemon of that time split words as a shell does and ran the program itself.
    outer = subprocess.run(
        ["bash", *shlex.split(wrapped(command, **env))[1:]],
        capture_output=True,
        env={"PATH": "/bin:/usr/bin"},
    )
    inside = unwrap(wrapped(command, **env))
    assert inside.command is not None
    bare = subprocess.run(
        ["sh", "-c", inside.command], capture_output=True, env={"PATH": "/bin:/usr/bin", **inside.env}
    )
    assert (outer.stdout, outer.stderr, outer.returncode) == (bare.stdout, bare.stderr, bare.returncode)


@pytest.mark.parametrize(
    ("code", "language", "exit_code", "expected"),
    [
        ("python hello.py", "python", 1, True),
        ("pip install pytest numpy", "python", 1, True),
        ("  python -m pytest test_tool.py -v\n", "python", 1, True),
        ("ls", "python", 1, False),  # a name: valid Python
        ("ls -l", "python", 1, False),  # a subtraction: valid Python
        ("python hello.py", "python", 0, False),  # it did not fail
        ("python hello.py", "javascript", 1, False),
        ("python hello.py\npython b.py", "python", 1, False),  # more than one line
        ("prnt('x'", "python", 1, False),  # broken Python, but no program
        ("", "python", 1, False),
        ("print(1/0)", "python", 1, False),
        ("cat " + "(" * 5000, "python", 1, True),
    ],
)  # fmt: skip
def test_hint(code: str, language: str, exit_code: int, expected: bool) -> None:
    assert hint(code, language, exit_code) == (HINT if expected else "")


def test_the_hint_is_one_line_that_the_documents_check_notices() -> None:
    assert HINT.endswith("\n")
    assert HINT.count("\n") == 1
    assert "ERROR" in HINT
