"""The worker of an interpreter context: one Python namespace in which cells of code are run, one after the other.

It is started as program text in a sandbox. Requests are JSON lines on what was its stdin, which programs see as empty;
answers are JSON lines on descriptor 4, never on the descriptors that programs write to. What it says is trusted by
nobody: a program can find descriptor 4, and gains the power to lie about itself.
"""

import ast
import base64
import contextlib
import fcntl
import io
import json
import linecache
import os
import pickle
import signal
import sys
import traceback
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

ANSWERS_FD = 4
_PRIVATE = 200
"""Below this number programs' own descriptors are."""
_MAX_VALUE = 64 << 10
_MAX_TRACEBACK = 256 << 10
"""Characters; the end is kept, where Python says what happened."""
_KEPT_CELLS = 256
"""So many of the newest cells show their source in tracebacks."""
_MAX_STATE = 48 << 20


class Worker:
    """The namespace and what happens to it."""

    def __init__(self, requests: int, answers: int) -> None:
        self._requests = os.fdopen(requests, "rb")
        self._answers = answers
        self._pid = os.getpid()
        self._cells = 0
        self._interruptible = False
        self._sources: dict[str, str] = {}
        """Text of the functions and classes that cells have defined, by name."""
        self._main = ModuleType("__main__")
        vars(self._main)["__builtins__"] = sys.modules["builtins"]
        sys.modules["__main__"] = self._main
        self._names = vars(self._main)

    def serve(self) -> None:
        """Answer requests until there are no more."""
        while line := self._requests.readline():
            request = json.loads(line)
            # A program may have set another handler.
            signal.signal(signal.SIGINT, self._on_interrupt)
            answer = self._answer(request)
            if os.getpid() != self._pid:
                os._exit(0)  # a child that a program forked and let run on
            self._send({"id": request["id"], **answer})

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        perform = getattr(self, "_do_" + request["op"])
        try:
            self._interruptible = True
            answer: dict[str, Any] = perform(request)
            self._interruptible = False
        except BaseException as error:
            self._interruptible = False
            answer = {"error": _described(error)}
        _flush()
        return answer

    def _send(self, answer: dict[str, Any]) -> None:
        view = memoryview(json.dumps(answer).encode() + b"\n")
        while view:
            view = view[os.write(self._answers, view) :]

    def _on_interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._interruptible:
            self._interruptible = False  # one for each cell: the second would hit our own code
            raise KeyboardInterrupt

    def _do_run(self, request: dict[str, Any]) -> dict[str, Any]:
        """Run one cell; the value of a last expression is displayed as at a prompt."""
        code, envs = request["code"], request["envs"]
        before = {key: os.environ.get(key) for key in envs}
        os.environ.update(envs)
        try:
            self._run(code)
        finally:
            for key, value in before.items():
                if value is None:
                    os.environ.pop(key, None)
                else:
                    os.environ[key] = value
        return {"error": None}

    def _run(self, source: str) -> None:
        self._cells += 1
        filename = f"<cell {self._cells}>"
        linecache.cache.pop(f"<cell {self._cells - _KEPT_CELLS}>", None)
        linecache.cache[filename] = (len(source), None, source.splitlines(True), filename)
        tree = ast.parse(source, filename)
        last = None
        if tree.body and isinstance(tree.body[-1], ast.Expr):
            last = ast.Expression(tree.body.pop().value)  # type: ignore[attr-defined]  # an Expr, as just seen
        self._note_definitions(tree, source)
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        self._execute(compile(tree, filename, "exec", flags, dont_inherit=True))
        if last is not None:
            sys.displayhook(self._execute(compile(last, filename, "eval", flags, dont_inherit=True)))

    def _execute(self, code: CodeType) -> Any:
        value = eval(code, self._names)  # noqa: S307  # to run programs is what this is for
        if not code.co_flags & 0x80:  # CO_COROUTINE: the cell awaits something at its top level
            return value
        import asyncio

        return asyncio.run(value)

    def _note_definitions(self, tree: ast.Module, source: str) -> None:
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                first = min([node.lineno, *(item.lineno for item in node.decorator_list)])
                lines = source.splitlines(True)[first - 1 : node.end_lineno]
                self._sources.pop(node.name, None)  # the newest definition is also the last
                self._sources[node.name] = "".join(lines)

    def _do_dump(self, request: dict[str, Any]) -> dict[str, Any]:
        """The names of this context for another one, and which of them cannot be taken along."""
        modules: dict[str, str] = {}
        values: dict[str, bytes] = {}
        lost: list[str] = []
        sources = {name: text for name, text in self._sources.items() if self._is_defined_here(name)}
        room = _MAX_STATE
        for name, value in self._names.items():
            if name.startswith("__") or name in sources:
                continue
            if isinstance(value, ModuleType):
                modules[name] = value.__name__
                continue
            data = _pickled(value)
            if data is None or len(data) > room:
                lost.append(name)
            else:
                values[name] = data
                room -= len(data)
        state = pickle.dumps((modules, sources, values))
        return {"state": base64.b64encode(state).decode(), "lost": lost}

    def _is_defined_here(self, name: str) -> bool:
        value = self._names.get(name)
        return isinstance(value, FunctionType | type) and value.__module__ == "__main__"

    def _do_load(self, request: dict[str, Any]) -> dict[str, Any]:
        """Take over what `dump` of another context gave."""
        state = base64.b64decode(request["state"])
        modules, sources, values = pickle.loads(state)  # noqa: S301  # inside, where any program may run
        lost = [name for name, module in modules.items() if not self._take_module(name, module)]
        # A default may need a value, a value its class: what fails first is tried again when the rest is there.
        undefined = [name for name, text in sources.items() if not self._define(name, text)]
        for name, data in values.items():
            try:
                self._names[name] = pickle.loads(data)  # noqa: S301
            except Exception:
                lost.append(name)
        lost += [name for name in undefined if not self._define(name, sources[name])]
        return {"state": "", "lost": lost}

    def _take_module(self, name: str, module: str) -> bool:
        try:
            __import__(module)
        except Exception:
            return False
        self._names[name] = sys.modules[module]
        return True

    def _define(self, name: str, text: str) -> bool:
        try:
            self._run(text)
        except Exception:
            return False
        return True


