"""What sandboxes are made from: snapshots of sandboxes, images built for one, and what stays when a server ends."""

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.security.conftest import EngineThread
from tidepool.engine import Command, SandboxSpec
from tidepool.engine.errors import Conflict, InvalidSpec, NotFound, WrongState
from tidepool.images.errors import BadDockerfile
from tidepool.server import snapshots as model
from tidepool.server.config import ServerConfig
from tidepool.server.objects import Objects
from tidepool.server.snapshots import ImageRef, Snapshots
from tidepool.server.store import Store
from tidepool.wire.sandbox import CreateSandbox
from tidepool.wire.snapshots import CreateBuildInfo, CreateSnapshot

pytestmark = [pytest.mark.thorough, pytest.mark.needs("user_namespace", "overlayfs", "idmapped_mounts")]


@dataclass
class Shop:
    """An engine, and one server's snapshots after another's."""

    host: EngineThread
    config: ServerConfig
    store: Store
    snapshots: Snapshots

    def open(self) -> None:
        """As a server does when it starts."""
        objects = Objects.open(self.config.records_dir)
        self.snapshots = self.host.run(
            Snapshots.open(self.host.engine, self.store, self.config, objects.paths)
        )

    def image(self, tenant: str = "a", **fields: Any) -> ImageRef:
        """What a create request's sandbox is to be made from."""
        return self.host.run(self.snapshots.image_for(CreateSandbox(**fields), tenant), 60)

    def run(self, ref: ImageRef, shell: str) -> str:
        """What a command says in a sandbox made from it."""
        spec = SandboxSpec(image=ref.image, env=ref.env, ephemeral=True)
        if ref.work_dir:
            spec = replace(spec, work_dir=ref.work_dir)
        sandbox = self.host.run(self.host.engine.create(spec))
        try:
            return self.host.run(sandbox.exec(Command(shell=shell, timeout_s=20))).output.decode().strip()
        finally:
            self.host.run(self.host.engine.delete(sandbox))


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    place = Path(tempfile.mkdtemp(prefix="tidepool-snapshots-"))
    place.chmod(0o755)
    host = EngineThread(place / "state", place / "run")
    try:
        config = ServerConfig(place / "state", place / "run")
        config.records_dir.mkdir(mode=0o700)
        store = host.run(Store.open(config.database_url))
        found = Shop(host, config, store, None)  # type: ignore[arg-type]
        found.open()
        yield found
        host.run(found.snapshots.close())
        host.run(store.close())
    finally:
        host.close()
        shutil.rmtree(place)


def test_without_a_name_it_is_the_local_base(shop: Shop) -> None:
    assert shop.image() == shop.image(snapshot="default") == shop.image(snapshot="") == ImageRef()


def test_a_dockerfile_for_one_sandbox(shop: Shop) -> None:
    lines: list[str] = []
    text = 'FROM debian\nENV A=1\nWORKDIR /opt/w\nRUN echo made > f\nUSER root\nENTRYPOINT ["run"]\n'
    request = CreateSandbox(build_info={"dockerfileContent": text})
    ref = shop.host.run(shop.snapshots.image_for(request, "a", lines.append), 60)
    assert (ref.env, ref.work_dir, ref.user, ref.entrypoint) == ({"A": "1"}, "/opt/w", "root", ("run",))
    assert shop.run(ref, "pwd; cat f; echo $A").split() == ["/opt/w", "made", "1"]
    assert any("local base" in line for line in lines)
    shop.snapshots.remember("a-sandbox", ref.build)
    assert shop.snapshots.build_of("a-sandbox") == ref.build
    with pytest.raises(NotFound):
        shop.snapshots.build_of("another")
    plain = shop.image(build_info={"dockerfileContent": "FROM python:3.12\n"})
    assert (plain.image, plain.snapshot) == ("", "default")


def test_a_build_goes_on_when_nobody_waits_and_its_log_can_be_read(shop: Shop) -> None:
    async def log() -> list[bytes]:
        building = shop.snapshots.build({"dockerfileContent": "FROM debian\nRUN sleep 0.3; echo end\n"}, "a")
        waiting = asyncio.ensure_future(shop.snapshots.image_of(building))
        await asyncio.sleep(0.05)
        waiting.cancel()
        found = [piece async for piece in shop.snapshots.logs.read(building.id, follow=True)]
        await building.task
        return found

    assert b"\nend\n" in b"".join(shop.host.run(log()))


