"""Warm modules out of sight: what was preloaded stays imported but hidden until the program itself imports it.

A fresh interpreter has some thirty modules; a preloaded one has hundreds, and a program can tell (`"pytest" in
sys.modules`; `importlib.util` without an import). So the record notes which module brought which others, takes all of
them out of `sys.modules`, and puts back exactly those that an import would have brought. Nothing but modules that every
interpreter has at its start may be imported here: `begin` must see an untouched interpreter.
"""

import _imp
import builtins
import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import ModuleType
    from typing import Any, TextIO

_OURS = "tidepool"
ROOT = __file__.rsplit("/tidepool/", 1)[0]
"""The entry of sys.path that our modules come from."""
_CLOCK_TICK_NS = 50_000_000
"""Longer than the granularity of any file system's time stamps here."""
_bootstrap: "Any" = sys.modules["_frozen_importlib"]
_external: "Any" = sys.modules["_frozen_importlib_external"]
_find_and_load: "Callable[[str, Any], ModuleType]" = _bootstrap._find_and_load
"""The interpreter's own; `import` and `importlib` call it for every name that is not in sys.modules."""
_import, _register_at_fork = builtins.__import__, os.register_at_fork

AFTER_FORK: "dict[str, Callable[[Any], object]]" = {}
"""What must be renewed in a module when a forked program first imports it, by module name."""
AFTER_IMPORT: "dict[str, Callable[[Any], object]]" = {}
"""What is to be done when a forked program has imported a module that was not hidden, by its name."""


def is_ours(name: str) -> bool:
    """Whether a module name belongs to this project."""
    return name == _OURS or name.startswith(_OURS + ".")


class _Tee:
    """Stands for a standard stream while modules are preloaded and notes who wrote what."""

    def __init__(self, record: "Record", stream: str) -> None:
        self._record = record
        self._stream = stream

    def write(self, text: str) -> int:
        if not self._record.note(lambda: _stream(self._stream).write(text)):
            _stream(self._stream).write(text)
        return len(text)

    def __getattr__(self, name: str) -> "Any":
        # A module may have kept us: then we are whatever the stream is by now.
        return getattr(_stream(self._stream), name)


def _stream(name: str) -> "TextIO":
    found: TextIO = getattr(sys, name)
    if isinstance(found, _Tee):
        found = getattr(sys, f"__{name}__")
    return found


