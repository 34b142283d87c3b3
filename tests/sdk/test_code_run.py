"""The rule by which `code_run` tells code from commands: its table of cases."""

import builtins
import keyword
import warnings

import pytest

from daytona_sdk._code_run import PROGRAMS, is_command

COMMANDS = [
    "python hello.py",
    "python3 hello.py",
    "python3.12 -V",
    "pip install pytest",
    "pip install pytest numpy pandas",
    "pip3 install 'requests>=2'",
    "python -m pytest test_tool.py -v",
    "python -m pytest t.py -v",
    "pytest test_tool.py -q",
    "ls -la /tmp",  # compiles, but could only fail at `ls`
    "ls -la",
    "ls",
    "pwd",
    "python",
    "make -j",
    "df -h",
    "zip -r a.zip b",
    "ls *.py",
    "cat hello.py",
    "echo hello world",
    "mkdir -p a/b && cd a/b",
    "git clone repo",
    "make CC=gcc all",
    "env A=1 python x.py",
    "bash -c 'echo hi'",
    "./run.sh now",
    "/usr/bin/env python x.py",
    "../tool --help",
    "~/tool --help",
    "  python hello.py  \n",
    "node app.js",
    "uv pip install numpy",
]

CODE = [
    "print(1)",
    "x = 1",
    "x = ",
    "import os",
    "import os sys",
    "for i in range(3): print(i)",
    "for i in 1 2 3; do echo $i; done",
    "print 'hello'",
    "def f(:",
    "1 +",
    "",
    "   \n  ",
    "id",
    "zip",
    "id -u",  # `id` is a name of the language: the rule does not guess
    "cat if print(1) else 2",
    "(ls)",
    "ls; print(1)",
    "cat = open(",
    "node = Node(",
    "tree += [",
    "date == 2020-",
    "file := 3 4",
    "tree.insert(",
    "head[0",
    "python hello.py\npython other.py",  # not a single line
    "def broken(:\n    pass\n\nprint(1)",
    "pip install \\\n  pytest",
    "unknownprogram --flag x",
    "./",
    "/ 3",
    "..",
]


@pytest.mark.parametrize("text", COMMANDS)
def test_commands(text: str) -> None:
    assert is_command(text)


@pytest.mark.parametrize("text", CODE)
def test_code(text: str) -> None:
    assert not is_command(text)


@pytest.mark.parametrize("text", COMMANDS)
def test_other_languages_cannot_be_compiled_here_so_all_is_code(text: str) -> None:
    assert not is_command(text, "javascript")
    assert not is_command(text, "typescript")


def test_no_keyword_is_taken_for_a_program() -> None:
    assert PROGRAMS & {*keyword.kwlist, *keyword.softkwlist} == set()


@pytest.mark.parametrize("word", sorted(PROGRAMS & set(dir(builtins))))
def test_a_builtin_alone_is_code(word: str) -> None:
    assert not is_command(word)


def test_an_odd_escape_is_no_warning_of_the_caller() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert is_command(r"grep '\d' x y")
        assert is_command("python -c 'print(\"\\d\")'")
        assert not is_command("id is 3")


@pytest.mark.parametrize("text", COMMANDS)
def test_no_command_could_have_run_as_a_program(text: str) -> None:
    """Run it for what it is not: a text taken for a command has no effect as a program."""
    with pytest.raises((SyntaxError, NameError)):
        exec(compile(text.strip(), "<t>", "exec"), {})
