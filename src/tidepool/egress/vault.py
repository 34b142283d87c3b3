"""Secrets of one sandbox: which host gets which, and where in a request a placeholder is replaced by its value.

Values live in this process only. They never get into a log, an error or an answer, and only ever go out over TLS to
a host they are bound to.
"""

import base64
import binascii
import re
from dataclasses import dataclass, field
from urllib.parse import quote

from tidepool.egress.policy import BadHost, HostRule, Place, parse_host_rule

TLS_PORT = 443
MAX_SECRETS = 32
MAX_VALUE = 8 << 10
_PLACEHOLDER = re.compile(r"[A-Za-z0-9_.-]{8,128}\Z")
_VALUE = re.compile(r"[\x20-\x7e]+\Z")
_BASIC = re.compile(rb"(?i:basic)[ ]+([A-Za-z0-9+/]+={0,2})[ ]*\Z")

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Secret:
    """One secret.

    Raises:
        BadHost: A field cannot be used; the message never repeats the value.
    """

    placeholder: str
    """What the sandbox has instead: 8 to 128 letters, digits, `_`, `.`, `-`."""
    value: str = field(repr=False)
    """Visible ASCII and spaces: it becomes part of a header."""
    hosts: tuple[HostRule, ...]
    """Who gets the value, over TLS on port 443."""

    def __post_init__(self) -> None:
        if not _PLACEHOLDER.match(self.placeholder):
            raise BadHost("a secret's placeholder must be 8 to 128 letters, digits, '_', '.', '-'")
        if not _VALUE.match(self.value) or len(self.value) > MAX_VALUE:
            raise BadHost(
                f"the value of {self.placeholder} must be 1 to {MAX_VALUE} visible ASCII characters"
            )

    def is_for(self, host: str) -> bool:
        """Whether a host gets the value."""
        return any(rule.names(host) for rule in self.hosts)


def make_secret(placeholder: str, value: str, hosts: tuple[str, ...]) -> Secret:
    """A secret bound to names and `*.names`.

    Raises:
        BadHost: A host cannot be taken, or as `Secret`.
    """
    try:
        rules = tuple(parse_host_rule(host) for host in hosts)
    except BadHost as error:
        raise BadHost(f"a host of secret {placeholder[:128]!r} cannot be taken: {error}") from None
    if any(rule.port is not None for rule in rules):
        raise BadHost(
            f"a host of secret {placeholder[:128]!r} has a port; secrets go to port {TLS_PORT} only"
        )
    return Secret(placeholder, value, rules)


@dataclass(frozen=True)
class Vault:
    """All secrets of one sandbox."""

    secrets: tuple[Secret, ...] = ()

    def __post_init__(self) -> None:
        if len(self.secrets) > MAX_SECRETS:
            raise BadHost(f"{len(self.secrets)} secrets are given; at most {MAX_SECRETS} are taken")

    def opens(self, place: Place) -> bool:
        """Whether TLS to this place is to be opened, because a secret is bound to it."""
        return place.port == TLS_PORT and any(secret.is_for(place.host) for secret in self.secrets)

    def fill(self, host: str, target: bytes, headers: Headers) -> tuple[bytes, Headers]:
        """A request as it is to go out to a host: values instead of placeholders, in the query and in headers."""
        for secret in self.secrets:
            if secret.is_for(host):
                mark, value = secret.placeholder.encode(), secret.value.encode()
                path, question, query = target.partition(b"?")
                target = path + question + query.replace(mark, quote(secret.value, safe="").encode())
                headers = [(name, _fill_value(name, text, mark, value)) for name, text in headers]
        return target, headers


def _fill_value(name: bytes, text: bytes, mark: bytes, value: bytes) -> bytes:
    basic = _BASIC.match(text) if name == b"authorization" else None
    if basic is None:
        return text.replace(mark, value)
    try:
        inside = base64.b64decode(basic[1], validate=True)
    except binascii.Error:
        return text
    return b"Basic " + base64.b64encode(inside.replace(mark, value)) if mark in inside else text