class Record:
    """One interpreter's modules: those it started with, those brought later and by whom, those hidden."""

    def __init__(self) -> None:
        self.fresh: dict[str, Any] = {}
        """sys.modules as the interpreter started; empty until `begin`."""
        self.path: list[str] = []
        """sys.path as the interpreter started."""
        self.environment: dict[str, str] = {}
        """os.environ as the interpreter started."""
        self.cached: set[str] = set()
        """Entries of sys.path_importer_cache below `path`."""
        self.stream_kinds: tuple[int, ...] = ()
        """What descriptors 0, 1, 2 were at the start: pipe, file, device; -1 if closed."""
        self.encoding = "utf-8"
        self.encoding_errors = "strict"
        """Of the standard streams this interpreter started with."""
        self.main_names: set[str] = set()
        """What `__main__` had at the start."""
        self.read_variables: set[str] = set()
        """Environment variables that some module looked at while it was being imported."""
        self.hidden: dict[str, Any] = {}
        self.known: set[str] = set()
        """Names of all modules that were here before any program: fresh and preloaded."""
        self._ours: list[Any] = []
        self._bound: set[str] = set()
        """Hidden submodules that were an attribute of their package."""
        self._loaded: dict[str, frozenset[str]] = {}
        """What a module with a `__getattr__` (PEP 562) had when its import ended: more is what others asked it for."""
        self._brought: dict[str, set[str]] = {}
        """What the import of a module asked for or put into sys.modules itself, by its name."""
        self._claimed: set[str] = set()
        self._asked: set[str] = set()
        """Names imported by no other import: what programs are expected to import."""
        self._closures: dict[str, tuple[str, ...]] = {}
        """Of those, what they bring, directly and through others."""
        self._effects: dict[str, list[Callable[[], object]]] = {}
        self._importing: list[str] = []
        self._finders: list[Any] = []
        """sys.meta_path as the interpreter started."""
        self._finder_kinds: set[type] = set()
        """Of all finders that were there while something was preloaded: what they do has been done."""
        self._trusted: dict[str, int] = {}
        """Directories known to shadow nothing, with their modification times then."""

    def begin(self) -> None:
        """Take this interpreter as fresh and start to note imports and what they look at. Call once, first thing."""
        self.fresh = {name: module for name, module in sys.modules.items() if not is_ours(name)}
        self.path = [entry for entry in sys.path if entry not in ("", ROOT)]
        self._finders = list(sys.meta_path)
        self.stream_kinds = tuple(kind_of(fd) for fd in range(3))
        self.main_names = set(vars(sys.modules["__main__"]))
        for stream in (sys.__stdin__, sys.__stdout__):
            if stream is not None:
                self.encoding, self.encoding_errors = stream.encoding, stream.errors or "strict"
        self.environment = dict(os.environ)
        _bootstrap._find_and_load = self._noting_find_and_load
        builtins.__import__ = self._noting_import
        os.register_at_fork = self._note_at_fork
        self._watch_environment()

    def _watch_environment(self) -> None:
        kind: Any = type(os.environ)
        self._genuine_environ = (kind.__getitem__, kind.__setitem__)
        read, write = self._genuine_environ

        def getitem(environ: "Any", key: str) -> "Any":
            if self._importing and isinstance(key, str):
                self.read_variables.add(key)
            return read(environ, key)

        def setitem(environ: "Any", key: str, value: str) -> None:
            self.note(lambda: write(os.environ, key, value))
            write(environ, key, value)

        kind.__getitem__, kind.__setitem__ = getitem, setitem

    def _note_at_fork(self, **callbacks: "Any") -> None:
        """What a module wants done at each fork: by the programs that import it, not by us.

        Whoever forks calls all of it, wanted or not: a third of the pages that a child copied for its first steps.
        """

        def catch_up() -> None:
            callbacks.get("after_in_child", bool)()
            _register_at_fork(**callbacks)

        if not self.note(catch_up):
            _register_at_fork(**callbacks)

    def note(self, effect: "Callable[[], object]") -> bool:
        """Something the module being imported did outside itself, to be done again when a program imports it.

        False if no module is being imported.
        """
        if self._importing:
            self._effects.setdefault(self._importing[-1], []).append(effect)
        return bool(self._importing)

    def _noting_find_and_load(self, name: str, import_: "Any") -> "ModuleType":
        if name in self.hidden:
            self._show(self._closure(name))
        known, finders = len(sys.modules), list(sys.meta_path)
        if self._importing:
            self._brought.setdefault(self._importing[-1], set()).add(name)
        else:
            self._asked.add(name)
        self._importing.append(name)
        self._finder_kinds.update(map(type, finders))
        try:
            return _find_and_load(name, import_)
        finally:
            self._importing.pop()
            namespace = _namespace(sys.modules.get(name))
            if "__getattr__" in namespace:
                self._loaded.setdefault(name, frozenset(namespace))
            # Imports within this one have claimed theirs: what is left was put there by hand (os.path).
            new = set(list(sys.modules)[known:]) - self._claimed
            self._claimed |= new
            self._brought.setdefault(name, set()).update(new)
            for place, finder in enumerate(sys.meta_path):
                if finder not in finders:
                    self._effects.setdefault(name, []).append(_finder_adder(place, finder))

    def _noting_import(
        self,
        name: str,
        globals: "Any" = None,
        locals: "Any" = None,
        fromlist: "Sequence[str] | None" = (),
        level: int = 0,
    ) -> "ModuleType":
        module = _import(name, globals, locals, fromlist or (), level)
        if self._importing:
            leaf = name if level == 0 else str(getattr(module, "__name__", name))
            self._brought.setdefault(self._importing[-1], set()).update(
                [leaf, *(f"{leaf}.{item}" for item in fromlist or ())]
            )
        return module

    def hold_output(self) -> None:
        """From here to `hide`, what modules print while being imported is kept for the program that imports them."""
        sys.stdout, sys.stderr = _Tee(self, "stdout"), _Tee(self, "stderr")

    def forget(self, name: str) -> None:
        """Drop a module whose import failed, with its submodules: a program must meet the failure itself."""
        for loaded in [n for n in sys.modules if n == name or n.startswith(name + ".")]:
            del sys.modules[loaded]

    def conceal(self) -> None:
        """Take everything that a fresh interpreter lacks out of sight, ours too.

        Between two modules to be preloaded, so that the second is seen to ask for what the first has brought already.
        Cheap when little is in sight: each object touched is a page copied after a fork.
        """
        if self._importing or not self.fresh:
            raise RuntimeError("modules can be hidden only after begin(), and not during an import")
        is_more = len(sys.modules) > len(self.fresh)
        for name in sys.modules.keys() - self.fresh.keys() if is_more else ():
            if is_ours(name):
                self._ours.append(sys.modules.pop(name))
            else:
                self._hide(name)

    def hide(self) -> None:
        """`conceal`, and the end of noting: from now on an import brings back what it should."""
        self.conceal()
        if not self.known:
            self._end_noting()

    def reset_path_cache(self) -> None:
        """What was looked up in the zygote's working directory must not be remembered in the program's."""
        if len(sys.path_importer_cache) > len(self.cached):
            for entry in sys.path_importer_cache.keys() - self.cached:
                del sys.path_importer_cache[entry]

    def _end_noting(self) -> None:
        builtins.__import__, os.register_at_fork = _import, _register_at_fork
        kind: Any = type(os.environ)
        kind.__getitem__, kind.__setitem__ = self._genuine_environ
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
        sys.meta_path[:] = self._finders
        self._closures = {name: tuple(self._closure(name)) for name in self._asked & self.hidden.keys()}
        self.known = {*self.fresh, *self.hidden}
        self.cached = {e for e in sys.path_importer_cache if any(e.startswith(root) for root in self.path)}
        self.reset_path_cache()
        _bootstrap._find_and_load = _on_demand

    def _hide(self, name: str) -> None:
        module = self.hidden[name] = sys.modules.pop(name)
        package, _, child = name.rpartition(".")
        namespace = _namespace(sys.modules.get(package, self.hidden.get(package)))
        if package and namespace.get(child) is module:
            del namespace[child]
            self._bound.add(name)
        own = _namespace(module)
        own.pop("__warningregistry__", None)
        for late in own.keys() - self._loaded.get(name, own.keys()):
            # A submodule goes when it is hidden itself.
            if own[late] is not sys.modules.get(f"{name}.{late}", self.hidden.get(f"{name}.{late}")):
                del own[late]

    def trust(self, directory: str) -> None:
        """Nothing in `directory`, as it is now, has the name of a hidden module."""
        changed = os.stat(directory).st_mtime_ns
        # One changed this moment may change again without a new time stamp: then each import looks.
        self._trusted = {directory: changed} if changed < time.time_ns() - _CLOCK_TICK_NS else {}

    def restore(self, name: str) -> None:
        """Put back what `import name` would bring, unless it would find something else by now."""
        names = [n for n in self._closures.get(name) or self._closure(name) if n in self.hidden]
        if self._is_shadowed(names):
            return
        for found in AFTER_FORK.keys() & names:
            AFTER_FORK[found](self.hidden[found])
        self._show(names)
        for found in self._effects.keys() & names:
            for effect in self._effects.pop(found):
                effect()

    def _show(self, names: "Iterable[str]") -> None:
        for name in names:
            sys.modules[name] = self.hidden[name]
            if name in self._bound:
                package, _, child = name.rpartition(".")
                setattr(sys.modules.get(package) or self.hidden[package], child, self.hidden[name])
        # Out of `hidden` only now: a thread that imports the same name looks there without a lock first.
        for name in names:
            self.hidden.pop(name, None)

    def _closure(self, name: str) -> set[str]:
        """The hidden modules that importing `name` brings, directly and through others, failed imports included."""
        found = {name}
        waiting = [name]
        while waiting:
            here = waiting.pop()
            new = {here.rpartition(".")[0], *self._brought.get(here, ())} - found
            found |= new
            waiting.extend(new)
        return found & self.hidden.keys()

    def _is_shadowed(self, names: "Iterable[str]") -> bool:
        """Whether the program, a finder or a directory that was not there at the start now has one of these names."""
        if not sys.modules.keys().isdisjoint(names):
            return True
        finders = [f for f in sys.meta_path if f not in self._finders and type(f) not in self._finder_kinds]
        removed = not set(self.path).issubset(sys.path)
        if not finders and not removed and all(e in self.path or self._is_trusted(e) for e in sys.path):
            return False
        for name in names:
            spec = getattr(self.hidden[name], "__spec__", None)
            if "." in name or spec is None or spec.origin in ("built-in", "frozen"):
                continue
            if any(finder.find_spec(name, None, None) is not None for finder in finders):
                return True
            here = _external.PathFinder.find_spec(name)
            if removed if here is None else here.loader is not None and here.origin != spec.origin:
                return True
        return False

    def _is_trusted(self, entry: str) -> bool:
        try:
            directory = entry or os.getcwd()
            return self._trusted.get(directory) == os.stat(directory).st_mtime_ns
        except OSError:
            return False


