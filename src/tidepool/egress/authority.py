"""A certificate authority of one sandbox: it vouches, inside that sandbox only, for hosts whose TLS is opened.

Its key is made here and stays in this process; nobody outside the sandbox is ever asked to trust it.
"""

import datetime
import os
import ssl
from collections import OrderedDict
from typing import Any

MAX_CONTEXTS = 64
_VALID = datetime.timedelta(days=825)
_EARLIER = datetime.timedelta(hours=1)
"""A sandbox's clock may be a little behind."""


class NoAuthority(ValueError):
    """This installation cannot make certificates; the message says what is missing."""


def load() -> Any:
    """What makes certificates (modules of the library `cryptography`); None where it is not installed."""
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError:
        return None
    return x509, hashes, ec, serialization


class Authority:
    """Makes certificates for hosts.

    Raises:
        NoAuthority: The library `cryptography` is not installed.
    """

    def __init__(self, sandbox_id: str) -> None:
        library = load()
        if library is None:
            raise NoAuthority(
                "secrets need cryptography, which is not installed: pip install 'tidepool[server]'"
            )
        self._x509, self._hashes, self._ec, self._to = library
        self._key = self._ec.generate_private_key(self._ec.SECP256R1())
        self._leaf_key = self._ec.generate_private_key(self._ec.SECP256R1())
        self._name = self._named(f"Tidepool sandbox {sandbox_id[:36]}")
        self._certificate = self._authority()
        self._contexts: OrderedDict[str, ssl.SSLContext] = OrderedDict()

    @property
    def certificate(self) -> str:
        """The authority's own certificate, as PEM."""
        return self._pem(self._certificate).decode("ascii")

    def context(self, host: str) -> ssl.SSLContext:
        """The server's side of TLS for a host, HTTP/1.1 only."""
        context = self._contexts.pop(host, None) or self._make_context(host)
        self._contexts[host] = context
        while len(self._contexts) > MAX_CONTEXTS:
            self._contexts.popitem(last=False)
        return context

    def _make_context(self, host: str) -> ssl.SSLContext:
        to = self._to
        key = self._leaf_key.private_bytes(to.Encoding.PEM, to.PrivateFormat.PKCS8, to.NoEncryption())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        # The library reads a file only. This one has no name on any disk and ends with the block.
        fd = os.memfd_create("leaf")
        try:
            os.write(fd, key + self._pem(self._leaf(host)))
            context.load_cert_chain(f"/proc/self/fd/{fd}")
        finally:
            os.close(fd)
        return context

    def _named(self, text: str) -> Any:
        return self._x509.Name([self._x509.NameAttribute(self._x509.NameOID.COMMON_NAME, text)])

    def _authority(self) -> Any:
        usage = dict.fromkeys(_USAGES, False) | {"key_cert_sign": True, "crl_sign": True}
        builder = self._begin(self._name, self._key.public_key())
        builder = builder.add_extension(self._x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(self._x509.KeyUsage(**usage), critical=True)
        return builder.sign(self._key, self._hashes.SHA256())

    def _leaf(self, host: str) -> Any:
        x509 = self._x509
        # A common name has at most 64 characters; the name that counts is the alternative one.
        builder = self._begin(self._named(host[:64]), self._leaf_key.public_key())
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        usage = x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH])
        return builder.add_extension(usage, critical=False).sign(self._key, self._hashes.SHA256())

    def _begin(self, name: Any, public_key: Any) -> Any:
        x509, now = self._x509, datetime.datetime.now(datetime.UTC)
        ours = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _EARLIER)
            .not_valid_after(now + _VALID)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(ours, critical=False)
        )

    def _pem(self, certificate: Any) -> bytes:
        pem: bytes = certificate.public_bytes(self._to.Encoding.PEM)
        return pem


_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)
