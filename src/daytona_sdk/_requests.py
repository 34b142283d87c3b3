"""Arguments to requests, answers to values or errors. Pure: nothing here connects, waits or reads a file.

Both clients send what this room builds and return what it reads: the wire is decided here, once.
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode

from daytona_sdk._code_run import is_command
from daytona_sdk.common.errors import DaytonaBadRequestError, DaytonaError, DaytonaTimeoutError, error_class
from daytona_sdk.common.params import CodeRunParams, CreateSandboxFromSnapshotParams, FileUpload
from daytona_sdk.common.results import ExecuteResponse, FileInfo, TestReport
from daytona_sdk.common.sandbox import LANGUAGE_LABEL
from tidepool import __version__
from tidepool.wire import paths

T = TypeVar("T")
BodyPart = bytes | os.PathLike[str]
"""Bytes, or a local file whose content is sent in their place."""

WIRE_VERSION = "0.226.1"
"""The generation of the official client whose formats are spoken: servers choose theirs by it."""
FILE_TIMEOUT = 30 * 60
"""Seconds without progress in an upload or download."""
GRACE = 5
"""Seconds the server has, beyond a run's own timeout, to kill and to answer."""
LIST_PAGE = 100
_JSON = (b"Content-Type", b"application/json")


@dataclass(frozen=True)
class Answer:
    """One whole HTTP answer."""

    status: int
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def succeeded(self) -> bool:
        """Whether the server did what it was asked."""
        return 200 <= self.status < 300

    def json(self) -> Any:
        """The body as JSON.

        Raises:
            ValueError: It is none.
        """
        return json.loads(self.body)


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request, and how its answer is read."""

    what: str
    """Completes the sentence "Failed to …"."""
    method: str
    url: str
    read: Callable[[Answer], T]
    """Raises KeyError, TypeError or ValueError for an answer that the protocol does not know."""
    body: tuple[BodyPart, ...] = ()
    headers: tuple[tuple[bytes, bytes], ...] = ()
    timeout: float | None = 60
    """Seconds without progress; None: no limit."""
    safe: bool = False
    """Whether sending it twice does the same as once."""

    def value(self, answer: Answer) -> T:
        """The answer's value.

        Raises:
            DaytonaError: The server refused, or said what the protocol does not know.
        """
        if not answer.succeeded:
            raise error(self.what, answer)
        try:
            return self.read(answer)
        except (KeyError, TypeError, ValueError) as exc:
            raise DaytonaError(
                f"Failed to {self.what}: the answer to {self.method} {self.url} is not what the protocol "
                f"says: {exc!r}",
                status_code=answer.status,
                headers=answer.headers,
            ) from exc


def common_headers(token: str | None) -> tuple[tuple[bytes, bytes], ...]:
    """Headers of every request."""
    headers = [
        (b"User-Agent", f"tidepool-sdk-python/{__version__}".encode()),
        (b"X-Daytona-Source", b"sdk-python"),
        (b"X-Daytona-SDK-Version", WIRE_VERSION.encode()),
    ]
    if token is not None:
        headers.append((b"Authorization", f"Bearer {token}".encode()))
    return tuple(headers)


def error(what: str, answer: Answer) -> DaytonaError:
    """The exception for an answer that is not a success: class by the table, message from the server."""
    data = _error_body(answer)
    text = data.get("message") or data.get("error") or answer.body.decode("utf-8", "replace").strip()
    message = f"Failed to {what}: {_sentence(text) or f'the server answered {answer.status} without a word'}"
    code, source = data.get("code") or data.get("error_code"), data.get("source")
    found = error_class(answer.status, code, source)(message, answer.status, answer.headers, code, source)
    if isinstance(found, DaytonaTimeoutError) and isinstance(data.get("partial"), dict):
        found.partial = ExecuteResponse.from_wire(data["partial"])
    return found


def _error_body(answer: Answer) -> dict[str, Any]:
    try:
        data = answer.json()
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}


def _sentence(text: object) -> str:
    return "; ".join(map(str, text)) if isinstance(text, list) else str(text)


# Sandboxes


def create_sandbox(
    api: str, params: CreateSandboxFromSnapshotParams, target: str | None, timeout: float
) -> Call[Any]:
    """`POST /sandbox`; the value is the sandbox as the server describes it."""
    return Call(
        "create sandbox",
        "POST",
        api + paths.SANDBOXES,
        Answer.json,
        body=_dump(_create_body(params, target)),
        headers=(_JSON,),
        timeout=timeout or None,
    )


def _create_body(params: CreateSandboxFromSnapshotParams, target: str | None) -> dict[str, Any]:
    if params.network_block_all and params.network not in (None, "none"):
        raise DaytonaBadRequestError(
            f"network_block_all=True and network={params.network!r} contradict each other; give one of them"
        )
    size = params.resources
    ours = {
        "dependencies": list(params.dependencies) or None,
        "network": params.network,
        "memoryBytes": params.memory_bytes,
        "diskBytes": params.disk_bytes,
        "pids": params.pids,
        "cpu": params.cpu,
        "isolation": params.isolation,
    }
    return _given(
        env=dict(params.env_vars or {}),
        labels={LANGUAGE_LABEL: params.language, **(params.labels or {})},
        volumes=[],
        name=params.name,
        user=params.os_user,
        snapshot=params.snapshot,
        networkBlockAll=params.network_block_all,
        autoStopInterval=params.auto_stop_interval,
        autoDeleteInterval=0 if params.ephemeral else None,
        ttlMinutes=params.ttl_minutes,
        target=target,
        cpu=size and size.cpu,
        memory=size and size.memory,
        disk=size and size.disk,
        tidepool=_given(**ours) or None,
    )


def get_sandbox(api: str, ref: str) -> Call[Any]:
    """`GET /sandbox/{id or name}`."""
    return Call("get sandbox", "GET", _of(api, paths.SANDBOX, ref), Answer.json, safe=True)


def delete_sandbox(api: str, ref: str, timeout: float) -> Call[Any]:
    """`DELETE /sandbox/{id}`; the value is the sandbox in its last state."""
    url = _of(api, paths.SANDBOX, ref)
    return Call("delete sandbox", "DELETE", url, Answer.json, timeout=timeout or None)


def change_sandbox(api: str, ref: str, verb: str, timeout: float) -> Call[Any]:
    """`POST /sandbox/{id}/{start|stop|archive}`; the value describes it afterwards."""
    template = {"start": paths.START, "stop": paths.STOP, "archive": paths.ARCHIVE}[verb]
    return Call(f"{verb} sandbox", "POST", _of(api, template, ref), Answer.json, timeout=timeout or None)


def list_sandboxes(api: str, labels: Mapping[str, str] | None, cursor: str | None) -> Call[Any]:
    """`GET /sandbox`, one page; the value has `items` and `nextCursor`."""
    query = _given(limit=LIST_PAGE, labels=json.dumps(dict(labels)) if labels else None, cursor=cursor)
    return Call("list sandboxes", "GET", _with_query(api + paths.SANDBOXES, query), Answer.json, safe=True)


def set_labels(api: str, ref: str, labels: Mapping[str, str]) -> Call[dict[str, str]]:
    """`PUT /sandbox/{id}/labels`: replaces all labels; the value is what they are now."""
    return Call(
        "set labels",
        "PUT",
        _of(api, paths.LABELS, ref),
        lambda answer: dict(answer.json()["labels"]),
        body=_dump({"labels": dict(labels)}),
        headers=(_JSON,),
        safe=True,
    )


def logs(api: str, ref: str) -> Call[bytes]:
    """`GET /sandbox/{id}/logs` (ours)."""
    return Call("get logs", "GET", _of(api, paths.LOGS, ref), lambda answer: answer.body, safe=True)


def toolbox(api: str, sandbox_id: str, named: str) -> str:
    """Base of a sandbox's own API: what the server named, else where the oldest clients look."""
    return named or _of(api, paths.OLD_TOOLBOX_ONE, sandbox_id)


