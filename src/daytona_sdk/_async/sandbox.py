"""One sandbox: what the server said about it last, and what can be done with it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from daytona_sdk import _requests, _rim
from daytona_sdk._async.filesystem import AsyncFileSystem
from daytona_sdk._async.process import AsyncProcess
from daytona_sdk._async.transport import AsyncTransport
from daytona_sdk.common.errors import DaytonaError, DaytonaNotFoundError, DaytonaTimeoutError
from daytona_sdk.common.results import SandboxState
from daytona_sdk.common.sandbox import LANGUAGE_LABEL, SandboxFields

_POLL = 0.1
_FAILED = (SandboxState.ERROR, SandboxState.BUILD_FAILED, SandboxState.DESTROYED)


class AsyncSandbox(SandboxFields):
    """An isolated machine for code nobody has read. As a context manager it deletes itself at the end.

    Attributes:
        fs: Its files.
        process: Running things in it.
    """

    def __init__(self, transport: AsyncTransport, data: Mapping[str, Any]) -> None:
        self._transport = transport
        self._api = transport.endpoint.url
        self._apply(data)
        self.language = self.labels.get(LANGUAGE_LABEL, "python")
        self.fs = AsyncFileSystem(transport, self._toolbox)
        self.process = AsyncProcess(transport, self._toolbox, self.language)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.state}>"

    async def __aenter__(self) -> AsyncSandbox:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.state is not SandboxState.DESTROYED:
            try:
                await self.delete()
            except DaytonaNotFoundError:
                self.state = SandboxState.DESTROYED  # gone already, which is what was wanted

    async def delete(self, timeout: float = 60) -> None:
        """Kill everything in it and remove it.

        Raises:
            DaytonaNotFoundError: There is none (any more).
        """
        self._apply(await self._transport.send(_requests.delete_sandbox(self._api, self.id, timeout)))

    async def stop(self, timeout: float = 60) -> None:
        """End everything that runs in it and keep its files.

        Raises:
            DaytonaConflictError: It is not started.
        """
        self._apply(await self._transport.send(_requests.change_sandbox(self._api, self.id, "stop", timeout)))

    async def start(self, timeout: float = 60) -> None:
        """Bring it back with the files it had when it stopped.

        Raises:
            DaytonaConflictError: It is in a state that does not allow it.
        """
        self._apply(
            await self._transport.send(_requests.change_sandbox(self._api, self.id, "start", timeout))
        )

    async def archive(self, timeout: float = 60) -> None:
        """Mark it, stopped, as one that is not needed soon.

        Raises:
            DaytonaConflictError: It is not stopped.
        """
        self._apply(
            await self._transport.send(_requests.change_sandbox(self._api, self.id, "archive", timeout))
        )

    async def refresh_data(self) -> None:
        """Ask the server for its present state."""
        self._apply(await self._transport.send(_requests.get_sandbox(self._api, self.id)))

    async def set_labels(self, labels: Mapping[str, str]) -> dict[str, str]:
        """Replace all labels; returns what they are now."""
        self.labels = await self._transport.send(_requests.set_labels(self._api, self.id, labels))
        return self.labels

    async def get_logs(self) -> bytes:
        """The newest 64 KiB of what its runs wrote (not part of Daytona's API)."""
        return await self._transport.send(_requests.logs(self._api, self.id))

    async def get_user_home_dir(self) -> str:
        """The home directory of the user that commands run as."""
        return await self._transport.send(_requests.home_dir(self._toolbox()))

    async def get_work_dir(self) -> str:
        """Where commands start and relative paths begin."""
        return await self._transport.send(_requests.work_dir(self._toolbox()))

    async def wait_for_sandbox_start(self, timeout: float = 60) -> None:
        """Return when it runs (our server's sandboxes do from the start).

        Args:
            timeout: Seconds; 0: no limit.

        Raises:
            DaytonaTimeoutError: It does not run yet; `sandbox_id` says which.
            DaytonaError: It failed; the message has the server's reason.
        """
        end = time.monotonic() + timeout if timeout else None
        while self.state is not SandboxState.STARTED:
            if self.state in _FAILED:
                raise self._about(
                    DaytonaError(
                        f"Sandbox {self.id} is {self.state}: {self.error_reason or 'no reason given'}"
                    )
                )
            if end is not None and time.monotonic() >= end:
                raise self._about(
                    DaytonaTimeoutError(f"Sandbox {self.id} is still {self.state} after {timeout:g} s.")
                )
            await _rim.async_sleep(_POLL)
            await self.refresh_data()

    def _about(self, error: DaytonaError) -> DaytonaError:
        error.sandbox_id = self.id
        return error

    def _toolbox(self) -> str:
        return _requests.toolbox(self._api, self.id, self.toolbox_url)
