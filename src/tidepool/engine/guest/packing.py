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

SINGLE_THREADED = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""Keeps numeric libraries from starting threads: in force where modules are preloaded, and so where that is tried."""
_IMPORT_TIMEOUT_S = 20
# Importing must work, and must leave one thread: what is forked later may not have more.
_TRY = """
import os, sys
sys.path.append(sys.argv[1])
__import__(sys.argv[2])
sys.exit(len(os.listdir("/proc/self/task")) - 1)
"""
# What programs import of a package is rarely its top: its direct subpackages, and what they load only when asked for it
# (module __getattr__, PEP 562), for as long as that is quick and small.
_DEEPER = """
import importlib, os, sys, time
sys.path.append(sys.argv[1])
name, until = sys.argv[2], time.monotonic() + 3

def go_on():
    with open("/proc/self/statm") as file:
        return time.monotonic() < until and int(file.read().split()[1]) * 4096 < 160 << 20

def offered(module):
    if "__getattr__" in vars(module):
        for one in list(getattr(module, "__all__", ()))[:200]:
            try:
                go_on() and getattr(module, one)
            except Exception:
                continue

top = importlib.import_module(name)
offered(top)
for place in list(getattr(top, "__path__", ()))[:1]:
    for entry in sorted(os.listdir(place)):
        is_public = entry.isidentifier() and not entry.startswith("_") and not entry.startswith("test")
        if is_public and os.path.isfile(os.path.join(place, entry, "__init__.py")) and go_on():
            try:
                offered(importlib.import_module(f"{name}.{entry}"))
            except (Exception, SystemExit):
                continue
if len(os.listdir("/proc/self/task")) == 1:
    print("\\n".join(sys.modules))
"""
_NOT_DEEPER = ("pytest", "py")
"""pytest is preloaded in a way of its own."""


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
    """Modules of the wanted distributions (normalised names), and pytest, that can be preloaded; parents come first."""
    # By name: a distribution's own default scheme puts packages elsewhere, the installer does not.
    paths = sysconfig.get_paths("posix_prefix", vars={"base": prefix, "platbase": prefix})
    site = paths["purelib"]
    found = []
    for distribution in importlib.metadata.distributions(path=[site]):
        name = re.sub(r"[-_.]+", "-", distribution.metadata["Name"]).lower()
        if name in wanted or name == "pytest":
            found += _top_level(distribution)
    top = [module for module in sorted(set(found)) if _can_be_preloaded(site, module)]
    return top + [deeper for module in top if module not in _NOT_DEEPER for deeper in _below(site, module)]


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
    env = os.environ | SINGLE_THREADED
    try:
        return (
            subprocess.run(
                command, env=env, capture_output=True, timeout=_IMPORT_TIMEOUT_S, check=False
            ).returncode
            == 0
        )
    except subprocess.TimeoutExpired:
        return False


def _below(site: str, module: str) -> "list[str]":
    """What is worth loading below a top-level module; nothing when that is slow or starts threads."""
    command = [sys.executable, "-I", "-c", _DEEPER, site, module]
    env = os.environ | SINGLE_THREADED
    try:
        done = subprocess.run(
            command, env=env, capture_output=True, text=True, timeout=_IMPORT_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return []
    return [name for name in done.stdout.split() if name.startswith(f"{module}.")]


def main(argv: "list[str]") -> None:
    """Do what the command line says."""
    if argv[0] == "pack":
        pack(argv[1])
    else:
        sys.stdout.write(json.dumps(modules(argv[1], argv[2:])))


if __name__ == "__main__":
    main(sys.argv[1:])
