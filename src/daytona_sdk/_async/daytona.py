"""The client: makes, finds and removes sandboxes on one server."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from dataclasses import replace
from types import TracebackType

from daytona_sdk import _config, _requests
from daytona_sdk._async.sandbox import AsyncSandbox
from daytona_sdk._async.transport import AsyncTransport
from daytona_sdk.common.params import CreateSandboxFromSnapshotParams, DaytonaConfig

# Inside the class the word `list` is its method.
_Sandboxes = list[AsyncSandbox]


class AsyncDaytona:
    """A client of the configured server; with no URL configured, of the local one, which it finds or starts.

    Nothing is connected before the first call. `close()` (or `with`) closes its connections; sandboxes stay.

    Args:
        config: What is not given is taken from DAYTONA_API_URL and DAYTONA_API_KEY, the key also from `.env`.

    Raises:
        DaytonaBadRequestError: The URL is not one.
        DaytonaAuthenticationError: A server is configured, but no key.
    """

    def __init__(self, config: DaytonaConfig | None = None) -> None:
        endpoint = _config.endpoint(config)
        for sentence in endpoint.warnings:
            warnings.warn(sentence, stacklevel=2)
        self._endpoint = endpoint
        self._transport = AsyncTransport(endpoint)

    async def __aenter__(self) -> AsyncDaytona:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    async def create(
        self, params: CreateSandboxFromSnapshotParams | None = None, timeout: float = 60
    ) -> AsyncSandbox:
        """Make a sandbox and return it running.

        Args:
            params: What it is to be like. On the local server, `network` is `packages` unless said otherwise.
            timeout: Seconds; 0: no limit. Dependencies that nobody asked for before are loaded in this time too.

        Raises:
            DaytonaBadRequestError: A parameter is wrong; nothing was made.
            DaytonaConnectionError: The server cannot be reached, or the local one cannot start here.
            DaytonaTimeoutError: It does not run yet; `sandbox_id` is set if it exists.
        """
        asked = params or CreateSandboxFromSnapshotParams()
        if self._endpoint.local and asked.network is None and not asked.network_block_all:
            asked = replace(asked, network="packages")
        begin = time.monotonic()
        call = _requests.create_sandbox(self._endpoint.url, asked, self._endpoint.target, timeout)
        sandbox = AsyncSandbox(self._transport, await self._transport.send(call))
        left = max(timeout - (time.monotonic() - begin), 0.001) if timeout else 0
        await sandbox.wait_for_sandbox_start(left)
        return sandbox

    async def get(self, sandbox_id_or_name: str) -> AsyncSandbox:
        """One sandbox.

        Raises:
            DaytonaNotFoundError: There is none.
        """
        call = _requests.get_sandbox(self._endpoint.url, sandbox_id_or_name)
        return AsyncSandbox(self._transport, await self._transport.send(call))

    async def list(self, labels: Mapping[str, str] | None = None) -> _Sandboxes:
        """All sandboxes that carry all of these labels."""
        found: _Sandboxes = []
        cursor = None
        while True:
            page = await self._transport.send(_requests.list_sandboxes(self._endpoint.url, labels, cursor))
            found += [AsyncSandbox(self._transport, item) for item in page["items"]]
            cursor = page.get("nextCursor")
            if not cursor:
                return found

    async def delete(self, sandbox: AsyncSandbox, timeout: float = 60) -> None:
        """The same as `sandbox.delete()`."""
        await sandbox.delete(timeout)
