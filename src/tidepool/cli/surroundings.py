"""What is around the server: a container, process ids, memory, a processor with flaws. Read, where none can be tried.

What stands on the kernel is tried instead, in `engine.kernel.probe`.
"""

from pathlib import Path

from tidepool.engine.kernel.probe import Feature, is_container

_MIB = 1 << 20
_CPU = Path("/sys/devices/system/cpu")
_SMT_OFF = "`echo off > /sys/devices/system/cpu/smt/control` for owners that do not trust each other"


def surroundings() -> list[Feature]:
    """What sandboxes share with everything else here, and whether there is enough of it."""
    inside = is_container()
    outside = Feature(
        "outside_container",
        not inside,
        "this process has a pid or user namespace that is not the host's" if inside else "",
        False,
        "the container's own limits come on top; start it with --privileged, or run on its host",
    )
    return [outside, _pid_room(), _memory_room(), _cpu_mitigations()]


def _pid_room() -> Feature:
    most = int(Path("/proc/sys/kernel/pid_max").read_text())
    enable = "run `sysctl -w kernel.pid_max=4194304`"
    return Feature(
        "pid_room", most >= 16_384, f"pid_max {most}: {most // 512} sandboxes of 512", False, enable
    )


def _memory_room() -> Feature:
    lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    available = next(int(words[1]) for words in lines if words[0] == "MemAvailable:") * 1024
    enable = "free some memory, or ask for sandboxes smaller than the default 1 GiB"
    return Feature("memory_room", available >= 1 << 30, f"{available // _MIB} MiB available", False, enable)


def _cpu_mitigations() -> Feature:
    """What the kernel says of the processor's flaws; sandboxes share it."""
    return cpu_mitigations(_CPU / "vulnerabilities", _CPU / "smt/control")


def cpu_mitigations(vulnerabilities: Path, smt_control: Path) -> Feature:
    """The flaws that are open, by the kernel's names and words, and whether threads share a core.

    Args:
        vulnerabilities: A directory of one file per flaw (Documentation/ABI/testing/sysfs-devices-system-cpu).
        smt_control: The file that says `on`, `off`, `forceoff`, `notsupported` or `notimplemented`.
    """
    files = sorted(vulnerabilities.iterdir()) if vulnerabilities.is_dir() else []
    said = {file.name: file.read_text().strip() for file in files}
    open_ones = [f"{name} ({text})" for name, text in said.items() if text.startswith("Vulnerable")]
    detail = f"vulnerable: {', '.join(open_ones)}" if open_ones else f"{len(files)} flaws checked"
    if not files:
        detail = "the kernel says nothing of flaws"
    threads = any("SMT vulnerable" in text for text in said.values())
    smt = smt_control.read_text().strip() if smt_control.is_file() else "unknown"
    where = f"; flaws between threads of a core ({_SMT_OFF})" if threads else ""
    enable = "update microcode and kernel, and do not boot with mitigations=off" + where
    works = bool(files) and not open_ones and not threads
    return Feature("cpu_mitigations", works, f"{detail}; threads of one core (SMT): {smt}", False, enable)