def home_dir(base: str) -> Call[str]:
    """`GET /user-home-dir`."""
    return Call("get home directory", "GET", base + paths.HOME_DIR, _dir, safe=True)


def work_dir(base: str) -> Call[str]:
    """`GET /work-dir`."""
    return Call("get work directory", "GET", base + paths.WORK_DIR, _dir, safe=True)


def _dir(answer: Answer) -> str:
    return str(answer.json()["dir"])


# Process


def execute(
    base: str, command: str, cwd: str | None, env: Mapping[str, str] | None, timeout: float | None
) -> Call[ExecuteResponse]:
    """`POST /process/execute`."""
    return _run(
        "execute command", base + paths.EXECUTE, timeout, command=command, cwd=cwd, envs=_mapping(env)
    )


def code_run(
    base: str, code: str, language: str, params: CodeRunParams | None, timeout: float | None
) -> Call[ExecuteResponse]:
    """`POST /process/code-run`, or `execute` for a command line: see `_code_run.is_command`.

    A text that comes with arguments is code: a command line carries its own.
    """
    given = params or CodeRunParams()
    if not given.argv and is_command(code, language):
        return execute(base, code.strip(), None, given.env, timeout)
    return _run(
        "run code",
        base + paths.CODE_RUN,
        timeout,
        code=code,
        language=language,
        argv=list(given.argv) if given.argv else None,
        envs=_mapping(given.env),
    )


