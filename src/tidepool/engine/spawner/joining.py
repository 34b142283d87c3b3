"""How a new init comes into its control group: by itself, because that does not stop the host, and checked by us.

What it says is not believed: it is let go on only when the kernel says that it is in its group. Nothing here waits.
"""

import errno
import socket
from collections.abc import Callable

from tidepool.engine.guest import frames
from tidepool.engine.kernel import cgroups, pidfd
from tidepool.engine.spawner.books import Slot

_JOINED = {"ev": "joined"}
Then = Callable[[socket.socket], None]


class Joining:
    """Those that were asked and have not answered yet."""

    def __init__(
        self,
        groups: cgroups.Tree,
        watch: Callable[[socket.socket, Callable[[], None]], None],
        unwatch: Callable[[socket.socket], object],
    ) -> None:
        self._groups = groups
        self._watch = watch
        self._unwatch = unwatch
        self._asked: dict[int, socket.socket] = {}

    def begin(self, slot: Slot, then: Then, refuse: Callable[[Exception], None]) -> None:
        """Have an init join: `then` when it is in its group, `refuse` when it must not run."""
        try:
            assert slot.control is not None
            doors = self._groups.doors(slot.leaf)
            if doors:
                self._ask(slot, slot.control, doors, then, refuse)
                return
            self._groups.attach(slot.leaf, pidfd.pid_of(slot.pidfd))
        except OSError as error:
            refuse(error)
            return
        then(slot.control)

    def stop(self, slot: Slot) -> None:
        """It has answered or died: its socket is watched no longer."""
        if (control := self._asked.pop(slot.number, None)) is not None:
            self._unwatch(control)

    def _ask(
        self,
        slot: Slot,
        control: socket.socket,
        doors: list[int],
        then: Then,
        refuse: Callable[[Exception], None],
    ) -> None:
        def answered() -> None:
            self.stop(slot)
            try:
                self._check(slot, control)
            except (OSError, frames.BadFrame) as error:
                refuse(error)
                return
            then(control)

        try:
            frames.send(control, {"op": "join"}, tuple(doors))
        finally:
            frames.close_all(doors)
        self._asked[slot.number] = control
        self._watch(control, answered)

    def _check(self, slot: Slot, control: socket.socket) -> None:
        received = frames.receive(control)
        frames.close_all(received[1] if received is not None else [])
        said = received[0] if received is not None else None
        if said != _JOINED or not self._groups.holds(slot.leaf, pidfd.pid_of(slot.pidfd)):
            raise OSError(errno.EPERM, "the init did not join its control group")
