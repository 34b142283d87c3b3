"""Language servers in sandboxes: started on request, one for each project, spoken to over their standard streams.

Python only, by python-lsp-server, which must be among the sandbox's packages or is fetched by the sandbox itself. What
a server says comes out of a sandbox: frames are bounded, answers strictly decoded, every wait has a deadline.
"""

import asyncio
import contextlib
import os
import weakref
from typing import Any
from urllib.parse import quote

import msgspec

from tidepool.engine import Command, Sandbox
from tidepool.engine.errors import InvalidSpec, Refused, SandboxLost
from tidepool.engine.process import Process
from tidepool.wire import lsp as wire

PLACE = "/tmp/.tidepool-lsp"  # inside the sandbox
"""Where the server is installed when the sandbox's packages do not have it."""
PACKAGE = "python-lsp-server"
START_TIMEOUT_S = 60.0
INSTALL_TIMEOUT_S = 300.0
ANSWER_TIMEOUT_S = 30.0
MAX_DOCUMENT = 4 << 20
_MAX_HEADER = 4096
_MAX_BODY = 16 << 20
_MAX_FILES = 200
"""Of a project, looked through for a symbol."""
_METHOD_NOT_FOUND = -32601
_MISSING = {
    "typescript": "typescript-language-server, which is not part of the image",
    "javascript": "typescript-language-server, which is not part of the image",
}


class NotStarted(Refused):
    """No language server runs for this project."""


class _Error(msgspec.Struct):
    code: int
    message: str


class _Message(msgspec.Struct):
    """What a server may send: the answer to a request, a request of its own, or a notification."""

    id: int | str | None = None
    method: str | None = None
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: _Error | None = None


_Symbols = list[wire.Symbol] | None
_Proposals = wire.CompletionList | list[wire.CompletionItem] | None
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Message).decode