def _run(what: str, url: str, timeout: float | None, **fields: Any) -> Call[ExecuteResponse]:
    limit, wait = _deadline(timeout)
    body = _dump(_given(**fields, timeout=limit))
    return Call(
        what,
        "POST",
        url,
        lambda answer: ExecuteResponse.from_wire(answer.json()),
        body=body,
        headers=(_JSON,),
        timeout=wait,
    )


def run_tests(
    base: str, targets: Sequence[str], cwd: str | None, env: Mapping[str, str] | None, timeout: float | None
) -> Call[TestReport]:
    """`POST /process/tests` (ours)."""
    limit, wait = _deadline(timeout)
    return Call(
        "run tests",
        "POST",
        base + paths.TESTS,
        lambda answer: TestReport.from_wire(answer.json()),
        body=_dump(_given(paths=list(targets), cwd=cwd, envs=_mapping(env), timeout=limit)),
        headers=(_JSON,),
        timeout=wait,
    )


def stream(base: str, timeout: float | None, **fields: Any) -> Call[bytes]:
    """`POST /process/stream` (ours); the answer is a stream of frames, see `_frames`.

    Args:
        base: The sandbox's toolbox.
        timeout: Seconds the run may take.
        fields: Exactly one of command, argv and code (with language), and cwd, envs, stdin; None is left out.
    """
    given = [name for name in ("command", "argv", "code") if fields.get(name) is not None]
    if len(given) != 1:
        raise DaytonaBadRequestError(
            f"stream takes exactly one of command, argv and code; given: {given or 'none'}"
        )
    if (stdin := fields.get("stdin")) is not None:
        from base64 import b64encode  # only here, and rarely needed

        fields["stdin"] = b64encode(stdin).decode()
    limit, wait = _deadline(timeout)
    body = _dump(_given(**fields, timeout=limit))
    return Call(
        "stream command",
        "POST",
        base + paths.STREAM,
        lambda answer: answer.body,
        body=body,
        headers=(_JSON,),
        timeout=wait,
    )


def _deadline(timeout: float | None) -> tuple[float | None, float | None]:
    """What the server is told and how long we wait; 0 means no limit, as in the official client."""
    if not timeout:
        return None, None
    return (int(timeout) if timeout == int(timeout) else timeout), timeout + GRACE


# Files


