"""What a sandbox is shown of the machine's sizes, as texts: the limits, in the form that programs read."""

import re

import pytest

from tidepool.engine.guest import sizes

CPUINFO = "".join(f"processor\t: {number}\nmodel name\t: Some\nflags\t\t: fpu\n\n" for number in range(4))
STAT = "cpu  1 2 3\ncpu0 1 2 3\nintr 5 6\nctxt 7\nbtime 1700000000\nprocesses 8\n"


def test_memory_is_the_limit_and_free() -> None:
    lines = sizes.texts(300 << 20, 1.0, CPUINFO, STAT)["meminfo"].splitlines()
    found = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    assert {name for name, size in found.items() if size} == {"MemTotal", "MemFree", "MemAvailable"}
    assert found["MemTotal"] == found["MemAvailable"] == 300 << 10
    assert all(re.fullmatch(r"\S+: +\d+ kB", line) for line in lines)


@pytest.mark.parametrize(
    ("cpu", "count"), [(0.05, 1), (1.0, 1), (1.5, 2), (4.0, 4), (64.0, 4)], ids=lambda value: str(value)
)
def test_processors_are_whole_ones_as_far_as_there_are(cpu: float, count: int) -> None:
    found = sizes.texts(1 << 30, cpu, CPUINFO, STAT)
    assert found["cpuinfo"].count("processor\t:") == count
    assert re.findall(r"^cpu\d+", found["stat"], re.MULTILINE) == [f"cpu{number}" for number in range(count)]


def test_of_the_machine_only_the_time_it_was_started_is_left() -> None:
    found = sizes.texts(1 << 30, 1.0, CPUINFO, STAT)
    assert "btime 1700000000\n" in found["stat"]
    assert not {"5 6", "ctxt 7", "processes 8"} & set(found["stat"].splitlines())
    assert found["loadavg"].split()[:3] == ["0.00"] * 3


def test_a_machine_that_does_not_say_has_one_processor() -> None:
    found = sizes.texts(1 << 30, 2.0, "", "")
    assert (found["cpuinfo"], found["stat"].count("\ncpu")) == ("", 1)
