"""Running program text in a forked child of a preloaded interpreter so that it cannot be told from a fresh one.

The program is compiled, run, its failure printed and the interpreter finalized by CPython's own C functions, as
`python3 -u -` or `python3 -u file.py` does it; what happens here is to make the process look freshly started. What
stays different is listed under `DIFFERENCES`.
"""

import atexit
import ctypes
import functools
import gc
import io
import os
import signal
import site
import sys
import time
import weakref
from collections.abc import Callable, Mapping
from importlib.machinery import BuiltinImporter
from types import ModuleType
from typing import Any, NoReturn

from tidepool.engine.guest import imports, stage, warm

DIFFERENCES = (
    "hash randomization is one per preloaded interpreter, not one per run (the order of sets of strings)",
    "the heap holds preloaded classes: __subclasses__() lists them; gc.get_objects() does not, they are frozen",
    "libraries preloaded with one thread keep one (OPENBLAS_NUM_THREADS and its like)",
    "objects kept only by preloaded modules, thread-locals or context variables are not finalized at exit; files are flushed",
    "3.11 counts a few levels of C calls into the recursion limit; the same limit is reached up to 5 frames earlier",
)
"""How a forked run can still be told from a fresh interpreter by one who looks."""

_RESTORED = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGPIPE: signal.SIG_IGN,
    signal.SIGXFSZ: signal.SIG_IGN,
    signal.SIGCHLD: signal.SIG_DFL,
}
"""What Python sets at its start (signal(7), Modules/signalmodule.c), and what init had changed."""


def run_source(source: bytes, argv: list[str], filename: str = "<stdin>") -> NoReturn:
    """Become the interpreter that runs this program, to its end.

    `argv` is sys.argv: `["-", …]` for text from nowhere, else the script's path as given. Descriptors 0, 1, 2, the
    working directory, ids and os.environ are already the program's. Leaves by `stage.leave`.
    """
    script = filename != "<stdin>"
    first = os.path.dirname(os.path.realpath(filename)) if script else ""
    prepare(argv, first)
    if script and not os.path.isabs(filename):
        filename = os.path.join(os.getcwd(), filename.removeprefix("./"))
    stage.leave(_program(source, filename))


def _program(source: bytes, filename: str) -> stage.Program:
    status: list[int] = []
    # None for the stage, whatever the status.
    ran = _function("PyRun_AnyFileExFlags", [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_void_p])
    ran.errcheck = lambda result, *_: status.append(result)
    ending = _Ending()
    yield functools.partial(ran, _stdio_file(source), os.fsencode(filename), 1, None)
    code = 1 if status[0] else 0
    if status[0] and getattr(sys, "last_type", None) is KeyboardInterrupt:
        code = 130
    ending.code = code
    yield functools.partial(_function("Py_Exit", [ctypes.c_int]), code)


