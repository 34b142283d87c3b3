"""Documents in both databases: one set of tests for SQLite and for a real PostgreSQL of this session's own."""

import asyncio
import glob
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from tests.server.client import Api, started
from tidepool.engine.errors import Conflict, InvalidSpec, Unavailable
from tidepool.server.store import STEPS, Store

pytestmark = [pytest.mark.thorough, pytest.mark.anyio]
_BIN = "/usr/lib/postgresql/*/bin"


class Cluster:
    """A PostgreSQL server of its own on a Unix socket in a directory of its own."""

    def __init__(self, binaries: str, place: Path) -> None:
        self._binaries, self.place = binaries, place
        self.url = f"postgresql://postgres@/postgres?host={place}"
        if os.geteuid() == 0:  # its programs refuse to run as root
            shutil.chown(place, "nobody")
            place.chmod(0o755)  # for a server that is somebody else again
        data = place / "data"
        self._run("initdb", "-A", "trust", "-U", "postgres", "-D", data, "--no-sync")
        options = f"-c listen_addresses= -c unix_socket_directories={place} -c fsync=off"
        self._run("pg_ctl", "-w", "-D", data, "-l", place / "log", "-o", options, "start")

    def _run(self, program: str, *arguments: object) -> None:
        command = [f"{self._binaries}/{program}", *map(str, arguments)]
        if os.geteuid() == 0:
            command = ["setpriv", "--reuid=nobody", "--clear-groups", *command]
        done = subprocess.run(command, cwd=self.place, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        assert done.returncode == 0, done.stderr.decode()

    def restart(self) -> None:
        """End every connection."""
        self._run(
            "pg_ctl", "-w", "-m", "fast", "-D", self.place / "data", "-l", self.place / "log", "restart"
        )

    def end(self) -> None:
        """Stop it and remove its files."""
        self._run("pg_ctl", "-w", "-m", "immediate", "-D", self.place / "data", "stop")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A PostgreSQL for this file."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    found = sorted(glob.glob(_BIN))
    if not found:
        pytest.skip("no PostgreSQL on this host: scripts/install --system installs it")
    with tempfile.TemporaryDirectory(prefix="tp-pg-") as place:
        started = Cluster(found[-1], Path(place))
        try:
            yield started
        finally:
            started.end()


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where an empty store can be opened."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/records/s.db"
    cluster: Cluster = request.getfixturevalue("cluster")
    name = f"db{time.monotonic_ns()}"
    psycopg = pytest.importorskip("psycopg")
    with psycopg.connect(cluster.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return cluster.url.replace("/postgres?", f"/{name}?")


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    """An empty one."""
    opened = await Store.open(url)
    yield opened
    await opened.close()


async def test_a_document_comes_back_by_id_and_by_name(store: Store) -> None:
    body = {"a": [1, 2.5, None, {"b": "ä\0\n"}], "who": "one"}
    await store.put("thing", "one", "1", "first", body)
    assert await store.get("thing", "one", "1") == body
    assert await store.get("thing", "one", "first") == body
    assert await store.get("thing", None, "1") == body
    assert await store.get("thing", None, "first") is None
    assert await store.get("thing", "one", "1\0") is None
    for kind, tenant, ref in [("other", "one", "1"), ("thing", "two", "1"), ("thing", "one", "2")]:
        assert await store.get(kind, tenant, ref) is None


async def test_an_id_goes_before_a_name(store: Store) -> None:
    await store.put("thing", "one", "1", "2", {"n": 1})
    await store.put("thing", "one", "2", "1", {"n": 2})
    assert await store.get("thing", "one", "1") == {"n": 1}
    assert await store.get("thing", "one", "2") == {"n": 2}


async def test_lists_are_in_order_of_creation_whatever_is_replaced(store: Store) -> None:
    for number in ("b", "a", "c"):
        await store.put("thing", "one", number, "", {"id": number})
    await store.put("thing", "two", "d", "", {"id": "d"})
    await store.put("thing", "one", "b", "named", {"id": "B"})
    assert await store.list("thing", "one") == [{"id": "B"}, {"id": "a"}, {"id": "c"}]
    assert [one["id"] for one in await store.list("thing", None)] == ["B", "a", "c", "d"]
    assert await store.list("other", None) == []


async def test_a_name_is_unique_for_its_kind_and_tenant(store: Store) -> None:
    await store.put("api_key", "one", "1", "ci", {})
    with pytest.raises(Conflict, match="Api key with name ci already exists"):
        await store.put("api_key", "one", "2", "ci", {})
    await store.put("api_key", "two", "2", "ci", {})
    await store.put("thing", "one", "2", "ci", {})
    await store.put("api_key", "one", "3", "", {})
    await store.put("api_key", "one", "4", "", {})
    with pytest.raises(Conflict):
        await store.put("api_key", "one", "3", "ci", {})
    assert len(await store.list("api_key", "one")) == 3


async def test_what_is_deleted_is_gone_once(store: Store) -> None:
    await store.put("thing", "one", "1", "x", {})
    assert not await store.delete("thing", "two", "1")
    assert await store.delete("thing", "one", "1")
    assert not await store.delete("thing", "one", "1")
    assert await store.get("thing", "one", "1") is None
    await store.put("thing", "one", "2", "x", {})


async def test_documents_outlive_the_store_that_took_them(url: str) -> None:
    first = await Store.open(url)
    await first.put("thing", "one", "1", "x", {"n": 1})
    second = await Store.open(url)  # at the same time
    await second.put("thing", "one", "2", "y", {"n": 2})
    assert await first.list("thing", "one") == [{"n": 1}, {"n": 2}]
    await first.close()
    await second.close()
    third = await Store.open(url)
    assert await third.list("thing", "one") == [{"n": 1}, {"n": 2}]
    await third.close()


async def test_many_at_once(store: Store) -> None:
    async def one(number: int) -> None:
        await store.put("thing", "one", str(number), "", {"n": number})

    await asyncio.gather(*(one(number) for number in range(50)))
    assert sorted(found["n"] for found in await store.list("thing", "one")) == list(range(50))


async def test_a_schema_of_a_newer_version_is_refused(url: str) -> None:
    opened = await Store.open(url)
    await opened._database.run("UPDATE tidepool_schema SET version = ?", (len(STEPS) + 1,))
    await opened.close()
    with pytest.raises(Unavailable, match=f"version {len(STEPS) + 1} of the schema"):
        await Store.open(url)


async def test_several_may_open_an_empty_one_at_once(url: str) -> None:
    opened = await asyncio.gather(*(Store.open(url) for _ in range(5)))
    for store in opened:
        await store.put("thing", "one", str(id(store)), "", {})
        await store.check()
    assert len(await opened[0].list("thing", "one")) == 5
    for store in opened:
        await store.close()


async def test_a_database_that_was_restarted_is_found_again(cluster: Cluster) -> None:
    opened = await Store.open(cluster.url)
    await opened.put("thing", "one", "1", "", {"n": 1})
    await asyncio.to_thread(cluster.restart)
    assert await opened.list("thing", "one") == [{"n": 1}]
    await opened.close()


async def test_a_database_that_is_not_there_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="cannot be opened"):
        await Store.open(f"sqlite:///{tmp_path}/file/s.db")
    (tmp_path / "text").write_text("no database at all, but long enough to be looked at" * 40)
    with pytest.raises(Unavailable, match="not a database"):
        await Store.open(f"sqlite:///{tmp_path}/text")
    with pytest.raises(InvalidSpec, match=r"not as mysql:"):
        await Store.open("mysql://user:word@host/x")
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    with pytest.raises(Unavailable) as refused:
        await Store.open(f"postgresql://someone:hidden-word@/x?host={tmp_path}")
    assert "hidden-word" not in str(refused.value)


async def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    opened = await Store.open(f"sqlite:///{tmp_path}/records/s.db")
    await opened.put("thing", "one", "1", "", {})
    files = [*(tmp_path / "records").iterdir()]
    assert len(files) == 3
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert (tmp_path / "records").stat().st_mode & 0o777 == 0o700
    await opened.close()


async def test_a_statement_is_short_enough_for_the_loops_own_thread(tmp_path: Path) -> None:
    opened = await Store.open(f"sqlite:///{tmp_path}/s.db")
    body: dict[str, Any] = {"text": "x" * 1000}
    taken = []
    for number in range(500):
        start = time.perf_counter()
        await opened.put("thing", "one", str(number % 100), "", body)
        await opened.get("thing", "one", str(number % 100))
        taken.append((time.perf_counter() - start) / 2)
    print(f"one statement: median {median(taken) * 1e3:.3f} ms, worst {max(taken) * 1e3:.3f} ms")
    assert median(taken) < 0.3e-3
    await opened.close()


async def test_a_process_that_is_killed_loses_nothing_it_was_told(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/s.db"
    program = (
        "import asyncio, os, signal\n"
        "from tidepool.server.store import Store\n"
        "async def main():\n"
        f"    store = await Store.open({url!r})\n"
        "    await store.put('thing', 'one', '1', '', {'n': 1})\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(main())\n"
    )
    done = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", program])
    assert done.returncode == -signal.SIGKILL
    opened = await Store.open(url)
    assert await opened.list("thing", "one") == [{"n": 1}]
    await opened.close()


@pytest.mark.needs("user_namespace", "overlayfs")
def test_a_server_keeps_its_records_in_postgres(cluster: Cluster) -> None:
    arguments = ("--port", "0", "--pool", "0", "--idle", "60")
    environment = {"TIDEPOOL_DATABASE_URL": cluster.url}
    with started(*arguments, environment=environment) as server:
        api = Api(server.url, "key")
        made = api.call("POST", "/api-keys", {"name": "kept", "permissions": []})
        assert made.status == 201, made.body
        api.close()
    with started(*arguments, environment=environment) as server:
        api = Api(server.url, made.json["value"])
        assert api.call("GET", "/api-keys/current").json["name"] == "kept"
        assert api.call("GET", "/health/ready").json["info"]["database"] == {"status": "up"}
        api.close()
