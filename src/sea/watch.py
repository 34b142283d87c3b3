"""Evolving again as traces come: files are looked at now and then; when one is new or has changed, a round is made.

What was found out about a program is kept in an index beside the tools, so that a round takes apart only programs that
are new. The library after a round is the one that all traces together give, whatever rounds there were before.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from sea.corpus import Corpus
from sea.ingest import BadInput, files_of, read_traces
from sea.trace import Intake
from sea.weave_live import Project, WeaveError, project_of

INDEX = "programs.sqlite"
"""In the library's directory."""

Stamps = tuple[tuple[str, int, int], ...]
Say = Callable[[str], None]


def stamps(paths: Sequence[str | Path]) -> Stamps:
    """Name, size and time of change (ns) of every file of traces that there is now; files that are missing are not.

    A project of Weave has the times of its newest call's begin and of the last end in their place.
    """
    found = []
    for path in paths:
        try:
            for file in files_of([path]):
                found.append(_stamp(file))
        except (BadInput, OSError):
            continue  # not there yet, or gone since it was listed
    return tuple(found)


def _stamp(file: Path | Project) -> tuple[str, int, int]:
    if isinstance(file, Path):
        status = file.stat()
        return str(file), status.st_size, status.st_mtime_ns
    try:
        return str(file), *file.newest()
    except WeaveError as error:
        return str(file), -1, hash(str(error))  # so that it is read, which says why, once


def intakes(paths: Sequence[str | Path], every_s: float, say: Say) -> Iterator[Intake]:
    """The traces of all files, each time that one is new or has changed; never ends by itself.

    A file is read when it has stayed as it was for one look: whoever writes it has then made a pause. What cannot be
    read is said, and looked at again when it changes.

    Raises:
        BadInput: A project of Weave is named, and the package or the key for it is missing.
    """
    for project in filter(None, map(project_of, paths)):
        try:
            project.check()
        except WeaveError as error:
            raise BadInput(f"{project}: cannot be read: {error}") from None
    read: Stamps = ()
    before = stamps(paths)
    while True:
        now = stamps(paths)
        if now and now == before and now != read:
            read = now
            try:
                yield read_traces([name for name, _, _ in now])
            except BadInput as error:
                say(str(error))
        before = now
        time.sleep(every_s)


def index_of(library: Path) -> Corpus:
    """What is known of the programs that earlier rounds have seen, for this library; made when it is not there.

    Raises:
        BadCorpus: The index is no index; the message says what to do.
    """
    library.mkdir(parents=True, exist_ok=True)
    return Corpus(library / INDEX)
