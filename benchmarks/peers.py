"""Other ways to run a program on this host, each as a plain command line, or the reason why it is left out.

An OCI runtime gets a bundle with this host's directories, read only, and the namespaces that containers have.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from measure import PYTHON

NAMESPACES = ("pid", "network", "ipc", "uts", "mount")
_BWRAP = ("bwrap", "--unshare-all", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc")


class Peers:
    """The peers of one row, found by trying each once."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._count = 0
        self.left_out: list[str] = []

    def ways(self, program: list[str], plain: str) -> dict[str, Callable[[], None]]:
        """Each peer that can run `program` here, by name; `plain` is the name of the unsandboxed one."""
        candidates = {
            plain: lambda: program,
            "bubblewrap": lambda: [*_BWRAP, *program],
            "unshare": lambda: ["unshare", "--map-root-user", "-mpinuf", "--mount-proc", *program],
            "runsc": lambda: ["runsc", "--network=none", "--ignore-cgroups", "do", *program],
            "crun": lambda: self._container("crun", program),
            "runc": lambda: self._container("runc", program),
        }
        found = {}
        for name, command in candidates.items():
            if why := self._reason(name if name != plain else program[0], command):
                self.left_out.append(f"{name}: {why}")
            else:
                found[name] = _runner(command)
        return found

    def _reason(self, binary: str, command: Callable[[], list[str]]) -> str:
        """Why it cannot be measured; empty when it works."""
        if not shutil.which({"bubblewrap": "bwrap"}.get(binary, binary)):
            return "not installed"
        try:
            done = subprocess.run(command(), capture_output=True, timeout=20)
        except subprocess.TimeoutExpired:
            return "did not end within 20 s"
        said = done.stderr.decode(errors="replace").strip().splitlines() or [""]
        return f"does not run here: {said[-1][:200]}" if done.returncode else ""

    def _container(self, runtime: str, program: list[str]) -> list[str]:
        """One `run` of an OCI runtime under a name of its own."""
        bundle = self._place / "-".join([runtime, Path(program[0]).name])
        if not bundle.exists():
            (bundle / "rootfs").mkdir(parents=True)
            (bundle / "config.json").write_text(json.dumps(_bundle(program, bundle / "rootfs")))
        self._count += 1
        # crun refuses hosts with both versions of control groups unless it is told to leave them alone.
        more = ["--cgroup-manager=disabled"] if runtime == "crun" else []
        return [runtime, *more, "run", "--bundle", str(bundle), f"tidepool-bench-{os.getpid()}-{self._count}"]


def _runner(command: Callable[[], list[str]]) -> Callable[[], None]:
    def run() -> None:
        subprocess.run(command(), check=True, stdout=subprocess.DEVNULL)

    return run


def _bundle(program: list[str], root: Path) -> dict[str, object]:
    """An OCI runtime configuration: no capabilities, the host's directories read only, fresh /proc and /dev."""
    shared = []
    for path in sorted(Path("/").iterdir()):
        if path.is_symlink():
            (root / path.name).symlink_to(os.readlink(path))
        elif path.is_dir() and path.name not in ("proc", "sys", "dev"):
            shared.append(
                {"destination": str(path), "source": str(path), "type": "bind", "options": ["rbind", "ro"]}
            )
    return {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            "args": [shutil.which(program[0]) or program[0], *program[1:]],
            "env": ["PATH=/usr/bin:/bin"],
            "cwd": "/",
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "peer",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
            *shared,
        ],
        "linux": {"namespaces": [{"type": name} for name in NAMESPACES]},
    }


def line_program(code: str = "print(1)") -> list[str]:
    """The interpreter that sandboxes use, with one line."""
    return [PYTHON, "-c", code]
