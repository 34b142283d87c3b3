"""Layers end to end: a real engine, a real build sandbox, the real proxy, and an index of the test's own."""

import asyncio
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.egress.index import IndexServer, listen, make_wheel
from tidepool.engine import CodeRun, Command, Engine, EngineConfig, Sandbox, SandboxSpec, archive
from tidepool.engine.errors import DependencyFailed

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.skipif(os.geteuid() != 0, reason="sandboxes need root on this host so far"),
]


class Host:
    """An engine on a loop of its own, told of one index only."""

    def __init__(self, place: Path, index: IndexServer) -> None:
        self.index = index
        self.layers = place / "state/layers"
        self._place = place
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.engine = self._start()

    def _start(self) -> Engine:
        config = EngineConfig(self._place / "state", self._place / "run", pool_size=0, drop_root=False)
        return self.run(Engine.start(config))

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(50)

    def create(self, *dependencies: str, progress: Callable[[str], None] | None = None) -> Sandbox:
        return self.run(self.engine.create(SandboxSpec(dependencies=dependencies), progress))

    def names(self) -> set[str]:
        return set(os.listdir(self.layers))

    def restart(self) -> None:
        self.run(self.engine.close())
        self.engine = self._start()

    def close(self) -> None:
        self.run(self.engine.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    index = IndexServer(listen(socket.socket()))
    alpha, beta, broken = make_wheel("tp_alpha", "tp-beta>=1"), make_wheel("tp_beta"), make_wheel("tp_broken")
    index.add_wheel("tp-alpha", alpha.body, alpha.filename, alpha.metadata)
    index.add_wheel("tp-beta", beta.body, beta.filename)
    index.add_wheel("tp-broken", broken.body, broken.filename)
    index.paths[f"/files/{broken.filename}"].body = b"not what the index promised"
    settings = {"PIP_INDEX_URL": index.url, "PIP_CONFIG_FILE": os.devnull, "UV_NO_CONFIG": "1"}
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    place = Path(tempfile.mkdtemp(prefix="tidepool-layers-"))
    place.chmod(0o755)
    host = Host(place, index)
    try:
        yield host
    finally:
        host.close()
        index.close()
        shutil.rmtree(place)
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def value(host: Host, sandbox: Sandbox, code: str) -> str:
    result = host.run(sandbox.run_code(CodeRun(code)))
    assert result.exit_code == 0, result.stderr
    return result.stdout.decode().strip()


def test_dependencies_become_a_layer_that_the_next_sandbox_gets_for_nothing(host):
    said: list[str] = []
    sandbox = host.create("TP_Alpha", progress=said.append)
    assert (
        value(host, sandbox, "import tp_alpha, tp_beta; print(tp_alpha.VALUE, tp_beta.VALUE)")
        == "tp_alpha tp_beta"
    )
    assert value(host, sandbox, "import tp_alpha; print(tp_alpha.__file__)").startswith(
        "/usr/local/lib/python3"
    )
    assert said[0] == "resolving tp-alpha"
    (name,) = [name for name in host.names() if len(name) == 32]
    manifest = archive.load(host.layers / name)
    assert manifest.requirements == ("tp-alpha",)
    assert "tp-beta==1.0" in manifest.lock
    assert "tp_alpha" in manifest.modules
    compiled = [path for path in manifest.files if path.endswith(".pyc") and "tp_beta" in path]
    assert len(compiled) == 1, "nobody could compile it later: the layer is read-only"

    asked = len(host.index.seen)
    second = host.create("tp-alpha")
    assert value(host, second, "import tp_alpha; print(tp_alpha.VALUE)") == "tp_alpha"
    assert len(host.index.seen) == asked

    # What one sandbox writes there is its own.
    spoil = Command(
        shell="echo 'VALUE = 0' > $(python3 -c 'import tp_beta; print(tp_beta.__file__)'); echo $?"
    )
    host.run(sandbox.exec(spoil))
    assert value(host, second, "import tp_beta; print(tp_beta.VALUE)") == "tp_beta"
    assert archive.is_intact(host.layers / name, manifest)


def test_without_dependencies_nothing_of_them_is_there(host):
    sandbox = host.create()
    result = host.run(sandbox.run_code(CodeRun("import tp_alpha")))
    assert result.exit_code == 1
    assert b"ModuleNotFoundError" in result.stderr


def test_equal_wishes_at_the_same_time_are_one_build(host):
    said: list[str] = []

    async def three():
        wishes = (("tp-beta",), ("TP.beta",), (" tp_beta ",))
        return await asyncio.gather(
            *(host.engine.create(SandboxSpec(dependencies=wish), said.append) for wish in wishes)
        )

    sandboxes = host.run(three())
    assert len({sandbox.id for sandbox in sandboxes}) == 3
    assert said.count("resolving tp-beta") == 1
    assert not [name for name in host.names() if name.startswith(".")]


FAILURES = {"tp-nowhere": "tp-nowhere", "tp-alpha==9.9": "tp-alpha", "tp-broken": "tp-broken"}


@pytest.mark.parametrize("wish", FAILURES)
def test_a_build_that_fails_names_the_package_and_leaves_nothing(host, wish):
    before = host.names()
    with pytest.raises(DependencyFailed) as caught:
        host.create(wish)
    assert FAILURES[wish] in str(caught.value)
    assert host.names() == before
    assert host.engine.list("tidepool-layers") == []


def test_a_later_start_takes_what_is_intact_and_builds_the_rest_again(host):
    host.create("tp-beta")
    (name,) = [
        n for n in host.names() if len(n) == 32 and archive.load(host.layers / n).requirements == ("tp-beta",)
    ]
    host.restart()
    asked = len(host.index.seen)
    host.create("tp-beta")
    assert len(host.index.seen) == asked
    host.restart()
    next((host.layers / name).rglob("tp_beta.py")).write_text("VALUE = 'changed'\n")
    sandbox = host.create("tp-beta")
    assert value(host, sandbox, "import tp_beta; print(tp_beta.VALUE)") == "tp_beta"
