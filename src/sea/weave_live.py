"""Weave's server, both ways: the calls of a project as records to read, and sea's own spans as calls of a project.

Spoken through `RemoteHTTPTraceServer` of the `weave` package and not through `weave.init`, which asks for a key on the
terminal, patches other libraries and keeps threads of its own. What a call means is told by `sea.formats.weave` alone.
The key comes from WANDB_API_KEY, goes into the client, and into no sentence.
"""

import importlib
import json
import os
import queue
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

KEY = "WANDB_API_KEY"
SINK = "SEA_WEAVE"
"""Names the project, ENTITY/PROJECT, that spans are sent to."""
PAGE = 500
"""Calls asked for at once."""
_TRACES = 50
"""Traces asked for at once, where not all are wanted."""
_FLUSH_S = 10.0
"""How long the end of a run waits for its spans to be sent."""

Record = dict[str, Any]
Say = Callable[[str], None]


class WeaveError(OSError):
    """A project that cannot be read or written; the message is a sentence."""


@dataclass(frozen=True)
class Project:
    """A project of Weave, written `weave://ENTITY/PROJECT`."""

    id: str
    """ENTITY/PROJECT."""

    def __str__(self) -> str:
        return f"weave://{self.id}"

    def check(self) -> None:
        """See that it can be asked for at all: its name, the package, the key.

        Raises:
            WeaveError: One of them is missing.
        """
        _connected(self.id)

    def calls(self, limit: int | None = None) -> Iterator[tuple[str, Record]]:
        """Its calls with where each is from, the oldest first, fetched page by page; with a limit, of so many traces.

        Raises:
            WeaveError: The project cannot be read, or is the one that spans are sent to.
        """
        if sink_project() == self.id:
            raise WeaveError(f"{SINK} sends the calls of sea itself to this project; name another one there")
        server = _connected(self.id)
        with _sentences(server.trace_server_url):
            for chosen in self._chosen(server, limit):
                for record in _pages(server, self.id, chosen):
                    yield f"{self}#{record.get('id')}", record

    def newest(self) -> tuple[int, int]:
        """When its latest call began and when one last ended, in microseconds since 1970; 0 where there is none.

        Raises:
            WeaveError: The project cannot be read.
        """
        server = _connected(self.id)
        with _sentences(server.trace_server_url):
            began, ended = (_latest(server, self.id, key) for key in ("started_at", "ended_at"))
        return began, ended

    def _chosen(self, server: Any, limit: int | None) -> Iterator[Record]:
        """Filters that together give the calls of the first `limit` traces; those of all calls without one."""
        if limit is None:
            yield {}
            return
        roots = _pages(server, self.id, {"trace_roots_only": True}, min(limit, PAGE))
        traces = [root["trace_id"] for root in islice(roots, limit)]
        for start in range(0, len(traces), _TRACES):
            yield {"trace_ids": traces[start : start + _TRACES]}


def project_of(given: object) -> Project | None:
    """The project that a path names; None for a path of a file. `Path` makes one slash of two, so one will do."""
    found = re.fullmatch(r"weave:/+(.*?)/*", str(given))
    return Project(found[1]) if found else None


def sink_project() -> str | None:
    """The project that spans are sent to, where the environment names one."""
    return os.environ.get(SINK, "").strip().removeprefix("weave://").strip("/") or None


def _connected(project: str) -> Any:
    """The package's client for the server that the package's own settings name, WF_TRACE_SERVER_URL before others."""
    if not re.fullmatch(r"[^/\s]+/[^/\s]+", project):
        raise WeaveError(f"{project!r} names no project; write ENTITY/PROJECT")
    key = os.environ.get(KEY, "").strip()
    if not key:
        raise WeaveError(f"{KEY} is not set; put the key of your account there")
    # Importing the package would else open a session with a service that collects errors, and tell it of the end.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    try:
        bindings = importlib.import_module("weave.trace_server_bindings.remote_http_trace_server")
        settings = importlib.import_module("weave.trace.env")
    except ImportError as error:
        raise WeaveError(f"the weave package is missing ({error}); pip install 'tidepool[weave]'") from None
    url = settings.weave_trace_server_url()
    with _sentences(url):
        return bindings.RemoteHTTPTraceServer(url, password=key)


@contextmanager
def _sentences(url: str) -> Iterator[None]:
    """Whatever the client raises becomes a sentence; what the server wrote is left out of it, it may repeat the key."""
    http, sdk = importlib.import_module("httpx"), importlib.import_module("weave.vendor.weave_server_sdk")
    where = _without_login(url)
    try:
        yield
    except sdk.APIStatusError as error:
        raise WeaveError(_refusal(where, error.status_code)) from None
    except (sdk.APIConnectionError, http.HTTPError, http.InvalidURL) as error:
        why = error.__cause__ or error
        raise WeaveError(f"{where} cannot be reached: {type(why).__name__}: {why}") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise WeaveError(f"{where} answers with what are no calls ({type(error).__name__})") from None


