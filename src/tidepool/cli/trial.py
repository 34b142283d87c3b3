"""Whether sandboxes of each isolation start on this host: an engine of its own makes one of each and runs `true`.

Nothing is left of it. What a runtime says when it does not start is passed on in its own words.
"""

import asyncio
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tidepool.engine import Command, Engine, EngineConfig, SandboxSpec
from tidepool.engine.errors import TidepoolError

_TIMEOUT_S = 60.0


def outcomes(isolations: Sequence[str]) -> dict[str, str]:
    """For each isolation a clause: that it works and how soon it was ready, or why it does not."""
    with tempfile.TemporaryDirectory(prefix="tidepool-doctor-") as name:
        place = Path(name)
        place.chmod(0o755)  # ids of sandboxes pass through it
        try:
            return asyncio.run(asyncio.wait_for(_try_each(place, isolations), _TIMEOUT_S))
        except TimeoutError:
            return dict.fromkeys(isolations, f"does not start: it took more than {_TIMEOUT_S:g} s")
        except (TidepoolError, OSError) as error:
            return dict.fromkeys(isolations, f"does not start: {error}")


async def _try_each(place: Path, isolations: Sequence[str]) -> dict[str, str]:
    engine = await Engine.start(EngineConfig(place / "state", place / "run", pool_size=0, drop_root=False))
    try:
        return {isolation: await _try(engine, isolation) for isolation in isolations}
    finally:
        await engine.close()


async def _try(engine: Engine, isolation: str) -> str:
    began = time.monotonic()
    try:
        sandbox = await engine.create(SandboxSpec(isolation=isolation, network="none"))  # type: ignore[arg-type]  # it says so
        ready_s = time.monotonic() - began
        result = await sandbox.exec(Command(argv=("true",), timeout_s=_TIMEOUT_S))
        await engine.delete(sandbox)
    except TidepoolError as error:
        return f"does not start: {error}"
    if result.exit_code != 0:
        return f"does not work: `true` ended with {result.exit_code}: {result.output[:200].decode('utf-8', 'replace')}"
    return f"works, ready in {ready_s * 1000:.0f} ms"
