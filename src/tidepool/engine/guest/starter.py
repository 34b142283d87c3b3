"""A child of init that starts programs, one after the other: what it is asked to run is another process than itself.

It has become the user whose programs they are, and starts them by posix_spawn(3): nothing of an interpreter's address
space is copied for a program or taken down before it. It is the leader of the run: a child subreaper, so that all that
a program starts hangs below it. What outlives its program leaves it with its end, and it is not used again.
"""

import itertools
import os
import resource
import signal
import socket
from collections.abc import Iterator
from typing import Any, NoReturn

from tidepool.engine.guest import frames, launch, syscalls

_LIMITS = 16
"""RLIM_NLIMITS of asm-generic/resource.h."""


def is_for(plan: launch.Plan, message: dict[str, Any]) -> bool:
    """Whether a run can be started so: a program without a terminal, whose pid need not be known to itself."""
    return plan.basis == "exec" and not message.get("terminal") and not message.get("charts")


def serve(plan: launch.Plan, message: dict[str, Any], fds: list[int], orders: socket.socket) -> NoReturn:
    """Start this program, then those that come over `orders`, for the same user.

    What is said of each: `pid`, and at its end `status`, `max_rss` and `last`; or `refused` and `status`. After the
    last there is no other: something goes on below this process, or it is not what it was.
    """
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        _close_others({0, 1, 2, orders.fileno(), *fds})
        launch.as_user(int(message["uid"]), int(message["gid"]))
        # Its programs' own user may not look into it, nor take it over.
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
        os.setpriority(os.PRIO_PROCESS, 0, 0)
        own = _inherited()
        while _run(plan, message, fds, orders, own) and (received := frames.receive(orders)):
            order, fds = received
            plan, message = launch.Plan(*order["plan"]), order["message"]
        os._exit(0)
    finally:
        os._exit(70)


def _close_others(kept: set[int]) -> None:
    numbers = [-1, *sorted(kept)]
    for one, other in itertools.pairwise(numbers):
        if other - one > 1:
            syscalls.close_range(one + 1, other - 1)
    syscalls.close_range(numbers[-1] + 1)


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _inherited() -> list[object]:
    """What programs inherit of this process, and others of its user may set for it."""
    limits = [resource.getrlimit(number) for number in range(_LIMITS)]
    return [limits, os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0), os.sched_getaffinity(0)]


def _run(
    plan: launch.Plan, message: dict[str, Any], fds: list[int], orders: socket.socket, own: list[object]
) -> bool:
    """Whether another can follow."""
    given = launch.descriptors(plan, message, fds)
    program = ""
    try:
        os.chdir(str(message["cwd"]))
        program = plan.argv[0]
        pid = _spawn(plan, given)
    except OSError as error:
        text, code = launch.refusal(program, error, message)
        os.write(given[2], text + b"\n")
        frames.send(orders, {"refused": text.decode("utf-8", "replace")[:4000], "status": code << 8})
        return True
    finally:
        frames.close_all([*{*given, *fds}])
        os.chdir("/")
    frames.send(orders, {"pid": pid})
    ended = 0
    while ended != pid:  # whatever it has left behind ends here too
        ended, status, usage = os.wait4(-1, 0)
    is_last = _has_children() or _inherited() != own
    frames.send(orders, {"status": status, "max_rss": usage.ru_maxrss * 1024, "last": is_last})
    return not is_last


def _spawn(plan: launch.Plan, given: list[int]) -> int:
    actions = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(given)]
    refused: OSError | None = None
    for path in _candidates(plan):
        try:
            return os.posix_spawn(
                path,
                plan.argv,
                plan.env,
                file_actions=actions,
                setsid=True,
                # As `launch.start` does.
                setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
            )
        except (FileNotFoundError, NotADirectoryError) as error:
            missing = error
        except OSError as error:
            refused = refused or error
    raise refused or missing


def _candidates(plan: launch.Plan) -> Iterator[str]:
    """Where execvpe(3) would look, the last in any case."""
    name = plan.argv[0]
    places = [name] if "/" in name else [os.path.join(place, name) for place in os.get_exec_path(plan.env)]
    yield from [path for path in places[:-1] if os.path.exists(path)]
    yield places[-1]