def _finder_adder(place: int, finder: "Any") -> "Callable[[], None]":
    def add() -> None:
        if finder not in sys.meta_path:
            sys.meta_path.insert(place, finder)

    return add


def _namespace(module: object) -> "dict[str, Any]":
    """The attributes of what is in sys.modules, which need not be a module."""
    found = getattr(module, "__dict__", None)
    return found if isinstance(found, dict) else {}


def kind_of(fd: int) -> int:
    """The file type bits of a descriptor; -1 if it is closed."""
    try:
        return os.fstat(fd).st_mode & 0o170000
    except OSError:
        return -1


RECORD = Record()


def _on_demand(name: str, import_: "Any") -> "ModuleType":
    if name in RECORD.hidden:
        # The interpreter's own lock: threads may import at once, and a fork takes it too.
        _imp.acquire_lock()
        try:
            if name in RECORD.hidden:
                RECORD.restore(name)
        finally:
            _imp.release_lock()
    module = _find_and_load(name, import_)
    if name in AFTER_IMPORT:
        AFTER_IMPORT.pop(name)(sys.modules[name])
    return module


# Frames from importlib are cut out of the tracebacks of failed imports by this very file name (Python/import.c).
_on_demand.__code__ = _on_demand.__code__.replace(co_filename="<frozen importlib._bootstrap>")
