"""The OCI runtimes that a sandbox's programs can run in besides, seen from the host: which are there.

How one is started is in `guest.oci`: by the sandbox's own init, inside the walls that every sandbox has. Whether it
really starts is seen when a sandbox asks for it (`tidepool doctor` does); else that sandbox is refused, nothing runs.
"""

import os
import subprocess

from tidepool.engine.guest.oci import DIRECTORY, RUNTIMES
from tidepool.engine.kernel.probe import Feature

_TIMEOUT_S = 10.0


def features() -> tuple[Feature, ...]:
    """Each isolation that needs a program, with that program's version; none is needed for sandboxes to run."""
    return tuple(_feature(isolation) for isolation in RUNTIMES)


def _feature(isolation: str) -> Feature:
    program = RUNTIMES[isolation].program
    enable = f"install {program} (Debian: apt-get install {program}) where sandboxes are to have isolation {isolation}"
    path = f"{DIRECTORY}/{program}"
    if not os.access(path, os.X_OK):
        return Feature(isolation, False, f"{path} is not installed", False, enable)
    try:
        done = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        return Feature(isolation, False, f"{path}: {error}", False, enable)
    return Feature(isolation, True, done.stdout.partition("\n")[0], False, enable)
