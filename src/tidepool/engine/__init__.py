"""Sandboxes on this host: no HTTP, no wire JSON. These names are all that other floors use."""

from tidepool.engine.engine import PROXY_PORT, Engine, EngineConfig, drop_privileges
from tidepool.engine.files import Download, FileInfo, Files
from tidepool.engine.lifecycle import State
from tidepool.engine.result import ExecResult, TestCase, TestReport, Verdict
from tidepool.engine.sandbox import Sandbox
from tidepool.engine.spec import CodeRun, Command, Limits, SandboxSpec, TestRun

__all__ = [
    "PROXY_PORT",
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
    "State",
    "TestCase",
    "TestReport",
    "TestRun",
    "Verdict",
    "drop_privileges",
]
