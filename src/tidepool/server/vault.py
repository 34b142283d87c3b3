"""Secrets at rest: in the store their values stand encrypted under a key that lies in a file of the server's own.

Who has the database alone has no secret. A value leaves through `secrets_of`, for the egress proxy, and nowhere else.
"""

import asyncio
import os
import secrets
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.exceptions import HTTPException

from tidepool.engine.errors import Conflict, Fault, NotFound, Refused
from tidepool.server.store import Store
from tidepool.wire.secrets import CreateSecret, UpdateSecret

if TYPE_CHECKING:
    from cryptography.fernet import Fernet

KIND = "secrets"
KEY_FILE = "secrets.key"
MOST_SECRETS = 1000
"""Of one tenant."""


class Record(msgspec.Struct):
    """One secret as the store has it."""

    id: str
    name: str
    placeholder: str
    hosts: list[str]
    description: str | None
    created_at: datetime
    updated_at: datetime
    sealed: str
    """Encrypted: tenant, id and value; so a record moved to another tenant opens for nobody."""


class Vault:
    """Keeps the secrets of all tenants."""

    def __init__(self, store: Store, directory: Path) -> None:
        self._store = store
        self._directory = directory
        self._fernet: Fernet | None = None
        self._turn = asyncio.Lock()

    async def create(self, tenant: str, asked: CreateSecret) -> Record:
        """A new secret.

        Raises:
            Conflict: The tenant has one of this name.
            Refused: It has too many.
            HTTPException: 501, the library that encrypts is not installed.
        """
        now, number = datetime.now(UTC), str(uuid.uuid4())
        async with self._turn:
            there = await self._store.list(KIND, tenant)
            if len(there) >= MOST_SECRETS:
                raise Refused(f"there are {MOST_SECRETS} secrets already; delete some")
            if any(body["name"] == asked.name for body in there):
                raise Conflict(f"Secret with name {asked.name} already exists")
            record = Record(
                number,
                asked.name,
                f"tidepool-secret-{secrets.token_hex(24)}",
                asked.hosts or [],
                asked.description,
                now,
                now,
                self._seal(tenant, number, asked.value),
            )
            await self._save(tenant, record)
        return record

    async def list(self, tenant: str) -> list[Record]:
        """The tenant's secrets, oldest first."""
        return [msgspec.convert(body, Record) for body in await self._store.list(KIND, tenant)]

    async def get(self, tenant: str, ref: str) -> Record:
        """By id or name.

        Raises:
            NotFound: The tenant has none such.
        """
        body = await self._store.get(KIND, tenant, ref)
        if body is None:
            raise NotFound(f"Secret with ID or name {ref[:200]} not found")
        return msgspec.convert(body, Record)

    async def update(self, tenant: str, ref: str, asked: UpdateSecret) -> Record:
        """Change what is asked for; sandboxes that have the secret keep its placeholder.

        Raises:
            NotFound: The tenant has none such.
        """
        async with self._turn:
            record = await self.get(tenant, ref)
            if asked.value is not None:
                record.sealed = self._seal(tenant, record.id, asked.value)
            if asked.description is not None:
                record.description = asked.description
            if asked.hosts is not None:
                record.hosts = asked.hosts
            record.updated_at = datetime.now(UTC)
            await self._save(tenant, record)
        return record

    async def delete(self, tenant: str, ref: str) -> None:
        """Forget a secret.

        Raises:
            NotFound: The tenant has none such.
        """
        record = await self.get(tenant, ref)
        await self._store.delete(KIND, tenant, record.id)

    async def secrets_of(self, tenant: str, names: Iterable[str]) -> dict[str, tuple[str, tuple[str, ...]]]:
        """Name to value and hosts of these secrets (by name or id, as given).

        Raises:
            NotFound: The tenant has none of this name.
            Fault: The key does not open it.
        """
        found = {}
        for name in names:
            record = await self.get(tenant, name)
            found[name] = (self._open(tenant, record), tuple(record.hosts))
        return found

    async def _save(self, tenant: str, record: Record) -> None:
        body: dict[str, Any] = msgspec.to_builtins(record)
        await self._store.put(KIND, tenant, record.id, record.name, body)

    def _seal(self, tenant: str, number: str, value: str) -> str:
        return self._cipher().encrypt(msgspec.json.encode((tenant, number, value))).decode()

    def _open(self, tenant: str, record: Record) -> str:
        from cryptography.fernet import InvalidToken

        try:
            content = self._cipher().decrypt(record.sealed)
        except InvalidToken:
            raise Fault(
                f"secret {record.name} cannot be opened: {self._directory / KEY_FILE} is not the key it was sealed with"
            ) from None
        owner, number, value = msgspec.json.decode(content, type=tuple[str, str, str])
        if (owner, number) != (tenant, record.id):
            raise Fault(f"secret {record.name} was sealed for another tenant")
        return value

    def _cipher(self) -> "Fernet":
        if self._fernet is None:
            try:
                from cryptography.fernet import Fernet
            except ImportError:
                raise HTTPException(
                    501,
                    "secrets need cryptography, which this server cannot load: pip install 'tidepool[server]'",
                ) from None
            try:
                self._fernet = Fernet(_key(self._directory / KEY_FILE, Fernet.generate_key()))
            except (OSError, ValueError) as error:
                raise Fault(f"the key of the secrets cannot be read: {error}") from error
        return self._fernet


def _key(path: Path, new: bytes) -> bytes:
    """What is in the key's file; `new` is put there when there is none, and nobody ever sees half of it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        part = path.with_name(f"{path.name}.{secrets.token_hex(8)}.part")
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(new)
                file.flush()
                os.fsync(fd)
            os.link(part, path)
        except FileExistsError:
            pass  # another server was faster: its key is as good
        finally:
            os.unlink(part)
    return path.read_bytes().strip()
