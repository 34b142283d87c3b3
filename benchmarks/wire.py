"""A plain keep-alive HTTP client over one socket, and one WebSocket run: as little client as can be.

Requests are sent in one write, answers are read up to their content-length; nothing is decoded that is not asked for.
"""

import json
import os
import socket
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import wsproto
from wsproto import events

from daytona_sdk import DaytonaConfig

_PIECE = 1 << 20


class Refused(Exception):
    """The server answered with another status than 2xx."""


class Raw:
    """One connection to one server."""

    def __init__(self, config: DaytonaConfig) -> None:
        url = urlsplit(str(config.api_url))
        assert url.hostname is not None
        assert url.port is not None
        self.host = url.netloc
        self._address = (url.hostname, url.port)
        self._key = str(config.api_key)
        self.run_ms = 0.0
        """Of the last run in a context: from the code being sent to its end, without the WebSocket's handshake."""
        self.socket = self._connect()

    def __enter__(self) -> "Raw":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def _connect(self) -> socket.socket:
        connection = socket.create_connection(self._address, timeout=120)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def head(self, method: str, path: str, length: int, kind: str = "application/json") -> bytes:
        """The head of a request."""
        return (
            f"{method} {path} HTTP/1.1\r\nHost: {self.host}\r\nAuthorization: Bearer {self._key}\r\n"
            f"Content-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
        ).encode()

    def call(self, method: str, path: str, body: object = None) -> bytes:
        """One request with a JSON body; the answer's content.

        Raises:
            Refused: The status is no 2xx.
        """
        content = b"" if body is None else json.dumps(body).encode()
        self.socket.sendall(self.head(method, path, len(content)) + content)
        return self.answer()

    def answer(self) -> bytes:
        """Read one whole answer.

        Raises:
            Refused: The status is no 2xx.
        """
        received, length = self._answer_head()
        while len(received) < length:
            received += self._receive()
        return bytes(received)

    def drain(self) -> int:
        """Read one answer and throw its content away; how many bytes it had."""
        received, length = self._answer_head()
        count, room = len(received), memoryview(bytearray(_PIECE))
        while count < length:
            if not (got := self.socket.recv_into(room)):
                raise ConnectionError("the connection ended within an answer")
            count += got
        return count

    def _answer_head(self) -> tuple[bytearray, int]:
        received = bytearray()
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += self._receive()
        lines = bytes(received[:end]).decode("latin-1").split("\r\n")
        del received[: end + 4]
        fields = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
        }
        length = int(fields.get("content-length", "0"))
        if not lines[0].split()[1].startswith("2"):
            while len(received) < length:
                received += self._receive()
            raise Refused(f"{lines[0]}: {bytes(received[:300])!r}")
        return received, length

    def _receive(self) -> bytes:
        if not (piece := self.socket.recv(_PIECE)):
            raise ConnectionError("the connection ended within an answer")
        return piece

    def create(self, *dependencies: str, **fields: Any) -> str:
        """A sandbox's id."""
        if dependencies:
            fields["tidepool"] = {"dependencies": list(dependencies)}
        found: dict[str, Any] = json.loads(self.call("POST", "/api/sandbox", fields))
        return str(found["id"])

    def delete(self, sandbox: str) -> None:
        """Delete a sandbox."""
        self.call("DELETE", f"/api/sandbox/{sandbox}")

    def line(self, sandbox: str, code: str) -> str:
        """What a Python text prints."""
        body = {"code": code, "language": "python"}
        answer = json.loads(self.call("POST", f"/toolbox/{sandbox}/process/code-run", body))
        return str(answer["result"])

    def run(self, sandbox: str, command: str) -> dict[str, Any]:
        """A command's exit code and output."""
        found: dict[str, Any] = json.loads(
            self.call("POST", f"/toolbox/{sandbox}/process/execute", {"command": command})
        )
        return found

    def in_context(self, sandbox: str, code: str) -> str:
        """What code prints in the sandbox's shared interpreter: one WebSocket, as the official client has one a run."""
        socket = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
        with self._connect() as wire:
            ask = events.Request(
                self.host,
                f"/toolbox/{sandbox}/process/interpreter/execute",
                extra_headers=[(b"Authorization", f"Bearer {self._key}".encode())],
            )
            wire.sendall(socket.send(ask))
            text = "".join(self._words(wire, socket, json.dumps({"code": code})))
            wire.sendall(socket.send(events.CloseConnection(1000)))
        return text

    def _words(self, wire: socket.socket, connection: wsproto.WSConnection, first: str) -> Iterator[str]:
        """Standard output of a run, until its end."""
        begin = time.perf_counter()
        while True:
            connection.receive_data(wire.recv(1 << 16))
            for event in connection.events():
                if isinstance(event, events.AcceptConnection):
                    begin = time.perf_counter()
                    wire.sendall(connection.send(events.Message(data=first)))
                elif isinstance(event, events.TextMessage):
                    message = json.loads(event.data)
                    if message["type"] == "stdout":
                        yield message["text"]
                    elif message["type"] == "control":
                        self.run_ms = (time.perf_counter() - begin) * 1000
                        return
                else:
                    raise Refused(f"the run ended with {event}")


def form(content: bytes, name: str = "big") -> tuple[str, bytes]:
    """A multipart form with one file: its content type and its body."""
    boundary = os.urandom(16).hex()
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
    return (
        f"multipart/form-data; boundary={boundary}",
        head.encode() + content + f"\r\n--{boundary}--\r\n".encode(),
    )
