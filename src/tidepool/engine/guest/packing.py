"""What a build sandbox says about what was installed in it: worthwhile modules as JSON, or all files as a tar.

Runs as a program of its own, `packing.py pack PREFIX` or `packing.py modules PREFIX NAME...`. Its output is as hostile
as the packages are: the host checks every byte.
"""

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
from typing import BinaryIO

_IMPORT_TIMEOUT_S = 20
# Importing must work, and must leave one thread: what is forked later may not have more.
_TRY = """
import os, sys
sys.path.append(sys.argv[1])
__import__(sys.argv[2])
sys.exit(len(os.listdir("/proc/self/task")) - 1)
"""


def pack(prefix: str) -> None:
    """Write every regular file below `prefix` to stdout; links come as what they lead to."""
    with tarfile.open(fileobj=sys.stdout.buffer, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for directory, names, files in os.walk(prefix):
            names.sort()
            for name in sorted(files):
                path = os.path.join(directory, name)
                if os.path.isfile(path) and path != os.path.join(prefix, ".lock"):  # the installer's own
                    with open(path, "rb") as file:
                        _add(tar, os.path.relpath(path, prefix), file)


def _add(tar: tarfile.TarFile, name: str, file: BinaryIO) -> None:
    info = tar.gettarinfo(arcname=name, fileobj=file)
    if info.islnk():  # the installer links equal files to each other
        info.type, info.linkname = tarfile.REGTYPE, ""
        info.size = os.fstat(file.fileno()).st_size
    tar.addfile(info, file)


def modules(prefix: str, wanted: "list[str]") -> "list[str]":
    """Top-level modules of the wanted distributions (normalised names), and pytest, that can be preloaded."""
    # By name: a distribution's own default scheme puts packages elsewhere, the installer does not.
    paths = sysconfig.get_paths("posix_prefix", vars={"base": prefix, "platbase": prefix})
    site = paths["purelib"]
    found = []
    for distribution in importlib.metadata.distributions(path=[site]):
        name = re.sub(r"[-_.]+", "-", distribution.metadata["Name"]).lower()
        if name in wanted or name == "pytest":
            found += _top_level(distribution)
    return [module for module in sorted(set(found)) if _can_be_preloaded(site, module)]


def _top_level(distribution: importlib.metadata.Distribution) -> "list[str]":
    names = []
    for file in distribution.files or []:
        first, *rest = file.parts
        if rest and rest[-1] == "__init__.py" and len(rest) == 1:
            names.append(first)
        elif not rest and first.endswith(".py"):
            names.append(first[:-3])
    return [name for name in names if name.isidentifier() and not name.startswith("_") and name != "tests"]


def _can_be_preloaded(site: str, module: str) -> bool:
    command = [sys.executable, "-I", "-c", _TRY, site, module]
    try:
        return (
            subprocess.run(command, capture_output=True, timeout=_IMPORT_TIMEOUT_S, check=False).returncode
            == 0
        )
    except subprocess.TimeoutExpired:
        return False


def main(argv: "list[str]") -> None:
    """Do what the command line says."""
    if argv[0] == "pack":
        pack(argv[1])
    else:
        sys.stdout.write(json.dumps(modules(argv[1], argv[2:])))


if __name__ == "__main__":
    main(sys.argv[1:])
