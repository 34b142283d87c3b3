"""Running things in a sandbox. A program's failure is a result; exceptions say that it could not be run."""

from __future__ import annotations

import contextlib
import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any

from daytona_sdk import _requests
from daytona_sdk._async.transport import AsyncTransport
from daytona_sdk._frames import CLOSING, STREAMS, FrameDecoder
from daytona_sdk.common.errors import DaytonaConnectionError, DaytonaError
from daytona_sdk.common.params import CodeRunParams
from daytona_sdk.common.results import ExecuteResponse, OutputChunk, TestReport


class AsyncProcess:
    """`sandbox.process`."""

    def __init__(self, transport: AsyncTransport, toolbox: Callable[[], str], language: str) -> None:
        self._transport = transport
        self._toolbox = toolbox
        self._language = language

    async def exec(
        self,
        command: str,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> ExecuteResponse:
        """Run a shell command and wait for its end.

        Args:
            command: A line or script for `sh`.
            cwd: Directory in the sandbox; the work directory when None.
            env: Added to the sandbox's environment.
            timeout: Seconds; then the whole process tree is killed. None or 0: the server's own limit.

        Raises:
            DaytonaProcessExecutionTimeoutError: `timeout` was reached; `partial` has the output until then.
        """
        return await self._transport.send(_requests.execute(self._toolbox(), command, cwd, env, timeout))

    async def code_run(
        self, code: str, params: CodeRunParams | None = None, timeout: float | None = None
    ) -> ExecuteResponse:
        """Run source code in the sandbox's language, or a command line such as `python hello.py`.

        One rule decides which of the two it is: `_code_run.is_command`. With `params.argv` it is always code.

        Args:
            code: Program text, or one line whose first word is a program and that is no valid program text.
            params: Arguments and environment.
            timeout: Seconds, as in `exec`.

        Raises:
            DaytonaProcessExecutionTimeoutError: `timeout` was reached; `partial` has the output until then.
        """
        call = _requests.code_run(self._toolbox(), code, self._language, params, timeout)
        return await self._transport.send(call)

    async def run_tests(
        self,
        *paths: str,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> TestReport:
        """Run pytest and judge by what the runner reports out of band (not part of Daytona's API).

        Args:
            paths: Test files or directories in the sandbox; the work directory when none.
            cwd: Directory in the sandbox; the work directory when None.
            env: Added to the sandbox's environment.
            timeout: Seconds. Reaching it is a report without success, not an exception.
        """
        return await self._transport.send(_requests.run_tests(self._toolbox(), paths, cwd, env, timeout))

    def stream(
        self,
        command: str | None = None,
        *,
        argv: Sequence[str] | None = None,
        code: str | None = None,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
        stdin: bytes | None = None,
    ) -> AsyncCommandStream:
        """Run `command` (a shell line), `argv` or `code` and take its output as it comes (not in Daytona's API).

        Iterate over the chunks; afterwards `result` says how it ended. Leaving a `with` block early kills
        the command.

        Raises:
            DaytonaBadRequestError: Not exactly one of command, argv and code.
        """
        call = _requests.stream(
            self._toolbox(),
            timeout,
            command=command,
            argv=None if argv is None else list(argv),
            code=code,
            language=None if code is None else self._language,
            cwd=cwd,
            envs=dict(env) if env else None,
            stdin=stdin,
        )
        return AsyncCommandStream(self._transport, call)


class AsyncCommandStream:
    """A command: its output as an iterator, then its `result`. It starts when the first chunk is asked for."""

    def __init__(self, transport: AsyncTransport, call: _requests.Call[Any]) -> None:
        self._transport = transport
        self._call = call
        self._decoder = FrameDecoder()
        self._waiting: deque[OutputChunk] = deque()
        self._open = contextlib.AsyncExitStack()
        self._pieces: Any = None
        self._result: ExecuteResponse | None = None

    @property
    def result(self) -> ExecuteResponse:
        """How it ended (its output was in the chunks).

        Raises:
            DaytonaError: It has not ended: not all chunks were taken.
        """
        if self._result is None:
            raise DaytonaError("The command has no result yet: take all chunks first.")
        return self._result

    async def __aenter__(self) -> AsyncCommandStream:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End it: a command that still runs is killed."""
        await self._open.aclose()

    def __aiter__(self) -> AsyncCommandStream:
        return self

    async def __anext__(self) -> OutputChunk:
        try:
            while not self._waiting and self._result is None:
                await self._more()
        except BaseException:
            await self.close()
            raise
        if not self._waiting:
            await self.close()
            raise StopAsyncIteration
        return self._waiting.popleft()

    async def _more(self) -> None:
        if self._pieces is None:
            self._pieces = await self._open.enter_async_context(self._transport.stream(self._call))
        piece = await anext(self._pieces, b"")
        if not piece:
            raise DaytonaConnectionError("Failed to stream command: the output ended before its result came.")
        try:
            for kind, payload in self._decoder.feed(piece):
                if kind == CLOSING:
                    self._result = ExecuteResponse.from_wire(json.loads(payload))
                else:
                    self._waiting.append(OutputChunk(STREAMS[kind], payload))
        except (KeyError, TypeError, ValueError) as exc:
            raise DaytonaError(
                f"Failed to stream command: the answer is not what the protocol says: {exc!r}"
            ) from exc
