"""Build contexts: files for COPY, kept in tars that a client has uploaded and that are never unpacked on this host.

`Tree` knows what its tars hold and gives content out member by member. Names are confined: what climbs out of the
context or is no file, directory or link is refused when the tar is opened.
"""

import contextlib
import hashlib
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from tidepool.images.errors import BadImage
from tidepool.images.layers import safe_parts

MAX_MEMBERS = 100_000
MAX_BYTES = 4 << 30
_CHUNK = 1 << 18


@dataclass(frozen=True)
class Entry:
    """One file, directory or link below the context; the root has an empty name."""

    name: str
    kind: str
    """`file`, `directory` or `link`."""
    mode: int = 0o755
    size: int = 0
    link: str = ""
    _tar: "tarfile.TarFile | None" = field(default=None, repr=False, compare=False)
    _member: "tarfile.TarInfo | None" = field(default=None, repr=False, compare=False)

    def chunks(self) -> Iterator[bytes]:
        """The content of a file.

        Raises:
            BadImage: The tar is damaged.
        """
        assert self._tar is not None
        assert self._member is not None
        with _readable(self.name):
            source = self._tar.extractfile(self._member)
            assert source is not None
            left = self.size
            while left:
                data = source.read(min(_CHUNK, left))
                if not data:
                    raise BadImage(f"{ascii(self.name)[:200]} in the context is cut short")
                left -= len(data)
                yield data


class Tree:
    """What several tars hold together; of a name that comes twice the last counts.

    Args:
        paths: Plain or compressed tars.

    Raises:
        BadImage: One is damaged, too large, or has a name that is not safe.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._stack = contextlib.ExitStack()
        self._entries: dict[str, Entry] = {"": Entry("", "directory")}
        try:
            for path in paths:
                self._add(path)
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> "Tree":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def match(self, pattern: str) -> list[Entry]:
        """What a source of COPY names: `*`, `?` and `[...]` match within one part, a directory is itself.

        Raises:
            BadImage: The pattern climbs out of the context.
        """
        parts = safe_parts(pattern)
        if not any(character in pattern for character in "*?["):
            found = self._entries.get("/".join(parts))
            return [found] if found is not None else []
        wanted = re.compile("/".join(_part(part) for part in parts) + r"\Z", re.DOTALL)
        return [entry for name, entry in sorted(self._entries.items()) if name and wanted.match(name)]

    def below(self, directory: Entry) -> list[Entry]:
        """Everything in a directory, parents first."""
        prefix = f"{directory.name}/" if directory.name else ""
        return [
            e
            for name, e in sorted(self._entries.items())
            if name.startswith(prefix) and name != directory.name
        ]

    def digest(self, entries: Sequence[Entry]) -> str:
        """Of names, modes and contents of these and of what is below them."""
        found = hashlib.sha256()
        for one in entries:
            for entry in [one, *(self.below(one) if one.kind == "directory" else ())]:
                found.update(
                    f"{entry.kind} {entry.mode} {len(entry.name)} {entry.name} {entry.link}\n".encode()
                )
                if entry.kind == "file":
                    found.update(f"{entry.size}\n".encode())
                    for chunk in entry.chunks():
                        found.update(chunk)
        return found.hexdigest()

    def _add(self, path: Path) -> None:
        total = 0
        with _readable(path.name):
            tar = self._stack.enter_context(tarfile.open(path, "r:*", errorlevel=2))  # noqa: SIM115 (kept open)
            for member in tar:
                total += max(member.size, 0)
                if len(self._entries) >= MAX_MEMBERS or total > MAX_BYTES:
                    raise BadImage(f"the context has more than {MAX_MEMBERS} files or {MAX_BYTES} bytes")
                self._take(tar, member)

    def _take(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        parts = safe_parts(member.name)
        name, mode = "/".join(parts), member.mode & 0o1777
        for end in range(1, len(parts)):
            parent = "/".join(parts[:end])
            if self._entries.setdefault(parent, Entry(parent, "directory")).kind != "directory":
                raise BadImage(f"{ascii(parent)[:200]} in the context is a file and a directory")
        if member.isdir():
            self._entries[name] = Entry(name, "directory", mode or 0o755)
        elif member.issym():
            self._entries[name] = Entry(name, "link", link=member.linkname)
        elif member.isreg() or member.islnk():
            size = (
                self._entries["/".join(safe_parts(member.linkname))].size if member.islnk() else member.size
            )
            self._entries[name] = Entry(name, "file", mode, size, "", tar, member)
        else:
            raise BadImage(f"{ascii(name)[:200]} in the context is neither a file nor a directory nor a link")


def _part(pattern: str) -> str:
    """One part of a pattern as an expression that never crosses a slash."""
    found = ""
    at = 0
    while at < len(pattern):
        character = pattern[at]
        end = pattern.find("]", at + 2) if character == "[" else -1
        if character in "*?":
            found += "[^/]*" if character == "*" else "[^/]"
        elif end > 0:
            inside = pattern[at + 1 : end].replace("\\", "\\\\").replace("[", "\\[").replace("/", "")
            found += f"[^/{inside[1:]}]" if inside[:1] in ("^", "!") else f"[{inside}]"
            at = end
        else:
            found += re.escape(character)
        at += 1
    return found


@contextlib.contextmanager
def _readable(name: str) -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, EOFError, UnicodeError, KeyError, re.error, OSError) as error:
        raise BadImage(f"{ascii(name)[:200]} in the context cannot be read: {error}") from None