def prepare(argv: list[str], first: str) -> None:
    """Make this process look like an interpreter just started with `argv` and `first` at the head of its path."""
    record = imports.RECORD
    for number, handler in _RESTORED.items():
        signal.signal(number, handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    if os.environ.get("TZ") != record.environment.get("TZ"):
        time.tzset()
    if os.environ.get("HOME") != record.environment.get("HOME"):
        site.USER_BASE = site.USER_SITE = None
        site.getusersitepackages()
    if record.fresh:
        record.hide()
        record.trust(first or os.getcwd())
    for name in [name for name in sys.modules if imports.is_ours(name)]:
        del sys.modules[name]
    _reset_path(first, record.path if record.fresh else sys.path[1:])
    sys.argv[:] = argv
    sys.orig_argv[:] = [sys.orig_argv[0], "-u", *argv]
    sys.stdin, sys.stdout, sys.stderr = sys.__stdin__, sys.__stdout__, sys.__stderr__ = _streams()
    sys.modules["__main__"] = _main_module()
    gc.enable()
    gc.freeze()


def _reset_path(first: str, rest: list[str]) -> None:
    sys.path[:] = [first, *(entry for entry in rest if entry != imports.ROOT)]
    # What the zygote looked up in its own working directory must not be remembered in another one.
    for entry in list(sys.path_importer_cache):
        if not any(entry.startswith(root) for root in rest):
            del sys.path_importer_cache[entry]


def _streams() -> tuple[Any, Any, Any]:
    """New standard streams on descriptors 0, 1, 2 as `python3 -u` opens them (create_stdio in pylifecycle.c)."""
    encoding, errors = imports.RECORD.encoding, imports.RECORD.encoding_errors
    kinds = ((0, "stdin", "r", errors), (1, "stdout", "w", errors), (2, "stderr", "w", "backslashreplace"))
    return tuple(_open_stream(fd, f"<{name}>", mode, encoding, how) for fd, name, mode, how in kinds)  # type: ignore[return-value]


def _open_stream(fd: int, name: str, mode: str, encoding: str, errors: str) -> io.TextIOWrapper | None:
    try:
        raw: Any = io.FileIO(fd, mode, closefd=False)
    except OSError:
        return None  # as a fresh interpreter whose descriptor is closed
    raw.name = name
    buffer = io.BufferedReader(raw) if mode == "r" else raw
    text: Any = io.TextIOWrapper(buffer, encoding, errors, "\n", write_through=True)
    text.mode = mode
    return text  # type: ignore[no-any-return]


def _main_module() -> ModuleType:
    """A new `__main__` as the interpreter makes it (add_main_module in pylifecycle.c)."""
    main = ModuleType("__main__")
    if "__annotations__" in imports.RECORD.main_names:
        main.__annotations__ = {}
    namespace = vars(main)
    namespace["__builtins__"] = sys.modules["builtins"]
    namespace["__loader__"] = BuiltinImporter
    return main


def _function(name: str, argument_types: list[Any]) -> Any:
    # A new object each time: the one ctypes.pythonapi caches belongs to whoever imports ctypes next.
    found = ctypes.PyDLL(None)[name]
    found.argtypes = argument_types
    return found


def _stdio_file(source: bytes) -> int:
    """A C FILE to read `source` from; the parser closes it before the program starts."""
    fd = os.memfd_create("source", os.MFD_CLOEXEC)
    os.write(fd, source)
    os.lseek(fd, 0, os.SEEK_SET)
    opened = _function("fdopen", [ctypes.c_int, ctypes.c_char_p])
    opened.restype = ctypes.c_void_p
    return int(opened(fd, b"r"))


class _Ending:
    """Makes the interpreter's finalization end where nothing visible follows.

    All modules, types and strings would be freed next, which in a forked process means copying their pages: 9 ms.
    Without an exit code (SystemExit is handled in C) that is what happens.
    """

    def __init__(self) -> None:
        self.code: int | None = None
        self._streams = (sys.stdout, sys.stderr)
        # Registered first, called last.
        atexit.register(self._shrink)
        self._known = {*imports.RECORD.fresh, *imports.RECORD.hidden} - {"__main__", "sys", "builtins"}

    def _shrink(self) -> None:
        """After the program's exit functions: only its own modules are to be taken down."""
        keep = [self, dict(sys.modules), imports.RECORD, sys.meta_path, sys.path_importer_cache, sys.path_hooks]
        _function("Py_IncRef", [ctypes.py_object])(keep)
        for name in self._known & set(sys.modules):
            del sys.modules[name]
        if self.code is None or (sys.stdout, sys.stderr) != self._streams:
            return
        helper = vars(sys.modules["builtins"]).get("help")
        if helper is not None:
            # Of what only `builtins` holds; that is cleared last of all modules.
            self._last = weakref.ref(helper, self._callback(self.code))

    def _callback(self, code: int) -> Callable[[object], None]:
        """Called when the program's modules are gone. Built-in names are gone too by then: all it needs is bound here."""
        finalizing, objects, kinds = sys.is_finalizing, gc.get_objects, (io.BufferedWriter, io.TextIOWrapper)
        exit_now, kill, pid, interrupt, is_a = os._exit, os.kill, os.getpid(), signal.SIGINT, isinstance
        error = Exception

        def end(_: object) -> None:
            if not finalizing():
                return
            for item in objects():
                if is_a(item, kinds) and not item.closed:
                    try:
                        item.flush()
                    except error:
                        continue
            if code == 130:
                kill(pid, interrupt)
            exit_now(code)

        return end


def can_fork(env: Mapping[str, str], place: str, uid: int) -> bool:
    """Whether a run may be forked from this interpreter: only if that could not be told from a fresh one.

    `place` is the directory that becomes `sys.path[0]`; `uid` is whose run it is. The reason is `warm.why_not_fork`'s.
    """
    return warm.why_not_fork(env, place, uid) == ""
