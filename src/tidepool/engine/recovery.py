"""What becomes of sandboxes whose processes have ended without having been asked to.

A death ends processes, never files: what was saved is told here, whoever saved it, and a sandbox says why it ended.
Making and taking away on request is in `engine`; the saving itself is the spawner's, or its guardian's.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from tidepool.engine.backends.namespaces import Backend, Death
from tidepool.engine.network import Networks
from tidepool.engine.pool import Pool, Warm
from tidepool.engine.sandbox import Sandbox


@dataclass
class Entry:
    """A sandbox of this engine."""

    sandbox: Sandbox
    warm: Warm | None = None
    """Where it lives; None while it is stopped."""
    gone_at: float | None = None
    held: int | None = None
    """The slot whose files could not be saved yet."""


class Recovery:
    """Keeps the engine's entries true to what has died."""

    def __init__(self, entries: dict[str, Entry], pool: Pool, networks: Networks, backend: Backend) -> None:
        self._entries = entries
        self._pool = pool
        self._networks = networks
        self._backend = backend
        self._tasks: set[asyncio.Task[None]] = set()
        networks.when_renewed(self._serve_again)

    def on_death(self, death: Death) -> bool:
        """One box has died; returns whether a sandbox lived in it."""
        for entry in self._entries.values():
            if entry.warm is not None and entry.warm.box.slot == death.slot:
                self.lose(entry, death)
                return True
        return False

    def on_restart(self, why: str) -> None:
        """Nothing that was made before is there any more; the deaths of those that could be saved have been told."""
        self._pool.start_over()
        for entry in list(self._entries.values()):
            if entry.warm is not None:
                self.lose(entry, Death(entry.warm.box.slot, f"{why}; its files are lost", None, False, True))

    def lose(self, entry: Entry, death: Death) -> None:
        """Note that a sandbox has lost its box: stopped when that was not its own doing and its files are there."""
        sandbox = entry.sandbox
        if entry.warm is not None:
            entry.warm.close()
        entry.warm, entry.held = None, death.slot if death.is_held else None
        self._go_on(self._networks.take(sandbox.id))
        why = "its memory limit was reached and its init was killed" if death.out_of_memory else death.why
        if death.kept is not None:
            sandbox.has_saved_files, sandbox.not_kept = True, death.kept.not_kept
            why += "; its files were saved, it can be started again"
        sandbox.lose(why, is_stopped=death.kept is not None and not death.by_itself)

    async def saved(self, number: str) -> Entry:
        """A sandbox's entry; if its files could not be saved before, they are now.

        Raises:
            NotSaved: They still cannot be; they stay where they are.
        """
        entry = self._entries[number]
        if entry.held is not None:
            kept = await self._backend.kill(entry.held, save=True)
            entry.sandbox.note_saved(None if kept is None else kept.not_kept)
            entry.held = None
        return entry

    async def let_go(self, entry: Entry) -> None:
        """Take away the network, and give up files that could not be saved."""
        await self._networks.take(entry.sandbox.id)
        if entry.held is not None:
            held, entry.held = entry.held, None
            await self._backend.kill(held)

    def _serve_again(self) -> None:
        for entry in self._entries.values():
            if entry.warm is not None and entry.sandbox.spec.network != "none":
                self._go_on(self._networks.serve_again(entry.sandbox, entry.warm))

    def _go_on(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
