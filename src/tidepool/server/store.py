"""What outlives a server: documents by kind and tenant, in a SQLite file or in PostgreSQL.

Kinds and what is in a document are their users' business. An id, and a name where there is one, is unique among the
documents of one kind and tenant; a document that was put is there after the process has died.
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from tidepool.engine.errors import Conflict, InvalidSpec, Unavailable

if TYPE_CHECKING:
    from psycopg import AsyncConnection

SQLITE, POSTGRES = "sqlite:///", ("postgresql://", "postgres://")
BUSY_S = 5.0
"""How long a statement waits for another process that writes."""
CONNECT_S = 10
_UPGRADE_LOCK = 0x71DE

Rows = list[tuple[Any, ...]]

_ALL = """
CREATE TABLE tidepool_records (
    seq {serial},
    kind TEXT NOT NULL,
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    name TEXT,
    body TEXT NOT NULL,
    UNIQUE (kind, tenant, id),
    UNIQUE (kind, tenant, name)
)
"""
STEPS = (_ALL,)
"""What makes each version of the schema from the one before it; the first makes it from nothing."""

_PUT = """
INSERT INTO tidepool_records (kind, tenant, id, name, body) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (kind, tenant, id) DO UPDATE SET name = excluded.name, body = excluded.body
"""
_GET = """
SELECT body FROM tidepool_records WHERE kind = ? AND tenant = ? AND (id = ? OR name = ?)
ORDER BY CASE WHEN id = ? THEN 0 ELSE 1 END LIMIT 1
"""
_FIND = "SELECT body FROM tidepool_records WHERE kind = ? AND id = ? ORDER BY seq LIMIT 1"
_LIST = "SELECT body FROM tidepool_records WHERE kind = ? AND tenant = ? ORDER BY seq"
_LIST_ALL = "SELECT body FROM tidepool_records WHERE kind = ? ORDER BY seq"
_DELETE = "DELETE FROM tidepool_records WHERE kind = ? AND tenant = ? AND id = ? RETURNING id"


class _Taken(Exception):
    """A unique name is in use."""


class _Database(Protocol):
    serial: str
    """How a number that grows by itself is declared."""

    async def run(self, statement: str, values: tuple[Any, ...] = ()) -> Rows: ...

    def alone(self) -> contextlib.AbstractAsyncContextManager[None]: ...

    async def close(self) -> None: ...


class Store:
    """Documents: JSON objects that are found by id or name. Made by `open`."""

    def __init__(self, database: _Database) -> None:
        self._database = database

    @classmethod
    async def open(cls, url: str) -> "Store":
        """The store at `sqlite:////absolute/path` or `postgresql://...`; its tables are made or brought up to date.

        Raises:
            InvalidSpec: The URL names no database this server knows, or what it needs is not installed.
            Unavailable: It cannot be opened, or a newer version of this program has written it.
        """
        if url.startswith(SQLITE):
            database: _Database = _Sqlite(Path(url.removeprefix(SQLITE)))
        elif url.startswith(POSTGRES):
            database = await _Postgres.connect(url)
        else:
            scheme = url.partition(":")[0][:20]
            raise InvalidSpec(f"a database is given as sqlite:////path or postgresql://..., not as {scheme}:")
        try:
            await _upgrade(database)
        except BaseException:
            await database.close()
            raise
        return cls(database)

    async def put(self, kind: str, tenant: str, id: str, name: str, body: dict[str, Any]) -> None:
        """Insert a document, or replace the one with this id; its place in `list` stays.

        Args:
            kind: Such as "volume".
            tenant: Whose it is.
            id: Its own.
            name: Another way to find it; empty: none.
            body: All that `get` and `list` give back; anything msgspec can write as JSON.

        Raises:
            Conflict: Another document of that kind and tenant has the name.
        """
        text = msgspec.json.encode(body).decode()
        try:
            await self._database.run(_PUT, (kind, tenant, id, name or None, text))
        except _Taken:
            raise Conflict(f"{_called(kind)} with name {name} already exists") from None

    async def get(self, kind: str, tenant: str | None, ref: str) -> dict[str, Any] | None:
        """The document with this id, else the one with this name; with tenant None anybody's, by id only."""
        if "\0" in ref:  # PostgreSQL has no text with it
            return None
        if tenant is None:
            rows = await self._database.run(_FIND, (kind, ref))
        else:
            rows = await self._database.run(_GET, (kind, tenant, ref, ref, ref))
        return _document(rows[0]) if rows else None

    async def list(self, kind: str, tenant: str | None) -> list[dict[str, Any]]:
        """Documents in the order in which they were first put; with tenant None everybody's."""
        if tenant is None:
            rows = await self._database.run(_LIST_ALL, (kind,))
        else:
            rows = await self._database.run(_LIST, (kind, tenant))
        return [_document(row) for row in rows]

    async def delete(self, kind: str, tenant: str, id: str) -> bool:
        """Forget a document; whether there was one with this id."""
        return bool(await self._database.run(_DELETE, (kind, tenant, id)))

    async def check(self) -> None:
        """Ask the database for something.

        Raises:
            Unavailable: It does not answer.
        """
        await self._database.run("SELECT 1")

    async def close(self) -> None:
        """Give the database up."""
        await self._database.close()