def upload(base: str, files: Sequence[FileUpload], boundary: str, timeout: float) -> Call[None]:
    """`POST /files/bulk-upload`: local files are read while they are sent.

    Args:
        base: The sandbox's toolbox.
        files: What goes where.
        boundary: Random, so that no content can contain it.
        timeout: Seconds without progress.
    """
    return Call(
        "upload files" if len(files) != 1 else "upload file",
        "POST",
        base + paths.BULK_UPLOAD,
        lambda answer: None,
        body=tuple(_parts(files, boundary)),
        headers=((b"Content-Type", f"multipart/form-data; boundary={boundary}".encode()),),
        timeout=timeout or None,
        safe=True,
    )


def _parts(files: Sequence[FileUpload], boundary: str) -> Iterable[BodyPart]:
    for i, file in enumerate(files):
        source = file.source if isinstance(file.source, bytes) else _LocalPath(os.fspath(file.source))
        name = _header_text(file.destination)
        yield (
            f'--{boundary}\r\nContent-Disposition: form-data; name="files[{i}].path"\r\n\r\n'
            f"{file.destination}\r\n"
            f'--{boundary}\r\nContent-Disposition: form-data; name="files[{i}].file"; filename="{name}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode()
        yield source
        yield b"\r\n"
    yield f"--{boundary}--\r\n".encode()


@dataclass(frozen=True)
class _LocalPath:
    path: str

    def __fspath__(self) -> str:
        return self.path


def _header_text(text: str) -> str:
    """Quotes and line ends as browsers write them, so that no path can end the header."""
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def download(base: str, path: str, timeout: float) -> Call[bytes]:
    """`GET /files/download`."""
    url = _with_query(base + paths.DOWNLOAD, {"path": path})
    return Call("download file", "GET", url, lambda answer: answer.body, timeout=timeout or None, safe=True)


def list_files(base: str, path: str) -> Call[list[FileInfo]]:
    """`GET /files`."""
    url = _with_query(base + paths.FILES, {"path": path})
    return Call(
        "list files", "GET", url, lambda answer: [FileInfo.from_wire(one) for one in answer.json()], safe=True
    )


def file_info(base: str, path: str) -> Call[FileInfo]:
    """`GET /files/info`."""
    url = _with_query(base + paths.FILE_INFO, {"path": path})
    return Call("get file info", "GET", url, lambda answer: FileInfo.from_wire(answer.json()), safe=True)


def create_folder(base: str, path: str, mode: str) -> Call[None]:
    """`POST /files/folder`."""
    url = _with_query(base + paths.FOLDER, {"path": path, "mode": mode})
    return Call("create folder", "POST", url, _nothing)


def delete_file(base: str, path: str, recursive: bool) -> Call[None]:
    """`DELETE /files`."""
    url = _with_query(base + paths.FILES, {"path": path, "recursive": "true" if recursive else "false"})
    return Call("delete file", "DELETE", url, _nothing)


def move_files(base: str, source: str, destination: str) -> Call[None]:
    """`POST /files/move`."""
    url = _with_query(base + paths.MOVE, {"source": source, "destination": destination})
    return Call("move files", "POST", url, _nothing)


def set_file_permissions(
    base: str, path: str, mode: str | None, owner: str | None, group: str | None
) -> Call[None]:
    """`POST /files/permissions`."""
    url = _with_query(base + paths.PERMISSIONS, _given(path=path, mode=mode, owner=owner, group=group))
    return Call("set file permissions", "POST", url, _nothing)


# Small change


def _nothing(answer: Answer) -> None:
    """For answers whose status says all."""


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _mapping(env: Mapping[str, str] | None) -> dict[str, str] | None:
    return dict(env) if env else None


def _dump(data: Mapping[str, Any]) -> tuple[bytes]:
    return (json.dumps(data).encode(),)


def _of(api: str, template: str, ref: str) -> str:
    """The URL of one sandbox's resource."""
    if not ref:
        raise DaytonaBadRequestError("the sandbox's id or name is empty")
    return api + template.format(sandbox=quote(ref, safe=""))


def _with_query(url: str, query: Mapping[str, Any]) -> str:
    return f"{url}?{urlencode(query, quote_via=quote)}" if query else url
