"""An empty stack: how a forked program comes to run with no Python frame of ours below it.

The zygote's main function is called by the interpreter's own C code after the start script has ended. So when a forked
child has left every function it is in, nothing of ours shows: in `traceback.print_stack`, in a warning's location, in
the depth left to recursion. What runs then is a sequence of C callables.
"""

import operator
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

Program = Iterator[Callable[[], object]]
"""What is called, one after the other, on the empty stack; each result must be None or 0. The last never returns."""

_left: list["_Leave"] = []
"""Keeps the frames that a program has left alive: what they hold (sockets) would close descriptors by their numbers."""
_entered = False


class _Leave(BaseException):
    def __init__(self, program: Program) -> None:
        self.program = program


def enter(main: Callable[[], None]) -> NoReturn:
    """End this start script, then call `main` from an empty stack; the process exits with 0 when it returns.

    Only for the last line of the script the interpreter was started with.
    """
    raise _exit_that_calls(main)


def _exit_that_calls(main: Callable[[], None]) -> SystemExit:
    # The interpreter drops the exception when no Python frame is left (handle_system_exit in pythonrun.c), and with it
    # this object, whose finalizer is a C callable without arguments: one step of a map, in which any() walks our life.
    life = map(any, [map(operator.call, _live(main))])
    finalized: Any = type("Stage", (), {"__del__": staticmethod(life.__next__)})
    end: Any = SystemExit(0)
    end.stage = finalized()
    return end  # type: ignore[no-any-return]


def _live(main: Callable[[], None]) -> Program:
    global _entered
    _entered = True
    try:
        main()
    except _Leave as leaving:
        _left.append(leaving)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(70)
    for left in _left:
        yield from left.program


def leave(program: Program) -> NoReturn:
    """Go from wherever we are to the empty stack and run `program` there; in place if there is no stage.

    By an exception that no `except Exception` catches; `finally` and `with` blocks on the way are executed.
    """
    if _entered:
        raise _Leave(program)
    for step in program:
        step()
    raise AssertionError("the last step of a program returned")