def _document(row: tuple[Any, ...]) -> dict[str, Any]:
    return msgspec.json.decode(row[0], type=dict[str, Any])


def _called(kind: str) -> str:
    return kind.replace("_", " ").capitalize()


async def _upgrade(database: _Database) -> None:
    async with database.alone():
        await database.run("CREATE TABLE IF NOT EXISTS tidepool_schema (version INTEGER NOT NULL)")
        version = await _version(database)
        if version > len(STEPS):
            raise Unavailable(
                f"the database has version {version} of the schema, this server knows {len(STEPS)}; use a newer one"
            )
        for step in STEPS[version:]:
            await database.run(step.format(serial=database.serial))
        await database.run("DELETE FROM tidepool_schema")
        await database.run("INSERT INTO tidepool_schema (version) VALUES (?)", (len(STEPS),))


async def _version(database: _Database) -> int:
    rows = await database.run("SELECT version FROM tidepool_schema")
    return int(rows[0][0]) if rows else 0


class _Sqlite:
    """One connection, used on the loop's own thread: a statement takes some tens of microseconds (see the tests)."""

    serial = "INTEGER PRIMARY KEY AUTOINCREMENT"

    def __init__(self, path: Path) -> None:
        with self._said(f"{path} cannot be opened"):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
            path.chmod(0o600)
            self._connection.execute("PRAGMA journal_mode = WAL").fetchall()
            self._connection.execute("PRAGMA synchronous = NORMAL")

    async def run(self, statement: str, values: tuple[Any, ...] = ()) -> Rows:
        with self._said("a statement failed"):
            return self._connection.execute(statement, values).fetchall()

    @contextlib.asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        await self.run("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            await self.run("ROLLBACK")
            raise
        await self.run("COMMIT")

    async def close(self) -> None:
        self._connection.close()

    @staticmethod
    @contextlib.contextmanager
    def _said(what: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.IntegrityError as error:
            raise _Taken from error
        except (sqlite3.Error, OSError) as error:
            raise Unavailable(f"the database: {what}: {error}") from error


class _Postgres:
    """One connection, one statement at a time; a connection that was lost is made again.

    A statement whose answer was lost with the connection is sent once more: each of ours may be done twice.
    """

    serial = "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"

    def __init__(self, url: str) -> None:
        self._url = url
        self._turn = asyncio.Lock()
        self._connection: AsyncConnection[tuple[Any, ...]] | None = None

    @classmethod
    async def connect(cls, url: str) -> "_Postgres":
        """Connected to `url`."""
        try:
            import psycopg  # noqa: F401 (asked for here, so that its absence is said at the start)
        except ImportError:
            raise InvalidSpec(
                "a PostgreSQL database needs psycopg, which is not installed: pip install 'tidepool[server]'"
            ) from None
        made = cls(url)
        await made.run("SELECT 1")
        return made

    async def run(self, statement: str, values: tuple[Any, ...] = ()) -> Rows:
        import psycopg

        async with self._turn:
            is_new = self._connection is None
            try:
                return await self._once(statement, values)
            except psycopg.errors.UniqueViolation as error:
                raise _Taken from error
            except psycopg.Error as error:
                await self._drop_if_lost()
                if is_new or self._connection is not None:
                    raise _unavailable(error) from error
            try:
                return await self._once(statement, values)
            except psycopg.Error as error:
                await self._drop_if_lost()
                raise _unavailable(error) from error

    async def _once(self, statement: str, values: tuple[Any, ...]) -> Rows:
        import psycopg

        if self._connection is None:
            self._connection = await psycopg.AsyncConnection.connect(
                self._url, autocommit=True, connect_timeout=CONNECT_S
            )
        cursor = await self._connection.execute(statement.replace("?", "%s").encode(), values)
        return await cursor.fetchall() if cursor.description else []

    async def _drop_if_lost(self) -> None:
        if self._connection is not None and self._connection.broken:
            await self._connection.close()
            self._connection = None

    @contextlib.asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        assert self._connection is not None
        async with self._connection.transaction():
            await self.run("SELECT pg_advisory_xact_lock(?)", (_UPGRADE_LOCK,))
            yield

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()
            self._connection = None


def _unavailable(error: Exception) -> Unavailable:
    return Unavailable(f"the database does not answer: {str(error).strip() or type(error).__name__}")
