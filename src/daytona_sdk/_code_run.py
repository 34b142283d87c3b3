"""The one rule by which `code_run` tells a program text from a command line. Pure: the host is not looked at.

The sandbox is not this host: a program is a word of a fixed table or a path, not what PATH holds here.
"""

import ast
import builtins
import re
import warnings

_NUMBERED = re.compile(r"(?:python|pypy|pip|perl|ruby|php|lua|gcc|clang|g\+\+)[0-9][0-9.]*\Z")
_PATH = re.compile(r"(?:\.{1,2}|~)?/[^\s'\"()]")
# `node = Node(` is a broken assignment, not a run of node; `make CC=gcc` is a run of make.
_ASSIGNMENT = re.compile(r"\S+\s+[^\w\s'\"/.~$-]?=")

_TABLE = """
apt apt-get awk base64 basename bash bun bunzip2 busybox bzip2 cargo cat cd chmod chown clang cmake
cmp comm conda coverage cp curl cut date dd deno df diff dirname dpkg du echo egrep env export expr
false ffmpeg fgrep file find flake8 free g++ gawk gcc git go grep groups gunzip gzip head hostname
id install ipython java javac jobs jq jupyter kill killall less ln ls lua make mamba md5sum mkdir
mkfifo mktemp more mv mypy nice nl node nohup npm nproc npx od openssl pandoc paste patch perl pgrep
php pip pipx pkill pnpm poetry printenv printf ps pwd pytest python readlink realpath rg rm rmdir
rsync ruby ruff rustc sed seq setsid sh sha1sum sha256sum shuf sleep sort source sqlite3 stat stdbuf
strace sudo tac tail tar tee timeout top touch tox tr tree true truncate ts-node tsc tty ulimit
umask uname uniq unlink unset unxz unzip uptime uv uvx vi vim watch wc wget which whoami xargs xxd
xz yarn yes zcat zip zsh
"""
PROGRAMS = frozenset(_TABLE.split())


def is_command(text: str, language: str = "python") -> bool:
    """Whether `code_run(text)` means a shell command rather than source code.

    Text that can run as the sandbox's language is code. A single line that cannot, whose first word is a program
    and that is not an assignment, is a command. Everything else is code, so that its syntax error shows.

    A line cannot run when it does not compile, or when all it could do is fail at its first word: `ls -la /tmp` is
    valid Python (one name minus another, divided by a third), but no name `ls` exists in a fresh interpreter. So
    no text that would do anything as a program is ever taken for a command.

    Only Python can be judged here: in a JavaScript or TypeScript sandbox every text is code.

    Args:
        text: What the caller gave to `code_run`.
        language: The sandbox's language.
    """
    line = text.strip()
    if language != "python" or not line or "\n" in line or "\r" in line:
        return False
    first = line.split(None, 1)[0]
    return _is_program(first) and not _ASSIGNMENT.match(line) and not _can_run(line, first)


def _is_program(word: str) -> bool:
    return word in PROGRAMS or bool(_NUMBERED.match(word) or _PATH.match(word))


def _can_run(line: str, first: str) -> bool:
    # A warning about the text (an odd escape) does not say that it fails, even where warnings are errors.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            compile(line, "<code>", "exec", dont_inherit=True)
            body = ast.parse(line).body
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            return False
    if len(body) != 1 or not isinstance(body[0], ast.Expr) or hasattr(builtins, first):
        return True
    evaluated_first = _leftmost(body[0].value)
    return not (isinstance(evaluated_first, ast.Name) and evaluated_first.id == first)


def _leftmost(node: ast.expr) -> ast.expr:
    """The part of an expression that is evaluated before all others, as far as that is sure."""
    while True:
        match node:
            case ast.BinOp(left=part) | ast.Compare(left=part) | ast.BoolOp(values=[part, *_]):
                node = part
            case ast.Tuple(elts=[part, *_]):
                node = part
            case _:
                return node
