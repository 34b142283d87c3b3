"""The policy as data: every call decided, programs that say the same as the tables, on both architectures."""

import errno
import re
import struct
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidepool.engine.errors import HostUnsupported
from tidepool.engine.kernel import seccomp

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
I386, ARM = 0x40000003, 0x40000028
HEADERS = {
    "x86_64": ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm/unistd_64.h"),
    "aarch64": ("/usr/include/asm-generic/unistd.h",),
}
PROGRAMS = {arch: list(struct.iter_unpack("=HBBI", seccomp.compile(arch))) for arch in ARCHITECTURES}


@dataclass
class Verdict:
    """What a filter returned, after how many instructions."""

    action: int
    steps: int


def interpret(program: list[tuple[int, ...]], audit: int, number: int, *arguments: int) -> Verdict:
    """Run a classic BPF program as the kernel does, on struct seccomp_data."""
    padded = [argument & (2**64 - 1) for argument in (*arguments, 0, 0, 0, 0, 0, 0)][:6]
    data = struct.pack("=IIQ6Q", number & 0xFFFFFFFF, audit, 0, *padded)
    place = accumulator = steps = 0
    while True:
        code, if_true, if_false, operand = program[place]
        place, steps = place + 1, steps + 1
        if code == 0x06:
            return Verdict(operand, steps)
        if code == 0x20:
            accumulator = struct.unpack_from("=I", data, operand)[0]
        elif code == 0x54:
            accumulator &= operand
        elif code == 0x05:
            place += operand
        else:
            holds = {0x15: accumulator == operand, 0x35: accumulator >= operand}[code]
            place += if_true if holds else if_false


def decide(arch: str, number: int, *arguments: int) -> int:
    """What the filter of an architecture answers."""
    return interpret(PROGRAMS[arch], ARCHITECTURES[arch], number, *arguments).action


def expected(arch: str, number: int, arguments: list[int]) -> int:
    """The same answer from the tables alone."""
    names = {number: name for name, number in seccomp.numbers(arch).items()}
    verdict = seccomp.verdicts().get(names.get(number, ""), seccomp.ENOSYS)
    if isinstance(verdict, int):
        return verdict
    for case in verdict.cases:
        if all(arguments[one.argument] & 0xFFFFFFFF & one.mask in one.values for one in case.matches):
            return case.action
    return verdict.otherwise


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_known_call_is_decided_and_every_decision_is_about_a_known_call(arch: str) -> None:
    decided = set(seccomp.verdicts())
    assert set(seccomp.numbers(arch)) <= decided
    assert decided <= {name for one in ARCHITECTURES for name in seccomp.numbers(one)}


def test_no_call_is_decided_twice() -> None:
    rows = seccomp._ALLOWED.split() + list(seccomp._RULES)
    for table in (seccomp._DENIED, seccomp._ABSENT):
        rows += " ".join(table.values()).split()
    assert sorted(rows) == sorted(set(rows))


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_numbers_are_those_of_the_kernels_headers(arch: str) -> None:
    header = next((Path(path) for path in HEADERS[arch] if Path(path).exists()), None)
    if header is None:
        pytest.skip(f"the kernel's headers for {arch} are not installed")
    known = {number: name for name, number in seccomp.numbers(arch).items()}
    text = re.sub(r"__NR3264_fstatat\b", "__NR_newfstatat", header.read_text())
    text = re.sub(r"#define __NR_syscalls.*", "", text)  # how many there are
    defined: dict[int, set[str]] = {}
    for name, number in re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)$", text, re.MULTILINE):
        defined.setdefault(int(number), set()).add(name)
    of_other_sizes = range(403, 424)
    checked = [number for number in defined if number in known and number not in of_other_sizes]
    assert len(checked) > 300
    assert {number: known[number] for number in checked if known[number] not in defined[number]} == {}


