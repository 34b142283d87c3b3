"""Files of a sandbox. Paths are absolute or relative to its work directory, and are opened inside it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import overload

from daytona_sdk import _requests, _rim
from daytona_sdk._async.transport import AsyncTransport
from daytona_sdk.common.errors import DaytonaConnectionError, DaytonaError
from daytona_sdk.common.params import FileDownloadRequest, FileUpload
from daytona_sdk.common.results import FileDownloadResponse, FileInfo


class AsyncFileSystem:
    """`sandbox.fs`."""

    def __init__(self, transport: AsyncTransport, toolbox: Callable[[], str]) -> None:
        self._transport = transport
        self._toolbox = toolbox

    async def upload_file(
        self,
        src: bytes | str | os.PathLike[str],
        dst: str,
        timeout: float = _requests.FILE_TIMEOUT,
    ) -> None:
        """Write one file: parents are made, an existing file is replaced.

        Args:
            src: The content as bytes, or the path of a local file.
            dst: Path in the sandbox.
            timeout: Seconds without progress; 0: no limit.

        Raises:
            OSError: The local file cannot be read; nothing was sent.
            DaytonaBadRequestError: The path cannot be written.
        """
        await self.upload_files([FileUpload(src, dst)], timeout)

    async def upload_files(
        self, files: Sequence[FileUpload], timeout: float = _requests.FILE_TIMEOUT
    ) -> None:
        """Write several files in one request.

        Raises:
            OSError: A local file cannot be read; nothing was sent.
            DaytonaBadRequestError: A path cannot be written; the message names it, the other files are there.
        """
        if not files:
            return
        for file in files:
            if not isinstance(file.source, bytes):
                await _rim.async_call(_rim.check_file, file.source)
        boundary = os.urandom(16).hex()
        await self._transport.send(_requests.upload(self._toolbox(), files, boundary, timeout))

    @overload
    async def download_file(
        self, remote_path: str, local_path: float | None = None, timeout: float = ...
    ) -> bytes: ...

    @overload
    async def download_file(
        self, remote_path: str, local_path: str | os.PathLike[str], timeout: float = ...
    ) -> None: ...

    async def download_file(
        self,
        remote_path: str,
        local_path: str | os.PathLike[str] | float | None = None,
        timeout: float = _requests.FILE_TIMEOUT,
    ) -> bytes | None:
        """Read one file: into memory, or into a local file, which appears only when complete.

        Args:
            remote_path: Path in the sandbox.
            local_path: Where to write it. A number here is the timeout, as in the official client.
            timeout: Seconds without progress; 0: no limit.

        Raises:
            DaytonaFileNotFoundError: It does not exist.
            OSError: The local file cannot be written.
        """
        if isinstance(local_path, (int, float)):
            return await self.download_file(remote_path, None, local_path)
        call = _requests.download(self._toolbox(), remote_path, timeout)
        if local_path is None:
            return await self._transport.send(call)
        await self._transport.save(call, local_path)
        return None

    async def download_files(
        self, files: Sequence[FileDownloadRequest], timeout: float = _requests.FILE_TIMEOUT
    ) -> list[FileDownloadResponse]:
        """Read several files, one after the other; one that fails has `error` set, the others are read.

        Raises:
            DaytonaConnectionError: The server is gone.
            OSError: A local file cannot be written.
        """
        return [await self._download(file, timeout) for file in files]

    async def _download(self, file: FileDownloadRequest, timeout: float) -> FileDownloadResponse:
        try:
            content = await self.download_file(file.source, file.destination, timeout)
        except DaytonaConnectionError:
            raise
        except DaytonaError as exc:
            return FileDownloadResponse(file.source, error=exc.message)
        return FileDownloadResponse(file.source, file.destination if content is None else content)

    async def list_files(self, path: str = ".") -> list[FileInfo]:
        """The entries of a directory."""
        return await self._transport.send(_requests.list_files(self._toolbox(), path))

    async def get_file_info(self, path: str) -> FileInfo:
        """One entry.

        Raises:
            DaytonaFileNotFoundError: It does not exist.
        """
        return await self._transport.send(_requests.file_info(self._toolbox(), path))

    async def create_folder(self, path: str, mode: str = "755") -> None:
        """Make a directory and its parents; `mode` is octal text."""
        await self._transport.send(_requests.create_folder(self._toolbox(), path, mode))

    async def delete_file(self, path: str, recursive: bool = False) -> None:
        """Remove a file, or a directory with `recursive=True`."""
        await self._transport.send(_requests.delete_file(self._toolbox(), path, recursive))

    async def move_files(self, source: str, destination: str) -> None:
        """Rename or move.

        Raises:
            DaytonaConflictError: The destination exists.
        """
        await self._transport.send(_requests.move_files(self._toolbox(), source, destination))

    async def set_file_permissions(
        self, path: str, mode: str | None = None, owner: str | None = None, group: str | None = None
    ) -> None:
        """Change mode (octal text), owner or group; None leaves it."""
        await self._transport.send(_requests.set_file_permissions(self._toolbox(), path, mode, owner, group))
