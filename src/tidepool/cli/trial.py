"""Whether sandboxes of each isolation start on this host: an engine of its own makes one of each and runs `true`.

Nothing is left of it. What a runtime says when it does not start is passed on in its own words; one that hangs is
waited for `TIMEOUT_S` and changes nothing of what is said of the others.
"""

import asyncio
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tidepool.engine import Command, Engine, EngineConfig, Sandbox, SandboxSpec
from tidepool.engine.errors import TidepoolError

TIMEOUT_S = 30.0
"""For each isolation, and for the engine before them."""


def outcomes(isolations: Sequence[str]) -> dict[str, str]:
    """For each isolation a clause: that it works and how soon it was ready, or why it does not."""
    with tempfile.TemporaryDirectory(prefix="tidepool-doctor-") as name:
        place = Path(name)
        place.chmod(0o755)  # ids of sandboxes pass through it
        try:
            return asyncio.run(_try_each(place, isolations))
        except (TidepoolError, OSError) as error:
            why = str(error) or f"it took more than {TIMEOUT_S:g} s"
            return dict.fromkeys(isolations, f"not tried: no engine could be started: {why}")


async def _try_each(place: Path, isolations: Sequence[str]) -> dict[str, str]:
    async with asyncio.timeout(TIMEOUT_S):
        config = EngineConfig(place / "state", place / "run", pool_size=0, drop_root=False)
        engine = await Engine.start(config)
    try:
        # One after the other: together they would slow each other down, and the times are told.
        return {isolation: await _try(engine, isolation) for isolation in isolations}
    finally:
        await engine.close()


async def _try(engine: Engine, isolation: str) -> str:
    try:
        async with asyncio.timeout(TIMEOUT_S):
            began = time.monotonic()
            sandbox = await engine.create(SandboxSpec(isolation=isolation, network="none"))  # type: ignore[arg-type]  # it says so
            ready_ms = (time.monotonic() - began) * 1000
            return await _use(engine, sandbox) or f"works, ready in {ready_ms:.0f} ms"
    except TimeoutError:
        return f"does not start: it took more than {TIMEOUT_S:g} s"
    except TidepoolError as error:
        return f"does not start: {error}"


async def _use(engine: Engine, sandbox: Sandbox) -> str:
    """Why it is of no use, in a clause; empty if it is."""
    try:
        result = await sandbox.exec(Command(argv=("true",), timeout_s=TIMEOUT_S))
    finally:
        await engine.delete(sandbox)
    if result.exit_code == 0:
        return ""
    words = result.output[:200].decode("utf-8", "replace")
    return f"does not work: `true` ended with {result.exit_code}: {words}"
