"""What attacks on files share: the canary's text, an answer or a refusal as a value, and a program that goes on."""

from collections.abc import Coroutine
from typing import Any

from tidepool.engine import Command
from tidepool.engine.errors import Refused, SandboxLost

SECRET = b"unharmed"
"""What the host's canary says (conftest)."""


async def outcome(asked: Coroutine[Any, Any, Any]) -> Any:
    """What came, or the refusal; anything else is a failure."""
    try:
        return await asked
    except (Refused, SandboxLost) as refusal:
        return refusal


def background(code: str) -> Command:
    """A Python program that runs until it is cancelled."""
    return Command(argv=("python3", "-c", code), timeout_s=800)
