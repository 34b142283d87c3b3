"""COPY and ADD: files out of a context into a build sandbox, through the sandbox's own file operations.

Where something lands is decided here (`placed`, pure); every path is then opened inside by the sandbox's init, so a
link that a Dockerfile made leads nowhere but inside.
"""

import asyncio
import posixpath
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from tidepool.engine import Command, Sandbox
from tidepool.engine.errors import NotFound
from tidepool.images.contexts import Entry, Tree
from tidepool.images.errors import BuildFailed
from tidepool.images.plan import Action

_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_TIMEOUT_S = 600.0
_SMALL_BYTES = 1 << 16
_AT_ONCE = 16


@dataclass(frozen=True)
class Placed:
    """One entry and where it is to stand."""

    path: str
    entry: Entry


def placed(tree: Tree, sources: Sequence[Entry], destination: str, is_directory: bool) -> list[Placed]:
    """Where the sources of one COPY land, parents first: a directory gives its content, a file itself.

    Args:
        tree: Knows what is below a directory.
        sources: What the patterns matched.
        destination: Absolute.
        is_directory: Whether it is (or is to be) a directory.
    """
    found: list[Placed] = []
    target = destination.rstrip("/") or "/"
    for source in sources:
        if source.kind != "directory":
            name = posixpath.basename(source.name)
            found.append(Placed(posixpath.join(target, name) if is_directory else target, source))
            continue
        start = len(source.name) + 1 if source.name else 0
        found.append(Placed(target, Entry(target, "directory")))
        found += [Placed(posixpath.join(target, one.name[start:]), one) for one in tree.below(source)]
    return found


async def copy(sandbox: Sandbox, action: Action, tree: Tree, sources: Sequence[Entry]) -> int:
    """Do one COPY or ADD; returns how many files were written.

    Raises:
        BuildFailed: The destination would be one file for several, or an archive cannot be unpacked.
        TidepoolError: As the sandbox's file operations.
    """
    total = len(sources) + len(action.files)
    is_directory = action.destination.endswith("/") or await _is_directory(sandbox, action.destination)
    if total > 1 and not is_directory:
        raise BuildFailed(f"line {action.step.line}: several files cannot be copied to {action.destination}")
    archives = [one for one in sources if action.step.keyword == "ADD" and one.name.endswith(_ARCHIVES)]
    plain = [one for one in sources if one not in archives]
    writer = _Writer(sandbox, action)
    for one in placed(tree, plain, action.destination, is_directory):
        await writer.put(one)
    await writer.flush()
    for packed in archives:
        await _unpack(sandbox, packed, action)
    for name, body in action.files:
        path = posixpath.join(action.destination, name) if is_directory else action.destination
        await writer.write(path, body.encode(), 0o644)
    return writer.count + len(archives)


async def _is_directory(sandbox: Sandbox, path: str) -> bool:
    try:
        return (await sandbox.files.info(path)).is_dir
    except NotFound:
        return False


class _Writer:
    def __init__(self, sandbox: Sandbox, action: Action) -> None:
        self._sandbox = sandbox
        self._files = sandbox.files
        self._mode = action.mode
        owner, _, group = action.owner.partition(":")
        self._owner, self._group = owner or "0", group or owner or "0"
        self._small: list[tuple[str, bytes, int]] = []
        self.count = 0

    async def put(self, one: Placed) -> None:
        """Make what it says."""
        if one.entry.kind == "directory":
            await self._directory(one.path, one.entry.mode)
        elif one.entry.kind == "link":
            await self._link(one.path, one.entry.link)
        elif one.entry.size > _SMALL_BYTES:
            await self.write(one.path, _pieces(one.entry), one.entry.mode)
        else:
            self._small.append((one.path, b"".join(one.entry.chunks()), one.entry.mode))
            if len(self._small) >= _AT_ONCE:
                await self.flush()

    async def flush(self) -> None:
        """Write the small files that wait, at the same time: most of what each takes is waiting for the sandbox."""
        waiting, self._small = self._small, []
        await asyncio.gather(*(self.write(*one) for one in waiting))

    async def write(self, path: str, data: bytes | AsyncIterator[bytes], mode: int) -> None:
        """A file with its owner and mode."""
        await self._files.write(path, data)
        wanted = self._mode if self._mode is not None else mode
        await self._files.set_permissions(path, wanted, self._owner, self._group)
        self.count += 1

    async def _directory(self, path: str, mode: int) -> None:
        if await _is_directory(self._sandbox, path):
            return  # as it is: COPY adds to a directory and does not change it
        await self._files.make_folder(path, mode)
        await self._files.set_permissions(path, mode, self._owner, self._group)

    async def _link(self, path: str, target: str) -> None:
        await self._files.make_folder(posixpath.dirname(path))
        result = await self._sandbox.exec(
            Command(argv=("ln", "-sfn", "--", target, path), timeout_s=_TIMEOUT_S)
        )
        if not result.succeeded:
            raise BuildFailed(
                f"the link {path} cannot be made: {result.output[-500:].decode(errors='replace')}"
            )
        self.count += 1


async def _unpack(sandbox: Sandbox, entry: Entry, action: Action) -> None:
    """ADD of a local archive: unpacked inside, by the image's own tar."""
    place = f"/tmp/.add-{posixpath.basename(entry.name)}"
    await sandbox.files.write(place, _pieces(entry))
    await sandbox.files.make_folder(action.destination)
    argv = ("tar", "-x", "-f", place, "-C", action.destination)
    result = await sandbox.exec(Command(argv=argv, timeout_s=_TIMEOUT_S))
    await sandbox.files.delete(place)
    if not result.succeeded:
        why = result.output[-500:].decode(errors="replace")
        raise BuildFailed(f"line {action.step.line}: {entry.name} cannot be unpacked: {why}")


async def _pieces(entry: Entry) -> AsyncIterator[bytes]:
    pieces = entry.chunks()
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        yield piece
