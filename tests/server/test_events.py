"""Events over socket.io, with the library that official clients use; and what becomes of those who show no key."""

import asyncio
import json
import sys
import time
from typing import Any

import pytest

from tests.conftest import Server
from tests.server.client import Api
from tests.server.tenants import KEYS, TwoTenants
from tidepool.server import events

socketio = pytest.importorskip("socketio", reason="python-socketio is not installed")
pytest.importorskip("aiohttp", reason="aiohttp, which its client needs, is not installed")
pytestmark = [pytest.mark.anyio, pytest.mark.needs("user_namespace", "overlayfs")]
ONE, OTHER = KEYS


class Listener:
    """A client as the official ones make it; a context manager."""

    def __init__(self, two: TwoTenants, key: str | None, **headers: str) -> None:
        self._url = two.url.removesuffix("/api")
        self._key, self._headers = key, headers
        self.client = socketio.AsyncClient(reconnection=False)
        self.heard: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        self.client.on("*", self._hear)

    async def _hear(self, name: str, data: Any) -> None:
        await self.heard.put((name, data))

    async def __aenter__(self) -> "Listener":
        auth = {"token": self._key} if self._key is not None else None
        await self.client.connect(
            f"{self._url}?source=sdk-python&sdkVersion=0.226.1",
            headers=self._headers,
            auth=auth,
            transports=["websocket"],
            socketio_path="/api/socket.io",
            wait_timeout=5,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.disconnect()
        await asyncio.sleep(0)


async def emit(two: TwoTenants, tenant: str, name: str, data: Any) -> None:
    """As the server does it, on its own loop."""

    async def there() -> None:
        two.events.emit(tenant, name, data)

    await asyncio.to_thread(two.run, there())


async def test_an_event_reaches_its_tenant_and_nobody_else(two: TwoTenants) -> None:
    async with Listener(two, ONE) as one, Listener(two, OTHER) as other:
        for number in range(20):
            await emit(two, "one", "sandbox.state.updated", {"sandbox": {"id": number}})
        await emit(two, "two", "sandbox.created", {"id": "x"})
        found = [await asyncio.wait_for(one.heard.get(), 5) for _ in range(20)]
        assert found == [("sandbox.state.updated", {"sandbox": {"id": number}}) for number in range(20)]
        assert await asyncio.wait_for(other.heard.get(), 5) == ("sandbox.created", {"id": "x"})
        assert one.heard.empty()


async def test_an_event_can_name_the_url_of_each_listener(two: TwoTenants) -> None:
    async with Listener(two, ONE) as one:
        await emit(two, "one", "sandbox.created", lambda url: {"toolboxProxyUrl": url})
        url = two.url.replace("/api", "/toolbox")
        assert await asyncio.wait_for(one.heard.get(), 5) == ("sandbox.created", {"toolboxProxyUrl": url})


async def test_a_key_in_the_header_will_do(two: TwoTenants) -> None:
    async with Listener(two, None, Authorization=f"Bearer {ONE}") as one:
        await emit(two, "one", "x", {})
        assert await asyncio.wait_for(one.heard.get(), 5) == ("x", {})


@pytest.mark.parametrize("key", [None, "", "wrong", "key-of-one "])
async def test_without_a_key_nobody_listens(two: TwoTenants, key: str | None) -> None:
    listener = Listener(two, key)
    with pytest.raises(socketio.exceptions.ConnectionError):
        async with listener:
            pass
    assert not two.events._listeners
    await listener.client.disconnect()


async def test_a_page_of_another_origin_is_refused(two: TwoTenants) -> None:
    listener = Listener(two, ONE, Origin="http://evil.example")
    with pytest.raises(socketio.exceptions.ConnectionError):
        async with listener:
            pass
    await listener.client.disconnect()


@pytest.mark.thorough
async def test_a_deleted_key_hears_nothing_more(two: TwoTenants) -> None:
    api = Api(two.url, ONE)
    value = api.call("POST", "/api-keys", {"name": "ears", "permissions": []}).json["value"]
    async with Listener(two, value) as one:
        await emit(two, "one", "x", {"n": 1})
        assert await asyncio.wait_for(one.heard.get(), 5) == ("x", {"n": 1})
        assert api.call("DELETE", "/api-keys/ears").status == 204
        await emit(two, "one", "x", {"n": 2})
        await asyncio.wait_for(one.client.wait(), 5)
        assert one.heard.empty()
    api.close()


async def test_who_shows_nothing_is_sent_away(two: TwoTenants, monkeypatch: pytest.MonkeyPatch) -> None:
    import aiohttp

    monkeypatch.setattr(events, "FIRST_MESSAGE_S", 0.5)
    url = two.url.replace("http", "ws") + "/socket.io/?transport=websocket&EIO=4"
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        opened = await socket.receive(timeout=5)
        assert json.loads(opened.data[1:])["pingInterval"] == 25000
        start = time.monotonic()
        while not socket.closed:
            await socket.receive(timeout=5)
        assert time.monotonic() - start < 4


async def test_a_listener_that_leaves_is_forgotten(two: TwoTenants) -> None:
    async with Listener(two, ONE):
        assert len(two.events._listeners) == 1
    for _ in range(100):
        if not two.events._listeners:
            break
        await asyncio.sleep(0.02)
    assert not two.events._listeners


async def test_other_transports_are_refused_at_once(two: TwoTenants) -> None:
    api = Api(two.url, ONE)
    assert api.call("GET", "/socket.io/", transport="polling", EIO="4").status == 400
    api.close()


async def test_without_the_library_every_attempt_is_answered_at_once(
    two: TwoTenants, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "socketio", None)
    monkeypatch.setattr(two.events, "_server", None)
    listener, start = Listener(two, ONE), time.monotonic()
    with pytest.raises(socketio.exceptions.ConnectionError):
        async with listener:
            pass
    assert time.monotonic() - start < 1
    await listener.client.disconnect()
    api = Api(two.url, ONE)
    assert api.call("GET", "/socket.io/").status == 404
    api.close()


async def test_a_server_that_gave_root_up_tells_its_clients_too(server: Server) -> None:
    client, heard = socketio.AsyncClient(reconnection=False), asyncio.Queue[Any]()
    client.on("sandbox.state.updated", heard.put)
    url, api = server.url.removesuffix("/api"), Api(server.url, server.key)
    await client.connect(
        url,
        auth={"token": server.key},
        transports=["websocket"],
        socketio_path="/api/socket.io",
        wait_timeout=5,
    )
    made = await asyncio.to_thread(api.call, "POST", "/sandbox", {"networkBlockAll": True})
    number = made.json["id"]
    assert (await asyncio.to_thread(api.call, "DELETE", f"/sandbox/{number}")).status == 200
    states = []
    while "destroyed" not in states:
        told = await asyncio.wait_for(heard.get(), 10)
        if told["sandbox"]["id"] == number:
            assert told["sandbox"]["toolboxProxyUrl"] == f"{url}/toolbox"
            states.append(told["newState"])
    await client.disconnect()
    await asyncio.sleep(0)
    api.close()