def test_a_snapshot_of_a_sandbox_outlives_it_and_the_server(shop: Shop) -> None:
    sandbox = shop.host.run(shop.host.engine.create(SandboxSpec(tenant="a")))
    shop.host.run(sandbox.files.write("kept.txt", b"kept"))
    made = shop.host.run(shop.snapshots.of_sandbox(sandbox, "of-one", "a"))
    assert (made.state, made.source_sandbox_id) == ("active", sandbox.id)
    with pytest.raises(Conflict):
        shop.host.run(shop.snapshots.of_sandbox(sandbox, "of-one", "a"))
    shop.host.run(shop.host.engine.delete(sandbox))
    shop.host.run(shop.snapshots.close())
    shop.open()
    ref = shop.image(snapshot="of-one")
    assert (ref.snapshot, shop.run(ref, "cat kept.txt")) == ("of-one", "kept")
    built = shop.image(
        build_info={"dockerfileContent": "FROM of-one\nRUN cat /home/daytona/kept.txt > /opt/k\n"}
    )
    assert shop.run(built, "cat /opt/k") == "kept"
    assert shop.host.run(shop.snapshots.get("of-one", "a")).last_used_at is not None
    with pytest.raises(InvalidSpec, match="Snapshot of-one not found"):
        shop.image("b", snapshot="of-one")
    shop.host.run(shop.snapshots.remove("of-one", "a"))
    assert ref.image not in shop.host.run(shop.host.engine.stored("images"))


@pytest.mark.slow  # the engine looks every five seconds
def test_an_image_in_use_goes_when_its_sandbox_has_gone(shop: Shop) -> None:
    first = shop.host.run(shop.host.engine.create(SandboxSpec(tenant="a")))
    made = shop.host.run(shop.snapshots.of_sandbox(first, "used", "a"))
    user = shop.host.run(shop.host.engine.create(SandboxSpec(tenant="a", image=made.image)))
    shop.host.run(shop.snapshots.remove("used", "a"))
    assert made.image in shop.host.run(shop.host.engine.stored("images"))
    for sandbox in (first, user):
        shop.host.run(shop.host.engine.delete(sandbox))
    for (
        entry
    ) in shop.host.engine._entries.values():  # tombstones are kept for a while: their time is over now
        entry.gone_at = (entry.gone_at or 0.0) - 100
    shop.host.run(asyncio.sleep(5.5))
    shop.host.run(shop.snapshots._prune())
    assert made.image not in shop.host.run(shop.host.engine.stored("images"))


def test_built_images_are_kept_for_a_day_after_their_last_use(shop: Shop) -> None:
    ref = shop.image(build_info={"dockerfileContent": "FROM debian\nRUN echo day > /opt/day\n"})
    shop.host.run(shop.snapshots._prune())
    assert ref.image in shop.host.run(shop.host.engine.stored("images"))
    used = shop.config.records_dir / "images" / "used" / ref.image
    old = time.time() - model.CACHE_S - 1
    os.utime(used, (old, old))
    shop.host.run(shop.snapshots._prune())
    assert ref.image not in shop.host.run(shop.host.engine.stored("images"))
    assert not used.exists()


def test_what_a_server_left_unfinished_is_failed_when_the_next_one_starts(shop: Shop) -> None:
    asked = CreateSnapshot(
        name="unfinished", build_info=CreateBuildInfo(dockerfile_content="FROM debian\nRUN sleep 300\n")
    )
    made = shop.host.run(shop.snapshots.create(asked, "a"))
    assert made.state == "building"
    with pytest.raises(WrongState, match="building"):
        shop.host.run(shop.snapshots.remove("unfinished", "a"))
    with pytest.raises(InvalidSpec, match="only active"):
        shop.image(snapshot="unfinished")
    body = shop.host.run(shop.store.get(model.KIND, "a", made.id))
    shop.host.run(shop.snapshots.close())
    assert shop.host.engine.alive == 0
    assert body is not None
    shop.host.run(
        shop.store.put(model.KIND, "a", made.id, made.name, body)
    )  # as a server that crashed leaves it
    shop.open()
    found = shop.host.run(shop.snapshots.get("unfinished", "a"))
    assert (found.state, found.error_reason) == ("error", "the server ended while it was made")


@pytest.mark.parametrize(
    ("info", "error"),
    [
        ({}, InvalidSpec),
        ({"dockerfileContent": 1}, InvalidSpec),
        ({"dockerfileContent": "FROM debian", "contextHashes": ["x"]}, InvalidSpec),
        ({"dockerfileContent": "x" * (2 << 20)}, InvalidSpec),
        ({"dockerfileContent": "RUN x"}, BadDockerfile),
    ],
)
def test_what_cannot_be_built_is_said(shop: Shop, info: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        shop.image(build_info={"unknown": 1, **info})
