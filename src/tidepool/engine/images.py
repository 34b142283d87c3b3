"""The default image: composed from this host's own /usr and interpreter, with nothing else of the host in it.

Three trees are stacked by the spawner: `/` (generated here: a minimal /etc, homes, mount points), `/usr` (the host's,
behind a mask) and `/usr/local` (the interpreter's prefix, behind a mask, plus dependency layers). A mask hides what is
not world-readable (an id map would make it readable to root inside), the host's /usr/local and its site-packages.
Composed once per fingerprint into the state directory, by the process that may read everything, before it drops root.
"""

import contextlib
import errno
import hashlib
import importlib.util
import logging
import os
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tidepool.engine.errors import HostUnsupported
from tidepool.engine.kernel import mounts

log = logging.getLogger("tidepool.engine")

GUEST = "lib/tidepool/tidepool/engine/guest"
"""Where the guest's modules stand below /usr inside."""
USER_ID = 1000
_MULTIARCH = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_FORMAT = 4
"""Part of the fingerprint: changes when what is generated changes."""

_USERS = """root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/:/usr/sbin/nologin
daytona:x:1000:1000:daytona:/home/daytona:/bin/sh
nobody:x:65534:65534:nobody:/:/usr/sbin/nologin
"""
_GROUPS = "root:x:0:\ndaemon:x:1:\ntty:x:5:\ndaytona:x:1000:\nnogroup:x:65534:\n"
_FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>/usr/share/fonts</dir><cachedir prefix="xdg">fontconfig</cachedir></fontconfig>
"""
_ETC = {
    "passwd": _USERS,
    "group": _GROUPS,
    "shells": "/bin/sh\n/bin/bash\n",
    "hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "hostname": "sandbox\n",
    "resolv.conf": "",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\nservices: files\nprotocols: files\n",
    "services": "http 80/tcp\nhttps 443/tcp\nssh 22/tcp\ndomain 53/udp\n",
    "protocols": "ip 0 IP\nicmp 1 ICMP\ntcp 6 TCP\nudp 17 UDP\n",
    "profile": "",
    "timezone": "Etc/UTC\n",
    "fonts/fonts.conf": _FONTS,
}


@dataclass(frozen=True)
class Image:
    """The trees of one composed image; absolute paths on the host."""

    base: Path
    usr: tuple[Path, ...]
    """Lowers of /usr, topmost first."""
    local: tuple[Path, ...]
    """Lowers of /usr/local, topmost first; dependency layers go on top."""
    python: str
    """Version such as 3.11."""


def compose(state_dir: Path) -> Image:
    """The default image, from the cache in `state_dir` when nothing it was made from has changed.

    Raises:
        HostUnsupported: This host's layout cannot be used; the sentence says why.
    """
    prefix = Path(sys.base_prefix)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for name in _MULTIARCH:
        if os.path.isdir(f"/{name}") and not os.path.islink(f"/{name}"):
            raise HostUnsupported(
                f"/{name} is a directory of its own; a merged /usr (the default since 2021) is needed"
            )
    images = state_dir / "images"
    target = images / _fingerprint(prefix)
    if not target.is_dir():
        images.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = images / f".{target.name}.{os.getpid()}"
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(fresh)
        fresh.mkdir()
        try:
            _write_base(fresh / "base")
            _write_usr_mask(fresh / "usr", prefix)
            _write_local_mask(fresh / "local", prefix, version)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP):
                raise
            raise HostUnsupported(
                f"{images} is on a filesystem that cannot hold an image's marks of what is hidden ({error.strerror}); "
                "put the state directory on one such as ext4"
            ) from None
        try:
            fresh.rename(target)
        except OSError:
            shutil.rmtree(fresh)
            if not target.is_dir():  # else another process was quicker
                raise
    local = (target / "local",) if prefix == Path("/usr") else (target / "local", prefix)
    return Image(target / "base", (target / "usr", Path("/usr")), local, version)


def _fingerprint(prefix: Path) -> str:
    """What an image depends on: our own files, the packages installed on the host, the interpreter, whose overlays."""
    digest = hashlib.sha256(f"{_FORMAT} {prefix} {sys.version} {mounts.attribute_prefix()}".encode())
    for path in (
        Path("/var/lib/dpkg/status"),
        Path("/usr"),
        Path("/usr/bin"),
        Path("/usr/lib"),
        prefix / "bin",
    ):
        with contextlib.suppress(OSError):
            info = path.stat()
            digest.update(f"{path} {info.st_mtime_ns} {info.st_ino}".encode())
    for file in sorted(_guest_directory().glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _guest_directory() -> Path:
    return Path(__file__).parent / "guest"


def _write_base(base: Path) -> None:
    for name in (
        "etc/fonts",
        "usr",
        "var",
        "run",
        "opt",
        "srv",
        "mnt",
        "home",
        "proc",
        "dev",
        "sys",
        "var/lib",
        "var/log",
    ):
        (base / name).mkdir(parents=True)
    for name, mode in (("tmp", 0o1777), ("var/tmp", 0o1777), ("root", 0o700), ("home/daytona", 0o755)):
        (base / name).mkdir()
        (base / name).chmod(mode)
    # Inside, 1000 is daytona. The state directory is closed to other users of the host.
    if os.geteuid() == 0:  # else the spawner gives it away: that needs a user namespace
        os.chown(base / "home/daytona", USER_ID, USER_ID)
    for name in _MULTIARCH:
        if os.path.islink(f"/{name}"):
            (base / name).symlink_to(f"usr/{name}")
    for name, text in _ETC.items():
        (base / "etc" / name).write_text(text)
    _copy_neutral(base / "etc")


def _copy_neutral(etc: Path) -> None:
    """The few files of the host's /etc that describe its /usr and nothing else."""
    for name in ("os-release", "debian_version", "ld.so.conf", "ld.so.cache", "mime.types", "magic"):
        source = Path("/etc") / name
        if source.is_file() and source.stat().st_mode & stat.S_IROTH:
            shutil.copyfile(source, etc / name)
    (etc / "localtime").symlink_to("/usr/share/zoneinfo/Etc/UTC")
    (etc / "alternatives").mkdir()
    with contextlib.suppress(FileNotFoundError):
        for link in os.scandir("/etc/alternatives"):
            if link.is_symlink() and os.readlink(link.path).startswith("/usr/"):
                (etc / "alternatives" / link.name).symlink_to(os.readlink(link.path))