class Frames:
    """Splits what a server writes into message bodies."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._size: int | None = None
        """Of the body that comes next; None while its header is not whole."""

    def take(self, data: bytes) -> list[bytes]:
        """The bodies that `data` completes.

        Raises:
            ValueError: A header is not as in LSP's base protocol, or a body is too long.
        """
        self._data += data
        found: list[bytes] = []
        while self._has_header() and self._size is not None and len(self._data) >= self._size:
            found.append(bytes(self._data[: self._size]))
            del self._data[: self._size]
            self._size = None
        return found

    def _has_header(self) -> bool:
        if self._size is None:
            end = self._data.find(b"\r\n\r\n", 0, _MAX_HEADER)
            if end >= 0:
                self._size = _content_length(bytes(self._data[:end]))
                del self._data[: end + 4]
            elif len(self._data) > _MAX_HEADER:
                raise ValueError("a header is too long")
        return self._size is not None


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length" and value.strip().isdigit() and len(value) < 12:
            size = int(value)
            if size <= _MAX_BODY:
                return size
            raise ValueError(f"a message of {size} bytes is too long")
    raise ValueError("a header has no Content-Length")


class LanguageServer:
    """One running server; made by `Servers`."""

    def __init__(self, process: Process, sandbox: Sandbox, project: str) -> None:
        self.project = project
        self._process = process
        self._sandbox = sandbox
        self._requests = 0
        self._waiting: dict[int, asyncio.Future[_Message]] = {}
        self._said = b""
        self._reading = asyncio.create_task(self._read())

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return not self._reading.done()

    async def begin(self) -> None:
        """The protocol's first exchange.

        Raises:
            InvalidSpec: The server cannot be started; its own words are in the message.
        """
        params: dict[str, Any] = {"processId": None, "rootUri": _uri(self.project), "capabilities": {}}
        await self._ask("initialize", params, msgspec.Raw, START_TIMEOUT_S)
        await self._notify("initialized", {})

    async def open_document(self, uri: str) -> None:
        """Tell it a file's present content.

        Raises:
            NotFound, AccessDenied, InvalidSpec: The file cannot be read.
        """
        path = self._path(uri)
        text = await self._sandbox.files.read(path)
        if len(text) > MAX_DOCUMENT:
            raise InvalidSpec(f"{path} has {len(text)} bytes; a document has at most {MAX_DOCUMENT}")
        document = {
            "uri": _uri(path),
            "languageId": "python",
            "version": 1,
            "text": text.decode("utf-8", "replace"),
        }
        await self._notify("textDocument/didOpen", {"textDocument": document})

    async def close_document(self, uri: str) -> None:
        """Tell it that a file's content is what is on disk again."""
        await self._notify("textDocument/didClose", {"textDocument": {"uri": _uri(self._path(uri))}})

    async def document_symbols(self, uri: str) -> list[wire.Symbol]:
        """The names a file defines."""
        params = {"textDocument": {"uri": _uri(self._path(uri))}}
        found: list[wire.Symbol] | None = await self._ask("textDocument/documentSymbol", params, _Symbols)
        return found or []

    async def workspace_symbols(self, query: str) -> list[wire.Symbol]:
        """Names in the project's files that contain `query`, in any case.

        Python's server does not answer this question itself: it is asked for each file (at most 200).
        """
        entries = await self._sandbox.files.list(self.project, depth=8)
        files = [item.path for item in entries if not item.is_dir and item.name.endswith(".py")]
        found: list[wire.Symbol] = []
        for path in files[:_MAX_FILES]:
            found += await self.document_symbols(f"file://{path}")
        return [symbol for symbol in found if query.lower() in symbol.name.lower()]

    async def completions(self, asked: wire.Completions) -> wire.CompletionList:
        """What may stand at a position."""
        params = {
            "textDocument": {"uri": _uri(self._path(asked.uri))},
            "position": asked.position,
            "context": asked.context,
        }
        answer = await self._ask("textDocument/completion", params, _Proposals)
        found = (
            answer if isinstance(answer, wire.CompletionList) else wire.CompletionList(False, answer or [])
        )
        for item in found.items:
            if isinstance(item.documentation, str):  # clients take objects only
                item.documentation = {"kind": "plaintext", "value": item.documentation}
        return found

    async def close(self) -> None:
        """End it."""
        self._reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reading
        await self._process.kill()

    def _path(self, uri: str) -> str:
        return os.path.join(self.project, uri.removeprefix("file://"))

    async def _notify(self, method: str, params: Any) -> None:
        await self._send({"jsonrpc": "2.0", "method": method, "params": params})

    async def _ask(self, method: str, params: Any, kind: Any, timeout_s: float = ANSWER_TIMEOUT_S) -> Any:
        self._requests += 1
        number = self._requests
        waiting = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            await self._send({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
            async with asyncio.timeout(timeout_s):
                await asyncio.wait((waiting, self._reading), return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            raise Refused(f"the language server did not answer {method} within {timeout_s:g} s") from None
        finally:
            del self._waiting[number]
        if not waiting.done():
            raise InvalidSpec(f"the language server has ended: {self._last_words()}")
        answer = waiting.result()
        if answer.error is not None:
            raise Refused(f"the language server refused {method}: {answer.error.message[:1000]}")
        try:
            return msgspec.json.decode(answer.result, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise SandboxLost(f"the language server's answer to {method} is not valid: {error}") from None

    def _last_words(self) -> str:
        failure = None if self._reading.cancelled() else self._reading.exception()
        return str(failure or self._said.decode("utf-8", "replace").strip() or "it said nothing")[-2000:]

    async def _send(self, message: dict[str, Any]) -> None:
        if not self.alive:
            raise InvalidSpec(f"the language server has ended: {self._last_words()}")
        body = _encode(message)
        await self._process.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)

    async def _read(self) -> None:
        """Until the server ends, or breaks the protocol."""
        frames = Frames()
        while (item := await self._process.read()) is not None:
            stream, data = item
            if stream == "stderr":
                self._said = (self._said + data)[-4096:]
            elif stream == "stdout":
                for body in frames.take(data):
                    await self._handle(_decode(body))

    async def _handle(self, message: _Message) -> None:
        if message.method is None:
            waiting = self._waiting.get(message.id) if isinstance(message.id, int) else None
            if waiting is not None and not waiting.done():
                waiting.set_result(message)
        elif message.id is not None:
            error = {"code": _METHOD_NOT_FOUND, "message": "this client answers no requests"}
            await self._send({"jsonrpc": "2.0", "id": message.id, "error": error})


def _uri(path: str) -> str:
    return "file://" + quote(path)


class Servers:
    """The language servers of one sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._running: dict[tuple[str, str], LanguageServer] = {}
        self._starting = asyncio.Lock()

    async def start(self, language: str, project: str) -> None:
        """Start a project's server; one that runs already is left alone.

        Raises:
            InvalidSpec: There is no server for the language, or it cannot be started or fetched.
            NotFound: There is no such project directory.
        """
        key = self._key(language, project)
        async with self._starting:
            if key in self._running and self._running[key].alive:
                return
            if not (await self._sandbox.files.info(key[1])).is_dir:
                raise InvalidSpec(f"{project[:200]} is not a directory")
            place = await self._provide()
            command = Command(argv=("python3", "-u", "-m", "pylsp"), cwd=key[1], env=place)
            server = LanguageServer(await self._sandbox.open(command, counts=False), self._sandbox, key[1])
            try:
                await server.begin()
            except BaseException:
                await server.close()
                raise
            self._running[key] = server

    async def stop(self, language: str, project: str) -> None:
        """End a project's server.

        Raises:
            NotStarted: There is none.
        """
        server = self.get(language, project)
        del self._running[self._key(language, project)]
        await server.close()

    def get(self, language: str, project: str) -> LanguageServer:
        """A project's server.

        Raises:
            NotStarted: There is none, or it has ended.
        """
        found = self._running.get(self._key(language, project))
        if found is None or not found.alive:
            raise NotStarted(f"no {language[:40]} language server runs for {project[:200]}; start it first")
        return found

    def _key(self, language: str, project: str) -> tuple[str, str]:
        if language in _MISSING:
            raise InvalidSpec(f"language server for {language} needs {_MISSING[language]}; python is there")
        if language != "python":
            raise InvalidSpec(f"languageId is {language[:40]!r}; language servers are there for python only")
        return language, os.path.normpath(os.path.join(self._sandbox.work_dir, project))

    async def _provide(self) -> dict[str, str]:
        """The environment in which the server can be imported; it is fetched where it is not there."""
        check = Command(argv=("python3", "-c", "import pylsp"), timeout_s=START_TIMEOUT_S)
        if (await self._sandbox.exec(check)).succeeded:
            return {}
        env = {"PYTHONPATH": PLACE}
        script = f"test -e {PLACE}/pylsp || uv pip install -q --target {PLACE} {PACKAGE}"
        if self._sandbox.spec.network == "none":
            raise InvalidSpec(
                f"{PACKAGE} is not installed in this sandbox, which has no network to fetch it: "
                f'create the sandbox with dependencies=["{PACKAGE}"]'
            )
        result = await self._sandbox.exec(Command(shell=script, timeout_s=INSTALL_TIMEOUT_S))
        if not result.succeeded:
            said = result.output[-1500:].decode("utf-8", "replace").strip()
            raise InvalidSpec(
                f'{PACKAGE} could not be installed; create the sandbox with dependencies=["{PACKAGE}"]: {said}'
            )
        return env


_of_sandbox: "weakref.WeakKeyDictionary[Sandbox, Servers]" = weakref.WeakKeyDictionary()


def servers_of(sandbox: Sandbox) -> Servers:
    """The language servers of a sandbox; they live as long as it does."""
    found = _of_sandbox.get(sandbox)
    if found is None:
        found = _of_sandbox[sandbox] = Servers(weakref.proxy(sandbox))  # else neither would ever go
    return found