def _refusal(where: str, status: int) -> str:
    if status in (401, 403):
        return f"{where} does not accept the key in {KEY} for this project (status {status})"
    if status == 404:
        return f"{where} has no such project, or is no Weave server (status 404)"
    return f"{where} answered with status {status}; try again later"


def _without_login(url: str) -> str:
    return url.replace(urlsplit(url).netloc, urlsplit(url).netloc.rpartition("@")[2], 1)


def _pages(server: Any, project: str, chosen: Record, size: int = PAGE) -> Iterator[Record]:
    """The calls that a filter leaves, the oldest first."""
    seen: set[str | None] = {None}
    offset = 0
    while True:
        asked = {"project_id": project, "filter": chosen, "limit": size, "offset": offset}
        page = [_record(call) for call in server.calls_query_stream(asked | {"sort_by": _BY_AGE})]
        ids = [record.get("id") for record in page]
        # A page may begin with what the last one ended with; a record without an id is for its reader to name.
        yield from (record for record, key in zip(page, ids, strict=True) if key is None or key not in seen)
        if len(page) < size:
            return
        if seen.issuperset(ids):
            raise ValueError("a full page without a call that is new: there is no end to that")
        seen.update(ids)
        offset += len(page)


_BY_AGE = [{"field": "started_at", "direction": "asc"}, {"field": "id", "direction": "asc"}]


def _latest(server: Any, project: str, key: str) -> int:
    order = [{"field": key, "direction": "desc"}]
    for call in server.calls_query_stream({"project_id": project, "limit": 1, "sort_by": order}):
        at = getattr(call, key)
        return int(at.timestamp() * 1e6) if at is not None else 0
    return 0


def _record(call: Any) -> Record:
    """What the server sent, times as texts of one length, so that their order is that of the times."""
    sent = {key: value for key, value in call if key in call.model_fields_set}
    return {key: _time(value) if isinstance(value, datetime) else value for key, value in sent.items()}


def _time(at: datetime) -> str:
    aware = at if at.tzinfo else at.replace(tzinfo=UTC)
    return aware.astimezone(UTC).isoformat(timespec="microseconds")


class Sink:
    """Sends ended spans to a project from a thread of its own; what fails is said once, and then nothing is sent."""

    def __init__(self, project: str, say: Say) -> None:
        self._project, self._say = project, say
        self._waiting: queue.SimpleQueue[Record | None] = queue.SimpleQueue()
        self._given_up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="weave-sink", daemon=True)
        self._thread.start()

    def take(self, record: Record) -> None:
        """Send the record of a span that has ended; returns at once."""
        self._waiting.put(record)

    def close(self) -> None:
        """Wait until all was sent, up to ten seconds."""
        self._waiting.put(None)
        self._thread.join(_FLUSH_S)
        if self._thread.is_alive():
            self._given_up.set()
            self._say(f"weave://{self._project}: some spans were not sent: no answer in {_FLUSH_S:.0f} s")

    def _run(self) -> None:
        try:
            server = _connected(self._project)
            # The generated client below tries thrice by itself; trying that thrice again would only hold up the end.
            settings = importlib.import_module("weave.trace.settings")
            with settings.override_settings(retry_max_attempts=1), _sentences(server.trace_server_url):
                while batch := self._batch():
                    server.calls_complete({"batch": [_call(self._project, record) for record in batch]})
        except WeaveError as error:
            if not self._given_up.is_set():
                self._say(f"weave://{self._project}: spans are not sent: {error}")

    def _batch(self) -> list[Record]:
        """All that waits, at least one; empty at the end."""
        batch = [self._waiting.get()]
        while batch[-1] is not None and not self._waiting.empty():
            batch.append(self._waiting.get())
        if batch[-1] is None:
            self._waiting.put(None)  # for the next time
        return [record for record in batch if record is not None]


def _call(project: str, record: Record) -> Record:
    """A span as a call that has ended."""
    trace, parent = record["trace"], record["parent"]
    return {
        "project_id": project,
        "id": _id(record["id"]),
        "trace_id": _id(trace),
        "parent_id": None if parent is None else _id(parent),
        "op_name": record["span"],
        "started_at": _time(datetime.fromtimestamp(record["started"], UTC)),
        "ended_at": _time(datetime.fromtimestamp(record["started"] + record["seconds"], UTC)),
        "attributes": json.loads(json.dumps(record["attributes"], default=str)),
        "inputs": {},
        "output": None,
        "summary": {},
        "exception": record["error"],
    }


def _id(span: str) -> str:
    """Weave's ids are UUIDs; a span's is always the same one, so that children can name parents yet to end."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, span))
