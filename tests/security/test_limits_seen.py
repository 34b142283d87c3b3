"""Programs that ask /proc how large the machine is are told the sandbox's limits, also after these have changed."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.security.conftest import MIB, EngineThread
from tidepool.engine import Limits, Sandbox

pytestmark = pytest.mark.needs("user_namespace", "overlayfs", "idmapped_mounts")
CODE = """
import json, os
lines = dict(line.split(":") for line in open("/proc/meminfo"))
writable = []
for name in ("meminfo", "cpuinfo", "stat", "loadavg"):
    try:
        open(f"/proc/{name}", "r+")
        writable.append(name)
    except OSError:
        pass
print(json.dumps({
    "mib": int(lines["MemTotal"].split()[0]) >> 10,
    "processors": os.cpu_count(),
    "writable": writable,
    "shm": os.listdir("/dev/shm"),
}))
"""


def seen(host: EngineThread, box: Sandbox) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(host.python(box, CODE).stdout)
    return found


@pytest.mark.parametrize("user", ["daytona", "root"])
def test_limits_are_what_is_seen_and_nobody_inside_changes_that(
    host: EngineThread, make_box: Callable[..., Sandbox], user: str
) -> None:
    box = make_box(memory_mib=1024, user=user)
    assert seen(host, box) == {"mib": 1024, "processors": 1, "writable": [], "shm": []}


def test_a_parked_box_that_is_taken_with_other_limits_shows_them(
    host: EngineThread, make_box: Callable[..., Sandbox]
) -> None:
    assert seen(host, make_box(memory_mib=300, disk_mib=100))["mib"] == 300


def test_another_size_is_seen_at_once(host: EngineThread, make_box: Callable[..., Sandbox]) -> None:
    box = make_box(memory_mib=1024)
    host.run(host.engine.resize(box, Limits(cpu=2.0, memory_bytes=512 * MIB, disk_bytes=256 * MIB)))
    found = seen(host, box)
    assert (found["mib"], found["processors"]) == (512, min(2, host_processors()))


def host_processors() -> int:
    with open("/proc/cpuinfo") as file:
        return file.read().count("processor\t:")