def _write_usr_mask(mask: Path, prefix: Path) -> None:
    mask.mkdir()
    for path in _unreadable("/usr"):
        _whiteout(mask / os.path.relpath(path, "/usr"))
    # Inside, pip may install: there is no distribution's package manager whose files it could disturb (PEP 668).
    for marker in Path("/usr/lib").glob("python3*/EXTERNALLY-MANAGED"):
        _whiteout(mask / os.path.relpath(marker, "/usr"))
    _opaque(mask / "local")
    guest = mask / GUEST
    guest.mkdir(parents=True)
    for file in sorted(_guest_directory().glob("*.py")):
        shutil.copyfile(file, guest / file.name)
    subprocess.run([sys.executable, "-m", "compileall", "-q", "-s", mask, "-p", "/usr", guest], check=True)
    for library in sorted((prefix / "lib").glob("libpython3*.so*")) if prefix != Path("/usr") else ():
        # The loader looks into /usr/lib without a cache; the interpreter was linked for another prefix. A namesake of
        # the host's own interpreter in a multiarch directory would be found first.
        for place in (
            Path("/usr/lib"),
            *(other.parent for other in Path("/usr/lib").glob(f"*/{library.name}")),
        ):
            link = mask / place.relative_to("/usr") / library.name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(f"/usr/local/lib/{library.name}")


def _unreadable(top: str) -> list[str]:
    """Paths below `top` that others may not read (or enter), topmost ones only."""
    find = ["find", top, "-xdev", "(", "-path", f"{top}/local", "-prune", ")", "-o", "!", "-type", "l"]
    find += ["!", "-perm", "-004", "-print0", "-prune"]
    listing = subprocess.run(find, capture_output=True, check=False).stdout
    return [os.fsdecode(path) for path in listing.split(b"\0") if path]


def _write_local_mask(mask: Path, prefix: Path, version: str) -> None:
    mask.mkdir()
    binaries = mask / "bin"
    binaries.mkdir()
    site = mask / "lib" / f"python{version}" / "site-packages"
    if prefix == Path("/usr"):
        site.mkdir(parents=True)
        (site.parent / "dist-packages").symlink_to("site-packages")
        (binaries / "python3").symlink_to(f"/usr/bin/python{version}")
        (binaries / "python").symlink_to("python3")
    else:
        _opaque(site)
        for name in os.listdir(prefix / "bin"):
            if not name.startswith("python") or name.endswith("-config"):
                _whiteout(binaries / name)
        for path in _unreadable(str(prefix)):
            with contextlib.suppress(FileExistsError):
                _whiteout(mask / os.path.relpath(path, prefix))
    shutil.copyfile(_guest_directory() / "charts.py", site / "tidepool_charts.py")
    _add_pip(site, binaries)
    _add_uv(binaries)


def _add_pip(site: Path, binaries: Path) -> None:
    """pip as the interpreter ships it (ensurepip), else the server's own: `pip install` is there without the host's."""
    wheels = _pip_wheels()
    own = importlib.util.find_spec("pip")
    if wheels:
        shutil.unpack_archive(wheels[0], site, "zip")
    elif own is not None and own.origin is not None:
        shutil.copytree(Path(own.origin).parent, site / "pip", ignore=shutil.ignore_patterns("__pycache__"))
    else:
        log.warning("there is no pip in sandboxes: this interpreter has neither ensurepip nor pip")
        return
    for name in ("pip", "pip3"):
        script = binaries / name
        script.unlink(missing_ok=True)  # the whiteout of the host's own
        script.write_text(
            "#!/usr/local/bin/python3\nimport sys\nfrom pip._internal.cli.main import main\nsys.exit(main())\n"
        )
        script.chmod(0o755)


def _pip_wheels() -> list[str]:
    try:
        import ensurepip
    except ImportError:  # Debian has it in a package of its own, python3-venv
        return []
    places = [Path(ensurepip.__file__).parent / "_bundled", Path("/usr/share/python-wheels")]
    return [str(wheel) for place in places for wheel in sorted(place.glob("pip-*.whl"))]


def _add_uv(binaries: Path) -> None:
    """The uv that tidepool depends on: one static binary."""
    with contextlib.suppress(ImportError, FileNotFoundError):
        import uv

        shutil.copyfile(uv.find_uv_bin(), binaries / "uv")
        (binaries / "uv").chmod(0o755)


def _whiteout(path: Path) -> None:
    """overlayfs: a character device 0:0 hides the name in the layers below."""
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(0, 0))


def _opaque(path: Path) -> None:
    """overlayfs: an opaque directory hides the content of the layers below."""
    path.mkdir(parents=True)
    os.setxattr(path, f"{mounts.attribute_prefix()}opaque", b"y")