@pytest.mark.parametrize("arch", ARCHITECTURES)
@given(
    st.integers(0, 600) | st.integers(0, 2**32 - 1),
    st.lists(st.integers(0, 2**64 - 1), min_size=6, max_size=6),
)
def test_the_program_says_what_the_tables_say(arch: str, number: int, arguments: list[int]) -> None:
    assert decide(arch, number, *arguments) == expected(arch, number, arguments)


@pytest.mark.thorough
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_near_misses_of_every_rule_are_decided_as_the_tables_say(arch: str) -> None:
    numbers = seccomp.numbers(arch)
    for name, verdict in seccomp.verdicts().items():
        if isinstance(verdict, seccomp.Rule) and name in numbers:
            interesting = sorted(
                {value for case in verdict.cases for one in case.matches for value in one.values}
            )
            tries = [base + by for base in (0, *interesting) for by in (-1, 0, 1, 1 << 32, 1 << 7, 1 << 17)]
            for first in tries:
                for second in tries:
                    arguments = [
                        argument & (2**64 - 1) for argument in (first, second, first, second, first, 0)
                    ]
                    assert decide(arch, numbers[name], *arguments) == expected(arch, numbers[name], arguments)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_calls_that_no_table_has_do_not_exist(arch: str) -> None:
    top = max(seccomp.numbers(arch).values())
    for number in (*range(top + 1, top + 200), 335, 336, 400, 0x7FFFFFFF, 0xFFFFFFFF):
        assert decide(arch, number) == seccomp.ENOSYS
    if arch == "x86_64":
        for number in seccomp.numbers(arch).values():
            assert decide(arch, 0x40000000 | number) == seccomp.ENOSYS  # x32


@pytest.mark.parametrize(
    ("arch", "foreign"), [("x86_64", I386), ("aarch64", ARM), ("x86_64", 0), ("aarch64", 0xC000003E)]
)
def test_calls_of_another_architecture_kill(arch: str, foreign: int) -> None:
    assert all(interpret(PROGRAMS[arch], foreign, number).action == seccomp.KILL for number in range(500))


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_program_is_small_and_quick(arch: str) -> None:
    program = PROGRAMS[arch]
    assert len(program) <= 400
    steps = [interpret(program, ARCHITECTURES[arch], number).steps for number in range(500)]
    assert max(steps) <= 40
    assert sum(steps) / len(steps) <= 14


def test_an_architecture_without_a_table_is_refused() -> None:
    with pytest.raises(HostUnsupported, match="there is no system call table for 'riscv64'"):
        seccomp.compile("riscv64")


def test_explain_gives_a_reason_for_everything_that_is_not_plainly_allowed() -> None:
    rows = {row.name: row for row in seccomp.explain()}
    assert {row.name for row in rows.values() if row.decision != "allowed" and not row.why} == set()
    assert rows["ptrace"].decision == "EPERM"
    assert rows["clone3"].decision == "ENOSYS"
    assert rows["socket"].decision == "by argument"
    assert rows["sync"].decision == "skipped"
    assert rows["read"].decision == "allowed"


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize(
    ("name", "arguments", "action"),
    [
        ("sync", (), 0x50000),
        ("fadvise64", (3, 0, 0, 4), 0x50000),
        ("fadvise64", (3, 0, 0, 3), seccomp.ALLOW),
        ("clone", (0x01200011,), seccomp.ALLOW),
        ("clone", (0x003D0F00,), seccomp.ALLOW),
        ("clone", (0x10000011,), seccomp.EPERM),
        ("personality", (0xFFFFFFFF,), seccomp.ALLOW),
        ("personality", (-1,), seccomp.ALLOW),
        ("ioctl", (0, 0x5412 | 1 << 40), seccomp.EPERM),
        ("socket", (16, 3, 0), seccomp.ALLOW),
        ("socket", (16, 3, 12), 0x50000 | errno.EAFNOSUPPORT),
        ("socket", (2, 1 | 0o2000000, 0), seccomp.ALLOW),
    ],
)
def test_selected_decisions(arch: str, name: str, arguments: tuple[int, ...], action: int) -> None:
    assert decide(arch, seccomp.numbers(arch)[name], *arguments) == action
