"""Running program text in a forked child of a preloaded interpreter so that it cannot be told from a fresh one.

The program is compiled, run, its failure printed and the interpreter finalized by CPython's own C functions, as
`python3 -u -` or `python3 -u file.py` does it; what happens here is to make the process look freshly started. What
stays different is in `DIFFERENCES`.
"""

import atexit
import builtins
import ctypes
import functools
import gc
import io
import mmap
import os
import resource
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
    "Hash randomization is one per preloaded interpreter, not per run: sets of strings keep their order across runs.",
    "The heap holds preloaded classes: __subclasses__() lists them. gc.get_objects() does not, they are frozen.",
    "Loggers of preloaded modules exist before these are imported.",
    "What a module's `__getattr__` kept when other modules were imported, it is asked for again.",
    "Numeric libraries preloaded with one thread keep one.",
    "At the end, objects that only preloaded modules, thread-locals or context variables hold are not finalized; "
    "open files are flushed.",
    "3.11 counts calls in C into the recursion limit, and up to 5 are below the program.",
    "/proc/self/cmdline is the preloaded interpreter's: it lacks the arguments of the program.",
    "/proc/self/maps has a page of shared memory on which the process tells its init that it is about to end.",
)
"""By what a forked run can still be told from a fresh interpreter, if someone looks."""

_signal: Any = sys.modules["_signal"]
"""Below `signal`, which makes an enum member of each number."""
_RESTORED = (
    (signal.SIGINT.value, signal.default_int_handler),
    (signal.SIGPIPE.value, signal.SIG_IGN.value),
    (signal.SIGXFSZ.value, signal.SIG_IGN.value),
    (signal.SIGCHLD.value, signal.SIG_DFL.value),
)
"""What Python sets when it starts (Modules/signalmodule.c), and what an init has changed."""
_SMALL_KIB = 96 << 10
"""Whoever has used more memory is waited for: the next run may want it."""
_INTERRUPTED = 130
"""Stands for death by SIGINT, which is how an uncaught KeyboardInterrupt ends."""


_REHEARSAL = b"""
class Some:
    def text(self):
        return [str(number) for number in range(3)]
print(Some().text(), {"a": 1.5, **{}}, end="", flush=True)
"""
"""Touches what most programs touch; imports nothing, for that would show."""


def _renew_multiprocessing(module: Any) -> None:
    module._current_process = type(module._current_process)()  # its class is deleted from the module
    module.ORIGINAL_DIR = os.path.abspath(os.getcwd())


def _renew_logging(module: Any) -> None:
    # Seconds as a float up to 3.12, then nanoseconds.
    module._startTime = time.time_ns() if isinstance(module._startTime, int) else time.time()


imports.AFTER_FORK.update(
    {
        "logging": _renew_logging,
        "threading": lambda module: module.main_thread()._set_native_id(),
        "multiprocessing.process": _renew_multiprocessing,
        "numpy.random": lambda module: module.seed(),
    }
)
# `random` seeds itself after a fork, `tempfile` too, OpenSSL too; `uuid` and `secrets` ask the kernel each time.


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


def _function(name: str, result: Any, *arguments: Any) -> Any:
    # Not through ctypes.pythonapi, whose function objects belong to whoever imports ctypes next.
    found = _C[name]
    found.restype, found.argtypes = result, arguments
    return found


_C = ctypes.PyDLL(None)
_run_file = _function(
    "PyRun_AnyFileExFlags", ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_void_p
)
_exit = _function("Py_Exit", None, ctypes.c_int)
_keep_forever = _function("Py_IncRef", None, ctypes.py_object)
_fdopen = _function("fdopen", ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p)


def _program(source: bytes, filename: str) -> stage.Program:
    status: list[int] = []
    ending = _Ending()
    # None for the stage, whatever the status.
    _run_file.errcheck = lambda result, *_: status.append(result)
    yield functools.partial(_run_file, _stdio_file(source), os.fsencode(filename), 1, None)
    if status[0] == 0:
        ending.code = 0
    elif getattr(sys, "last_type", None) is KeyboardInterrupt:
        ending.code = _INTERRUPTED
    else:
        ending.code = 1
    yield functools.partial(_exit, ending.code)


def _stdio_file(source: bytes) -> int:
    """A C FILE to read `source` from; the parser closes it before the program starts."""
    fd = os.memfd_create("source", os.MFD_CLOEXEC)
    os.write(fd, source)
    os.lseek(fd, 0, os.SEEK_SET)
    return int(_fdopen(fd, b"r"))


class _Ending:
    """Makes the interpreter's finalization end where nothing visible follows.

    All modules, types and strings would be freed next, which in a forked process means copying their pages: twice the
    time of a short run. That is what happens still when the exit code is not known here: SystemExit is handled in C.
    """

    def __init__(self) -> None:
        self.code: int | None = None
        self._streams = (sys.stdout, sys.stderr)
        # Registered first, so called last.
        atexit.register(self._shrink)

    def _shrink(self) -> None:
        """After the program's own exit functions: only its own modules remain to be taken down."""
        known = {name: module for name, module in sys.modules.items() if name in imports.RECORD.known}
        for name in ("__main__", "sys", "builtins"):
            known.pop(name, None)
        _keep_forever([self, known, imports.RECORD, sys.meta_path, sys.path_importer_cache])
        for name in known:
            del sys.modules[name]
        if self.code is not None and (sys.stdout, sys.stderr) == self._streams and sys.__stdin__ is not None:
            # Only `sys` refers to it, and that is cleared when all other modules are gone.
            self._last = weakref.ref(sys.__stdin__, _end_of_modules(self.code))


