"""Sandboxes on this host: no HTTP, no wire JSON. These names are all that other floors use.

They are looked up when they are first used: the spawner lives in this package too, and must not carry the rest of the
engine in its privileged process.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tidepool.engine.config import EngineConfig
    from tidepool.engine.engine import Engine
    from tidepool.engine.files import Download, FileInfo, Files
    from tidepool.engine.host import drop_privileges
    from tidepool.engine.lifecycle import State
    from tidepool.engine.result import ExecResult, TestCase, TestReport, Verdict
    from tidepool.engine.sandbox import Sandbox
    from tidepool.engine.spec import CodeRun, Command, Limits, SandboxSpec, Secret, Shell, TestRun, Volume

_ROOMS = {
    "config": ("EngineConfig",),
    "engine": ("Engine",),
    "files": ("Download", "FileInfo", "Files"),
    "host": ("drop_privileges",),
    "lifecycle": ("State",),
    "result": ("ExecResult", "TestCase", "TestReport", "Verdict"),
    "sandbox": ("Sandbox",),
    "spec": ("CodeRun", "Command", "Limits", "SandboxSpec", "Secret", "Shell", "TestRun", "Volume"),
}

__all__ = [
    "CodeRun",
    "Command",
    "Download",
    "Engine",
    "EngineConfig",
    "ExecResult",
    "FileInfo",
    "Files",
    "Limits",
    "Sandbox",
    "SandboxSpec",
    "Secret",
    "Shell",
    "State",
    "TestCase",
    "TestReport",
    "TestRun",
    "Verdict",
    "Volume",
    "drop_privileges",
]


def __getattr__(name: str) -> object:
    for room, names in _ROOMS.items():
        if name in names:
            return getattr(import_module(f"tidepool.engine.{room}"), name)
    raise AttributeError(f"module 'tidepool.engine' has no attribute {name!r}")
