"""A plain HTTP client and a plain way to start servers: what the tests of this room talk with.

Nothing here knows what an answer means; status, headers and bytes come back as they were sent.
"""

import contextlib
import http.client
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit


@dataclass(frozen=True)
class Answer:
    """One whole answer."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        assert self.headers["content-type"] == "application/json", self.body[:200]
        return json.loads(self.body)

    @property
    def message(self) -> str:
        """The sentence of an error."""
        return str(self.json["message"])


class Api:
    """One client with one connection, kept open; `base` is put before every path."""

    def __init__(self, url: str, key: str | None = None, base: str = "/api") -> None:
        self.url = url.removesuffix("/api")
        self.key = key
        self._base = base
        self._connection: http.client.HTTPConnection | None = None
        self._others: list[Api] = []

    def at(self, base: str) -> "Api":
        """The same server and key, another base and connection; closed with this one."""
        self._others.append(Api(self.url, self.key, base))
        return self._others[-1]

    def call(self, method: str, path: str, body: Any = None, /, **query: Any) -> Answer:
        """Send a request; a body that is no bytes is sent as JSON."""
        headers = {"Authorization": f"Bearer {self.key}"} if self.key is not None else {}
        if body is not None and not isinstance(body, bytes):
            body, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        return self.send(method, self._base + path + (f"?{urlencode(query)}" if query else ""), body, headers)

    def send(
        self, method: str, target: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send exactly this."""
        if self._connection is None:
            self._connection = connect(self.url)
        try:
            self._connection.request(method, target, body, dict(headers or {}))
            found = self._connection.getresponse()
            content = found.read()
        except BaseException:
            self.close()
            raise
        return Answer(found.status, {name.lower(): value for name, value in found.getheaders()}, content)

    def upload(self, path: str, /, *parts: tuple[str, str | None, bytes], **query: Any) -> Answer:
        """Send a form; each part is a name, a file name or None, and content."""
        boundary = os.urandom(16).hex()
        body = b""
        for name, filename, content in parts:
            extra = f'; filename="{quote(filename)}"' if filename is not None else ""
            body += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{extra}\r\n\r\n'.encode()
            body += content + b"\r\n"
        body += f"--{boundary}--\r\n".encode()
        headers = {
            "Authorization": f"Bearer {self.key}",
            "Content-Type": f"multipart/form-data; boundary={boundary}",
        }
        target = self._base + path + (f"?{urlencode(query)}" if query else "")
        return self.send("POST", target, body, headers)

    def close(self) -> None:
        """Give the connection up, and those of others made from it."""
        for other in self._others:
            other.close()
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def connect(url: str) -> http.client.HTTPConnection:
    """A connection to `http://host:port` or `unix:/path`."""
    if not url.startswith("unix:"):
        return http.client.HTTPConnection(urlsplit(url).netloc, timeout=50)
    connection = http.client.HTTPConnection("localhost", timeout=50)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(50)
    connection.sock.connect(url.removeprefix("unix:"))
    return connection


@dataclass
class Started:
    """A server process that a test started."""

    process: subprocess.Popen[str]
    url: str
    """As it printed it; empty when it did not start."""

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal and wait: exit status and what it said on stderr."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> tuple[int, str]:
        """Wait for its end: exit status and what it said on stderr."""
        _, said = self.process.communicate(timeout=40)
        return self.process.returncode, said


@contextlib.contextmanager
def started(*arguments: str, key: str | None = "key", **options: Any) -> Iterator[Started]:
    """A server with these arguments; it is ended with the block, and must then end well.

    Args:
        arguments: Of `python -m tidepool.server`.
        key: For the environment; None: none.
        options: Of `subprocess.Popen`.
    """
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("TIDEPOOL_API_KEY")
    }
    environment |= {"TIDEPOOL_API_KEY": key} if key is not None else {}
    # Beside the session's own server, on the same images.
    environment["TIDEPOOL_REALM"] = secrets.token_hex(4)
    command = [sys.executable, "-m", "tidepool.server", *arguments]
    options = {"env": environment | options.pop("environment", {}), **options}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    ) as process:
        assert process.stdout is not None
        try:
            yield Started(process, process.stdout.readline().strip())
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                assert process.wait(30) == 0
        finally:
            process.kill()
