"""What becomes of the files of a sandbox of which nothing runs any more: saved where they are to be kept, then let go.

Files that could not be saved stay where they are, in memory: they are saved when that is asked for again, when the
spawner ends, or by the guardian; only a kill without saving gives them up.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from tidepool.engine.guest import faults
from tidepool.engine.spawner import storage
from tidepool.engine.spawner.books import Slot
from tidepool.engine.spawner.copying import Copied

Answer = dict[str, Any]


class Burial:
    """Used by the spawner's loop; nothing here waits.

    Args:
        store: Where saved files go.
        run: Does work in a child, and hands its report to a function of ours.
        tell: Says how it ended, to whoever has asked for that or else unasked; it stays.
        let_go: Says the same, and forgets the sandbox and its files.
    """

    def __init__(
        self,
        store: storage.Storage,
        run: Callable[[Callable[[], Copied], Callable[[storage.Report], None]], None],
        tell: Callable[[Slot, Answer], None],
        let_go: Callable[[Slot, Answer], None],
    ) -> None:
        self._store = store
        self._run = run
        self._tell = tell
        self._let_go = let_go

    def begin(self, slot: Slot) -> None:
        """Save it if it is to be kept; also once more, after that has failed."""
        slot.unsaved = False
        if not slot.keep:
            self._let_go(slot, {})
            return
        slot.tries += 1
        work = partial(self._store.put, slot.upper, "saved", slot.keep, slot.first_id)
        self._run(work, partial(self._saved, slot))
        faults.step("spawner.save.begun")

    def _saved(self, slot: Slot, report: storage.Report) -> None:
        if report.cut and slot.tries == 1:
            self.begin(slot)
            return
        faults.step("spawner.save.done")
        answer = {"saved": msgspec.to_builtins(report)}
        if report.error and slot.keep:
            slot.unsaved = True
            self._tell(slot, answer)
        else:
            self._let_go(slot, answer)
