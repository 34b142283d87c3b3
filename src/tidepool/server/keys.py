"""API keys that clients make: of each only its digest is kept, and what it may do until when.

A key that was found stays known for a few seconds, so that a request costs no query; what this server deletes, and a
key whose time is over, ends at once.
"""

import hashlib
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from tidepool.engine.errors import AccessDenied, InvalidSpec, NotFound
from tidepool.server.store import Store
from tidepool.wire.keys import PERMISSIONS, CreateKey

KIND = "api_keys"
KNOWN_S = 5.0
"""How long another server's deletion may go unnoticed."""
_USED_S = 60.0
"""How exact `last_used_at` is."""
_MOST_KNOWN = 1000
ALL = frozenset(PERMISSIONS)


@dataclass(frozen=True)
class Identity:
    """Who is asking."""

    tenant: str
    permissions: frozenset[str] = ALL
    user: str = ""
    key: str = ""
    """The key's name; empty where there is none (a peer of a Unix socket, or a key of the configuration)."""
    masked: str = ""

    def may(self, permission: str) -> bool:
        """Whether it has a permission; everybody has the one that is called ""."""
        return not permission or permission in self.permissions


class Record(msgspec.Struct):
    """One key as the store has it; its id there is the digest."""

    name: str
    tenant: str
    digest: str
    masked: str
    permissions: list[str]
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None

    @property
    def is_over(self) -> bool:
        """Whether its time is over."""
        return self.expires_at is not None and self.expires_at <= datetime.now(UTC)


class Keys:
    """Makes, finds and forgets keys."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, tuple[float, Record]] = {}

    async def find(self, key: str) -> Identity | None:
        """Whose a key is; None when it is nobody's, or its time is over."""
        number = digest(key)
        at, record = self._known.get(number, (0.0, None))
        if record is None or time.monotonic() - at > KNOWN_S:
            record = await self._read(number)
        if record is None or record.is_over:
            return None
        return identity(record)

    async def _read(self, number: str) -> Record | None:
        body = await self._store.get(KIND, None, number)
        if body is None:
            self._known.pop(number, None)
            return None
        record, now = msgspec.convert(body, Record), datetime.now(UTC)
        if record.last_used_at is None or (now - record.last_used_at).total_seconds() > _USED_S:
            record.last_used_at = now
            await self._save(record)
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[number] = (time.monotonic(), record)
        return record

    async def _save(self, record: Record) -> None:
        await self._store.put(KIND, record.tenant, record.digest, record.name, msgspec.to_builtins(record))

    async def create(self, asked: CreateKey, by: Identity) -> tuple[Record, str]:
        """A new key of the asking one's tenant, and its value, which is told only now.

        Raises:
            InvalidSpec: A permission is none, or the time is over already.
            AccessDenied: It would be allowed more than the key that asks for it.
            Conflict: The tenant has a key of this name.
        """
        _check(asked, by)
        value = f"dtn_{secrets.token_hex(32)}"
        record = Record(
            asked.name,
            by.tenant,
            digest(value),
            masked(value),
            sorted(set(asked.permissions)),
            datetime.now(UTC),
            _aware(asked.expires_at),
        )
        await self._save(record)
        return record, value

    async def list(self, tenant: str) -> list[Record]:
        """The tenant's keys, oldest first; those whose time is over among them."""
        return [msgspec.convert(body, Record) for body in await self._store.list(KIND, tenant)]

    async def get(self, tenant: str, name: str) -> Record:
        """One of the tenant's keys.

        Raises:
            NotFound: It has none of this name.
        """
        body = await self._store.get(KIND, tenant, name)
        if body is None or body["name"] != name:
            raise NotFound(f"API key with name {name[:200]} not found")
        return msgspec.convert(body, Record)

    async def delete(self, tenant: str, name: str) -> None:
        """Forget a key; the next request with it is refused.

        Raises:
            NotFound: The tenant has none of this name.
        """
        record = await self.get(tenant, name)
        await self._store.delete(KIND, tenant, record.digest)
        self._known.pop(record.digest, None)


def _check(asked: CreateKey, by: Identity) -> None:
    unknown = set(asked.permissions) - ALL
    if unknown:
        raise InvalidSpec(f"permissions has {min(unknown)[:60]!r}; there are {', '.join(PERMISSIONS)}")
    more = set(asked.permissions) - by.permissions
    if more:
        raise AccessDenied(f"a key cannot make one that may do more than itself: it has no {min(more)}")
    expires_at = _aware(asked.expires_at)
    if expires_at is not None and expires_at <= datetime.now(UTC):
        raise InvalidSpec("expiresAt is over already; give a time to come, or none for a key without end")


def _aware(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


def identity(record: Record) -> Identity:
    """Who has this key."""
    return Identity(record.tenant, frozenset(record.permissions), record.tenant, record.name, record.masked)


def digest(key: str) -> str:
    """What stands for a key wherever it is kept: SHA-256, for a key is random enough to need no salt."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def masked(key: str) -> str:
    """Enough of a key to tell it from others, and no more."""
    return f"{key[:6]}{'*' * 8}{key[-3:]}" if len(key) >= 24 else "*" * 8
