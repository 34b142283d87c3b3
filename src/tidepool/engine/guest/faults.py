"""Named steps at which a process can be made to die, so that tests can see what is lost then and what is not.

`TIDEPOOL_FAULT` names one step, as `NAME:kill` or `NAME:kill:N` for the Nth time that it is passed; it is read once,
where a process starts. Without it a step costs one comparison. What must hold afterwards is for the tests to say.
"""

import mmap
import os
import re
import signal

VARIABLE = "TIDEPOOL_FAULT"

_PATTERN = re.compile(r"([a-z]+(?:\.[a-z]+)+):kill(?::([1-9][0-9]{0,3}))?")
_armed = ""
_passed: mmap.mmap | None = None
"""How often the armed step was passed, in memory shared with whatever this process forks."""
_wanted = 1


def arm(text: str) -> None:
    """Have this process, and what it forks, die at a step; empty text disarms.

    Raises:
        ValueError: The text is not `NAME:kill` or `NAME:kill:N`.
    """
    global _armed, _passed, _wanted
    found = _PATTERN.fullmatch(text)
    if text and found is None:
        raise ValueError(
            f"{VARIABLE} is {text[:100]!r}; it must be like create.upper:kill or create.upper:kill:2"
        )
    _armed, _passed = "", None
    if found is not None:
        _armed, _wanted, _passed = found[1], int(found[2] or 1), mmap.mmap(-1, 8)


def step(name: str) -> None:
    """Pass a step: nothing, unless it is the armed one."""
    if name == _armed:
        _pass()


def _pass() -> None:
    assert _passed is not None
    count = int.from_bytes(_passed[:8], "little") + 1
    _passed[:8] = count.to_bytes(8, "little")
    if count == _wanted:
        os.kill(os.getpid(), signal.SIGKILL)
        os._exit(137)  # the first process of a pid namespace cannot kill itself; this ends it as suddenly
