"""Tokens that open one sandbox over SSH: of each only its digest is kept, in the store, until when it is good.

How a connection comes in is in `ssh`. A token that was revoked, or whose time is over, opens nothing from that moment.
"""

import hashlib
import secrets
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec

from tidepool.engine.errors import Refused
from tidepool.server.store import Store

KIND = "ssh_access"
DEFAULT_MIN = 60
MOST_MIN = 525_600
"""A year."""
MOST_TOKENS = 1000
"""Of one tenant."""


class Access(msgspec.Struct, frozen=True):
    """One token as the store has it; its id there is the digest."""

    id: str
    tenant: str
    sandbox: str
    """Its id."""
    digest: str
    created_at: datetime
    expires_at: datetime

    @property
    def is_over(self) -> bool:
        """Whether its time is over."""
        return self.expires_at <= datetime.now(UTC)


class Accesses:
    """Makes, finds and forgets tokens."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.on_revoked: Callable[[str], None] | None = None
        """Called with the digest of each token that is revoked, after it was forgotten."""

    async def create(self, tenant: str, sandbox: str, minutes: float) -> tuple[Access, str]:
        """A new token for the tenant's sandbox of this id, and its value, which is told only now.

        Args:
            tenant: Whose sandbox it is.
            sandbox: Its id.
            minutes: Until it is over.

        Raises:
            Refused: The tenant has too many that are good.
        """
        if len(await self._good(tenant)) >= MOST_TOKENS:
            raise Refused(f"there are {MOST_TOKENS} SSH tokens already; revoke some")
        token, now = secrets.token_hex(32), datetime.now(UTC)
        over = now + timedelta(minutes=minutes)
        access = Access(str(uuid.uuid4()), tenant, sandbox, digest(token), now, over)
        await self._store.put(KIND, tenant, access.digest, "", msgspec.to_builtins(access))
        return access, token

    async def find(self, token: str) -> Access | None:
        """What a token opens; None when it is none, was revoked, or its time is over."""
        body = await self._store.get(KIND, None, digest(token))
        access = msgspec.convert(body, Access) if body is not None else None
        return access if access is not None and not access.is_over else None

    async def revoke(self, tenant: str, sandbox: str, token: str | None) -> None:
        """Forget one token of a sandbox, or all of them; no error where there is none."""
        wanted = digest(token) if token is not None else None
        for access in await self._good(tenant):
            if access.sandbox == sandbox and wanted in (None, access.digest):
                await self._store.delete(KIND, tenant, access.digest)
                if self.on_revoked is not None:
                    self.on_revoked(access.digest)

    async def _good(self, tenant: str) -> list[Access]:
        """The tenant's tokens; those whose time is over are forgotten on the way."""
        found = [msgspec.convert(body, Access) for body in await self._store.list(KIND, tenant)]
        for access in found:
            if access.is_over:
                await self._store.delete(KIND, tenant, access.digest)
        return [access for access in found if not access.is_over]


def digest(token: str) -> str:
    """What stands for a token wherever it is kept: SHA-256, for a token is random enough to need no salt."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