def _end_of_modules(code: int) -> Callable[[object], None]:
    """Called when the program's modules are gone. So are the built-in names: all that is needed is bound here."""
    finalizing, objects, is_a, error = sys.is_finalizing, gc.get_objects, isinstance, Exception
    kinds = (io.BufferedWriter, io.BufferedRandom, io.TextIOWrapper)
    leave, kill, pid, interrupt = leaver(), os.kill, os.getpid(), signal.SIGINT

    def end(_: object) -> None:
        if not finalizing():
            return  # the program dropped the stream
        for item in objects():
            if is_a(item, kinds) and not item.closed:
                try:
                    item.flush()
                except error:
                    continue  # as at any interpreter's end: nobody is left to be told
        if code == _INTERRUPTED:
            kill(pid, interrupt)
        leave(code)

    return end


_notice: tuple[int, mmap.mmap] | None = None
"""Whose it is, and the page it shares with its init."""


def tell_on(page: mmap.mmap) -> None:
    """This process is a run of an init that looks at `page` when it stops: 0, or its exit code and one more."""
    global _notice
    _notice = os.getpid(), page


def leaver() -> Callable[[int], None]:
    """What ends this process with an exit code; all that it needs is bound here.

    The kernel takes down an interpreter's address space for 1 to 2 ms before anybody hears of the end. So init is told
    first, where it looks, and ends the process that has stopped. What others could miss is given back before:
    descriptors, with their locks and ports. Not where there are threads, nor children that count until they are reaped,
    nor memory that the next run may want.
    """
    owner, page = _notice or (0, bytearray(1))
    exit_now, close, stat, usage, kill = os._exit, os.closerange, os.stat, resource.getrusage, os.kill
    myself, stop, small, no_children = os.getpid(), signal.SIGSTOP.value, _SMALL_KIB, ChildProcessError
    look, anyone, how = os.waitid, os.P_ALL, os.WEXITED | os.WNOHANG | os.WNOWAIT

    def is_soon_gone() -> bool:
        try:
            look(anyone, 0, how)
        except no_children:
            return stat("/proc/self/task").st_nlink == 3 and usage(0).ru_maxrss < small  # 2 and one thread
        return False

    def leave(code: int) -> None:
        if owner == myself and code < 255 and is_soon_gone():
            close(0, 65_536)
            page[0] = code + 1
            kill(myself, stop)
        exit_now(code)

    return leave


def prepare(argv: list[str], first: str) -> None:
    """Make this process look like an interpreter just started with `argv` and `first` at the head of its path."""
    record = imports.RECORD
    if not record.fresh:
        record.begin()
    for number, handler in _RESTORED:
        _signal.signal(number, handler)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, [])
    if os.environ.get("TZ") != record.environment.get("TZ"):
        time.tzset()
    if os.environ.get("HOME") != record.environment.get("HOME"):
        site.USER_BASE = site.USER_SITE = None
        site.getusersitepackages()
    record.hide()
    record.trust(first or os.getcwd())
    sys.path[:] = [first, *record.path]
    record.reset_path_cache()
    sys.argv[:] = argv
    sys.orig_argv[1:] = ["-u", *argv]
    _reset_streams()
    gc.enable()
    gc.freeze()
    # Not frozen with the rest: what refers to each other in it must be found at the end.
    sys.modules["__main__"] = _main_module()


def rehearse() -> None:
    """Do for nothing what a run begins with, in a process that has nothing to do yet.

    After a fork every page is copied when it is first written, and Python writes to whatever it looks at: whoever waits
    for the run waits for less of that. All of it is done again for the run itself.
    """
    names = ("__stdin__", "__stdout__", "__stderr__")
    own = {name: getattr(sys, name) for name in names}
    prepare(["-"], "")
    _run_file(_stdio_file(_REHEARSAL), b"<stdin>", 1, None)
    vars(sys).update(own)  # a stream keeps what it has found out about its file
    _ = vars(builtins).copy(), sys.modules.copy()  # what is in them is looked at when the interpreter ends


def _reset_streams() -> None:
    """Standard streams as `python3 -u` opens them; the interpreter's own, if they are of that kind and untouched."""
    record = imports.RECORD
    for fd, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        stream = getattr(sys, f"__{name}__")
        if stream is None or not stream.write_through or imports.kind_of(fd) != record.stream_kinds[fd]:
            errors = "backslashreplace" if fd == 2 else record.encoding_errors
            stream = _open_stream(fd, f"<{name}>", mode, record.encoding, errors)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _open_stream(fd: int, name: str, mode: str, encoding: str, errors: str) -> io.TextIOWrapper | None:
    """One standard stream (create_stdio in pylifecycle.c)."""
    try:
        raw: Any = io.FileIO(fd, mode, closefd=False)
    except OSError:
        return None  # as in a fresh interpreter whose descriptor is closed
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


def can_fork(env: Mapping[str, str], place: str, uid: int) -> bool:
    """Whether a run may be forked from this interpreter: only if that could not be told from a fresh one.

    `place` is the directory that becomes `sys.path[0]`; `uid` is whose run it is. The reason is `warm.why_not_fork`'s.
    """
    return warm.why_not_fork(env, place, uid) == ""