def _pickled(value: object) -> bytes | None:
    try:
        data = pickle.dumps(value)
        pickle.loads(data)  # noqa: S301  # what can be written need not be readable
    except Exception:  # whatever an object's own methods raise
        return None
    return data


def _described(error: BaseException) -> dict[str, str]:
    """Name, value and traceback as Python prints it, without our own frames."""
    try:
        value = str(error)
        shown = traceback.TracebackException.from_exception(error)
        _without_ours(shown)
        text = "".join(shown.format())
    except Exception as failure:  # an exception's own __str__ may fail
        value, text = "", f"{type(error).__name__} (cannot be shown: {type(failure).__name__})\n"
    return {
        "name": type(error).__name__[:200],
        "value": _sendable(value[:_MAX_VALUE]),
        "traceback": _sendable(text[-_MAX_TRACEBACK:]),
    }


def _without_ours(shown: traceback.TracebackException) -> None:
    ours = {Worker.serve.__code__.co_filename}
    ours |= (
        {ast.__file__} if shown.exc_type is not None and issubclass(shown.exc_type, SyntaxError) else set()
    )
    kept = [frame for frame in shown.stack if frame.filename not in ours]
    shown.stack = traceback.StackSummary.from_list(kept)
    for other in (shown.__cause__, shown.__context__):
        if other is not None:
            _without_ours(other)


def _sendable(text: str) -> str:
    """Text without halves of characters, which JSON may not hold."""
    return text.encode("utf-8", "backslashreplace").decode()


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # a program may have put anything there, or closed it
            stream.flush()


def _open_streams() -> None:
    """Line by line as at a terminal: one write for each print. What has no newline comes at the end of the cell."""
    for fd, name in ((1, "stdout"), (2, "stderr")):
        raw = io.FileIO(fd, "wb", closefd=False)
        stream = io.TextIOWrapper(
            io.BufferedWriter(raw), "utf-8", "backslashreplace", "\n", line_buffering=True
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def main() -> None:
    """Take the descriptors and serve."""
    requests = fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, _PRIVATE)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.set_inheritable(ANSWERS_FD, False)
    sys.stdin = sys.__stdin__ = os.fdopen(0, closefd=False)  # type: ignore[misc]  # programs may take either
    sys.argv[:] = [""]
    _open_streams()
    Worker(requests, ANSWERS_FD).serve()


if __name__ == "__main__":
    main()
