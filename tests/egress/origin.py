"""Servers outside, as sandboxes see them: real sockets on loopback, plain or with TLS, that remember all."""

import datetime
import secrets
import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest


def free_address() -> str:
    """A loopback address that nobody else uses, so that the usual ports are free on it."""
    return f"127.{secrets.randbelow(200) + 20}.{secrets.randbelow(254) + 1}.{secrets.randbelow(254) + 1}"


class Authority:
    """A certificate authority of the outside, which the proxy is told to trust."""

    def __init__(self, place: Path) -> None:
        pytest.importorskip("cryptography", reason="certificates need the extra secrets")
        from cryptography.hazmat.primitives.asymmetric import ec

        self._place = place
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("outside")
        self.path = place / "outside.pem"
        self.path.write_bytes(_pem(self._sign("outside", self._key.public_key(), True)))
        self.path.chmod(0o644)

    def context(self, host: str) -> ssl.SSLContext:
        """A server's side of TLS for a host."""
        from cryptography.hazmat.primitives import serialization as to
        from cryptography.hazmat.primitives.asymmetric import ec

        key = ec.generate_private_key(ec.SECP256R1())
        text = key.private_bytes(to.Encoding.PEM, to.PrivateFormat.PKCS8, to.NoEncryption())
        path = self._place / f"{host}.pem"
        path.write_bytes(text + _pem(self._sign(host, key.public_key(), False)))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context

    def _sign(self, name: str, public: Any, ca: bool) -> Any:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes

        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder().subject_name(_name(name)).issuer_name(self._name)
        builder = builder.public_key(public).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(hours=1))
        builder = builder.not_valid_after(now + datetime.timedelta(days=1))
        builder = builder.add_extension(x509.BasicConstraints(ca, None), critical=True)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        return builder.sign(self._key, hashes.SHA256())


def _name(text: str) -> Any:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(certificate: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return bytes(certificate.public_bytes(Encoding.PEM))


class Origin:
    """A server that says who it is and what it was sent; every request it ever got is in `heard`.

    Args:
        name: What it calls itself in its answers.
        context: TLS; None: plain.
    """

    def __init__(
        self, address: str, port: int, name: str = "origin", context: ssl.SSLContext | None = None
    ) -> None:
        self.name = name
        self.heard: list[bytes] = []
        self.accepted = 0
        self._context = context
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._listener.bind((address, port))
        except PermissionError:
            self._listener.close()
            pytest.skip(f"this user may not listen on port {port}")
        self._listener.listen(64)
        self.address, self.port = self._listener.getsockname()
        self._open: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            self._open.add(sock)
            thread = threading.Thread(target=self._talk, args=(sock,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _talk(self, sock: socket.socket) -> None:
        sock.settimeout(20)
        inside: socket.socket = sock
        try:
            if self._context is not None:
                inside = self._context.wrap_socket(sock, server_side=True)
            self._answer(inside)
        except OSError:
            pass
        finally:
            self._open.discard(sock)
            inside.close()
            sock.close()

    def _answer(self, sock: socket.socket) -> None:
        """Answers requests with lengths; to `GET /hold` it holds the connection open and says what comes."""
        data = b""
        while True:
            while b"\r\n\r\n" not in data:
                piece = sock.recv(65536)
                if not piece:
                    return
                data += piece
            head, _, data = data.partition(b"\r\n\r\n")
            length = next(
                (
                    int(line[15:])
                    for line in head.lower().split(b"\r\n")
                    if line.startswith(b"content-length:")
                ),
                0,
            )
            while len(data) < length:
                data += sock.recv(65536)
            body, data = data[:length], data[length:]
            self.heard.append(head + b"\r\n\r\n" + body)
            answer = f"{self.name} heard ".encode() + body
            more = b"Connection: close\r\n" if b"connection: close" in head.lower() else b""
            if b"/redirect" in head.partition(b"\r\n")[0]:
                more += b"Location: http://169.254.169.254/latest/\r\n"
                sock.sendall(b"HTTP/1.1 302 Found\r\n" + more + b"Content-Length: 0\r\n\r\n")
            else:
                size = f"Content-Length: {len(answer)}\r\n".encode()
                sock.sendall(b"HTTP/1.1 200 OK\r\nX-Origin: yes\r\n" + size + more + b"\r\n" + answer)
            if more:
                return

    @property
    def live(self) -> int:
        """Connections that are open now."""
        return len(self._open)

    def close(self) -> None:
        """Ends everything."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in list(self._open):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        for thread in self._threads:
            thread.join(5)
