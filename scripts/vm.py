"""Boots Debian's kernel under QEMU's software emulation, with nothing but control groups of version 2, and tests in it.

`scripts/test --vm [pytest arguments]` starts it. The host is only read: no kernel is installed, no module loaded, no
device used. The image (scripts/vm_image.py) is attached so that nothing is written to it; the project is copied onto a
disk of its own, which ends with the machine.
"""

import argparse
import contextlib
import os
import secrets
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from scripts import vm_image

TESTS = (
    "tests/engine/kernel/test_cgroups_v2.py",
    "tests/engine/test_runs.py",
    "tests/engine/test_isolation.py",
    "tests/security/test_resources.py",
    "tests/security/test_deadline.py",
    "tests/security/test_host.py",
    "tests/engine/test_soak.py",
)
"""What stands on control groups, or runs only where they are of version 2 (crun)."""
NOT_HERE = (
    *("-m", "not slow"),  # an emulated processor is slow enough
    # asks an index, and there is no network:
    *("--deselect", "tests/engine/test_runs.py::test_no_tests_is_no_success"),
)
MEMORY_MIB = 3072
CPUS = 2
DEADLINE_MIN = 60.0
TEST_TIMEOUT_S = 600
"""For one test: software emulation is some ten times slower than the processor."""
LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis"
)

START = """
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 PYTHONUNBUFFERED=1
mount -t proc proc /proc
mount -t sysfs sys /sys
mkdir -p /dev/pts /dev/shm
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
mount -t tmpfs -o mode=0755 run /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ip link set lo up
for name in overlay veth tun fuse; do modprobe "$name"; done
cd /project
controllers=$(cat /sys/fs/cgroup/cgroup.controllers)
echo "{token} up $(cut -d' ' -f1 /proc/uptime) s, Linux $(uname -r), control groups: $controllers"
{command} </dev/null
echo "{token} exit $?"
exec /bin/busybox poweroff -f
"""


def main() -> int:
    """The exit status of pytest inside; 1 when the machine could not be made, or did not tell one."""
    parser = argparse.ArgumentParser(
        prog="scripts/test --vm",
        usage="%(prog)s [options] [files and options for pytest]",
        description=__doc__.split("\n")[0],
        allow_abbrev=False,
    )
    parser.add_argument(
        "--deadline", type=float, default=DEADLINE_MIN, metavar="MINUTES", help="for all of it"
    )
    parser.add_argument("--shell", metavar="COMMAND", help="run this inside instead of the tests")
    chosen, arguments = parser.parse_known_args()
    ends = time.monotonic() + chosen.deadline * 60
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        vm_image.demand()
        image = vm_image.built(ends)
        return run(image, command(chosen.shell, arguments), ends)
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        print(f"scripts/test --vm: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("scripts/test --vm: interrupted", file=sys.stderr)
        return 130


def command(shell: str | None, arguments: list[str]) -> str:
    """The shell command that is run inside."""
    if shell is not None:
        return shell
    files = (
        []
        if any(Path(one.split("::")[0]).exists() for one in arguments)
        else [one for one in TESTS if (vm_image.PROJECT / one).exists()]
    )
    pytest = [
        "/opt/venv/bin/python",
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "--color=no",
        f"--timeout={TEST_TIMEOUT_S}",
    ]
    return shlex.join([*pytest, *files, *(NOT_HERE if files else ()), *arguments])


def run(image: Path, inside: str, ends: float) -> int:
    """Boot, pass on what is printed, and end the machine in every case."""
    token = f"[{secrets.token_hex(8)}]"  # unguessable: no test can print the result
    with tempfile.TemporaryDirectory(prefix="tidepool-vm-") as place:
        project = Path(place) / "project"
        shutil.copytree(vm_image.PROJECT, project, ignore=LEFT_OUT, symlinks=True)
        (project / ".vm").mkdir()
        (project / ".vm/start").write_text(START.format(token=token, command=inside))
        vm_image.make_disk(project, Path(place) / "disk", ends)
        shutil.rmtree(project)
        vm_image.tell(f"booting ({CPUS} processors and {MEMORY_MIB} MiB, emulated): {inside}")
        with machine(image, Path(place)) as qemu:
            return follow(qemu, token, ends)


@contextlib.contextmanager
def machine(image: Path, place: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A running QEMU, whose output is the machine's serial console; killed at the end."""
    drives = (image / "disk", place / "disk")
    arguments = [
        *("setpriv", "--pdeathsig", "KILL"),  # nor does it outlive us when we are killed
        *("qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max,la57=off"),
        *("-smp", str(CPUS), "-m", str(MEMORY_MIB)),
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-nic", "none", "-serial", "stdio"),
        *("-kernel", str(image / "kernel"), "-initrd", str(image / "initramfs")),
        *("-append", "console=ttyS0 loglevel=2 panic=-1 random.trust_cpu=on"),
        *(word for drive in drives for word in ("-drive", f"file={drive},if=virtio,format=raw,snapshot=on")),
        *("-object", "rng-builtin,id=rng", "-device", "virtio-rng-pci,rng=rng"),
    ]  # fmt: skip
    # Changed blocks go into unnamed files of this directory.
    environment = os.environ | {"TMPDIR": str(place)}
    qemu = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environment)
    try:
        yield qemu
    finally:
        qemu.kill()
        qemu.wait()


def follow(qemu: subprocess.Popen[bytes], token: str, ends: float) -> int:
    """Pass on what the machine prints until it says how its command ended."""
    assert qemu.stdout is not None
    fd, started, rest = qemu.stdout.fileno(), time.monotonic(), b""
    while select.select([fd], [], [], max(0.0, ends - time.monotonic()))[0]:
        data = os.read(fd, 1 << 16)
        if not data:
            raise RuntimeError("the machine ended without a result: see its last lines above")
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            text = line.decode(errors="replace").rstrip("\r")
            if text.startswith(f"{token} exit "):
                return int(text.split()[-1])
            if text.startswith(token):
                took = f"{time.monotonic() - started:.1f} s of this host's clock"
                vm_image.tell(f"{text.removeprefix(token).strip()}; {took}")
            else:
                print(text, flush=True)
    raise RuntimeError(
        "the deadline has passed and the machine was ended; --deadline MINUTES gives it longer"
    )


if __name__ == "__main__":
    sys.exit(main())
