"""Makes the image that scripts/vm.py boots: a small Debian, its kernel, and the Python packages that tests need.

It is made once below the user's cache directory, and again when this file or constraints.txt has changed. Only root can
make it, because its files have their right owners. Nothing is installed on the host.
"""

import gzip
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
RELEASE = "bookworm"
KERNEL = "linux-image-cloud-amd64"
PYTHON = "3.11"
PACKAGES = (
    f"python{PYTHON}",
    f"python{PYTHON}-venv",
    "python3-distutils",  # debootstrap does not find by itself who provides what the one above depends on
    "busybox-static",
    "ca-certificates",
    "crun",
    "iproute2",
    "kmod",
    "openssl",
    "procps",
    "uidmap",
)
PROGRAMS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "debootstrap": "debootstrap",
    "mkfs.ext4": "e2fsprogs",
    "apt-get": "apt",
    "dpkg-deb": "dpkg",
    "setpriv": "util-linux",
}
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DISK_MODULES = ("virtio_pci", "virtio_blk")
ROOM_MIB = 512
"""Free space on a disk, beyond what is put on it."""

FIRST = """#!/bin/sh
mount -t devtmpfs dev /dev
{loads}
mount -t ext4 -o noatime /dev/vda /system
mount -t devtmpfs dev /system/dev
exec switch_root /system /bin/busybox sh -c 'mount -t ext4 -o noatime /dev/vdb /project && exec sh /project/.vm/start'
"""


def demand() -> None:
    """Raises RuntimeError where the machine cannot be made here."""
    if platform.machine() != "x86_64":
        raise RuntimeError(f"the virtual machine is of x86_64, this host is of {platform.machine()}")
    if os.geteuid() != 0:
        raise RuntimeError("the disk image can be made by root only; start it as root")
    missing = [package for program, package in PROGRAMS.items() if not shutil.which(program)]
    if missing:
        raise RuntimeError(f"missing: apt-get install --no-install-recommends {' '.join(missing)}")


def built(ends: float) -> Path:
    """The directory with `disk`, `kernel` and `initramfs`; made when its contents have changed."""
    recipe = Path(__file__).read_bytes() + (PROJECT / "constraints.txt").read_bytes()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tidepool" / "vm"
    image = cache / hashlib.sha256(recipe).hexdigest()[:16]
    if not image.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="building-", dir=cache) as place:
            (Path(place) / "image").mkdir()
            build(Path(place), Path(place) / "image", ends)
            for old in [one for one in cache.iterdir() if not one.name.startswith("building-")]:
                shutil.rmtree(old)
            (Path(place) / "image").rename(image)
    return image


def build(place: Path, image: Path, ends: float) -> None:
    """A Debian of its own, the pinned Python packages and the kernel's modules on one disk."""
    tree = place / "tree"
    tell(f"a small Debian ({RELEASE}) from its mirror")
    included = f"--include={','.join(PACKAGES)}"
    # Its mounts and processes end with it, however it ends.
    alone = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
    call([*alone, "debootstrap", "--variant=minbase", included, RELEASE, str(tree)], place, ends)
    tell("its kernel")
    call(["apt-get", "download", kernel_package()], place, ends)
    # Not into the tree: its /lib is a link, which unpacking would replace.
    call(["dpkg-deb", "-x", str(next(place.glob("linux-image-*.deb"))), str(place / "kernel")], place, ends)
    (place / "kernel/lib/modules").rename(tree / "usr/lib/modules")
    tell("the pinned Python packages")
    venv = tree / "opt/venv"
    packages = venv / f"lib/python{PYTHON}/site-packages"
    interpreter = ["--python-version", PYTHON, "--implementation", "cp", "--only-binary", ":all:"]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    pinned = ["--require-hashes", "-r", str(PROJECT / "constraints.txt")]
    call([*pip, *interpreter, "--target", str(packages), *pinned], place, ends)
    (packages / "tidepool.pth").write_text("/project/src\n")
    (venv / "bin").mkdir(exist_ok=True)
    (venv / "bin/python").symlink_to(f"/usr/bin/python{PYTHON}")
    (venv / "pyvenv.cfg").write_text(f"home = /usr/bin\nversion = {PYTHON}\n")
    call(
        ["chroot", str(tree), f"python{PYTHON}", "-m", "compileall", "-q", "/opt/venv"],
        place,
        ends,
        may_fail=True,
    )
    tell("the disk")
    version = next((tree / "usr/lib/modules").iterdir()).name
    call(["chroot", str(tree), "depmod", version], place, ends)
    shutil.copy(place / f"kernel/boot/vmlinuz-{version}", image / "kernel")
    initramfs(tree, version, place / "first", image / "initramfs")
    shutil.rmtree(tree / "var/cache/apt")
    (tree / "project").mkdir()
    make_disk(tree, image / "disk", ends)


def kernel_package() -> str:
    """The package that the meta package names: it has the version in its name."""
    lines = subprocess.run(
        ["apt-cache", "depends", KERNEL], capture_output=True, text=True, check=True
    ).stdout
    return next(line.split()[1] for line in lines.splitlines() if line.strip().startswith("Depends:"))


def initramfs(tree: Path, version: str, first: Path, target: Path) -> None:
    """What the kernel starts: it loads the disk's modules and goes on from the disk."""
    modules = tree / "usr/lib/modules" / version
    lines = (line.split(":") for line in (modules / "modules.dep").read_text().splitlines())
    needs = {Path(name).stem: [*reversed(after.split()), name] for name, after in lines}
    # modules.dep lists the nearest first; a module may be needed twice, and is loaded once.
    loaded = dict.fromkeys(file for name in DISK_MODULES for file in needs[name])
    for name in ("bin", "dev", "system"):
        (first / name).mkdir(parents=True)
    shutil.copy(tree / "bin/busybox", first / "bin/busybox")
    for name in ("sh", "mount", "insmod", "switch_root"):
        (first / "bin" / name).symlink_to("busybox")
    for file in loaded:
        shutil.copy(modules / file, first / Path(file).name)
    (first / "init").write_text(
        FIRST.format(loads="\n".join(f"insmod /{Path(file).name}" for file in loaded))
    )
    (first / "init").chmod(0o755)
    names = "\n".join(str(one.relative_to(first)) for one in sorted(first.rglob("*"))).encode()
    packed = subprocess.run(
        [tree / "bin/busybox", "cpio", "-o", "-H", "newc"],
        input=names,
        cwd=first,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    target.write_bytes(gzip.compress(packed.stdout))


def make_disk(tree: Path, target: Path, ends: float) -> None:
    """An ext4 image of a directory, with some room."""
    size = sum(one.lstat().st_blocks * 512 for one in tree.rglob("*"))
    with target.open("wb") as disk:
        disk.truncate(int(size * 1.2) + (ROOM_MIB << 20))
    call(["mkfs.ext4", "-q", "-F", "-d", str(tree), str(target)], target.parent, ends)


def call(arguments: list[str], cwd: Path, ends: float, may_fail: bool = False) -> None:
    """Run a program to its end; what it prints is shown when it fails."""
    left = max(1.0, ends - time.monotonic())
    environment = os.environ | {"LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive", "PATH": PATH}
    done = subprocess.run(
        arguments,
        cwd=cwd,
        env=environment,
        timeout=left,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode != 0 and not may_fail:
        said = done.stdout.decode(errors="replace")[-2000:]
        raise RuntimeError(f"{arguments[0]} ended with {done.returncode}:\n{said}")


def tell(text: str) -> None:
    """One line of progress."""
    print(f"vm: {text}", flush=True)
