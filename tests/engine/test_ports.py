"""Connections into sandboxes and figures about them: what the server's previews and metrics stand on."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.security.conftest import EngineThread, own_engine
from tidepool.engine import Sandbox, SandboxSpec
from tidepool.engine.errors import InvalidSpec, NotFound, Unavailable, WrongState
from tidepool.engine.kernel import cgroups

pytestmark = pytest.mark.thorough

NEEDS = pytest.mark.needs("user_namespace", "overlayfs", "idmapped_mounts")
_LISTEN = (
    "import socket, sys\n"
    "s = socket.create_server((sys.argv[1], int(sys.argv[2])), family=int(sys.argv[3]))\n"
    "open('ready' + sys.argv[2], 'w').close()\n"
    "while True:\n    c, _ = s.accept(); c.sendall(c.recv(100).upper()); c.close()\n"
)


@pytest.fixture(scope="module")
def host() -> Iterator[EngineThread]:
    """An engine of this module's own."""
    with own_engine("tidepool-ports-") as thread:
        yield thread


@pytest.fixture(scope="module")
def box(host: EngineThread) -> Sandbox:
    """One sandbox with two listeners."""
    found = host.sandbox()
    host.run(found.files.write("listen.py", _LISTEN.encode()))
    for address, port, family in (("127.0.0.1", 8000, socket.AF_INET), ("::1", 8001, socket.AF_INET6)):
        host.shell(
            found,
            f"(python3 listen.py {address} {port} {int(family)} >/dev/null 2>&1 &); "
            f"until [ -e ready{port} ]; do sleep 0.02; done",
        )
    return found


async def said(box: Sandbox, port: int) -> bytes:
    reader, writer = await box.connect(port)
    try:
        writer.write(b"hello")
        return await reader.read()
    finally:
        writer.close()


@NEEDS
@pytest.mark.parametrize("port", [8000, 8001], ids=["ipv4", "ipv6"])
def test_a_connection_into_a_sandbox(host: EngineThread, box: Sandbox, port: int) -> None:
    assert host.run(said(box, port)) == b"HELLO"


@NEEDS
def test_nothing_of_the_host_or_of_another_sandbox_is_reached(host: EngineThread, box: Sandbox) -> None:
    other = host.sandbox()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for sandbox, port in ((box, listener.getsockname()[1]), (other, 8000), (other, 8001)):
            with pytest.raises(Unavailable, match=f"nothing listens on port {port}"):
                host.run(said(sandbox, port))
    for port in (0, -1, 65536):
        with pytest.raises(InvalidSpec):
            host.run(said(box, port))
    host.run(host.engine.delete(other))
    with pytest.raises(WrongState):
        host.run(said(other, 8000))


@NEEDS
@pytest.mark.slow
def test_a_listener_that_takes_no_connection_is_not_waited_for_long(host: EngineThread, box: Sandbox) -> None:
    script = (
        "import socket, time\ns = socket.socket(); s.bind(('127.0.0.1', 8002)); s.listen(0)\n"
        "held = [socket.socket() for _ in range(4)]\n"
        "for one in held: one.setblocking(False); one.connect_ex(('127.0.0.1', 8002))\n"
        "open('full', 'w').close(); time.sleep(60)\n"
    )
    host.run(box.files.write("full.py", script.encode()))
    host.shell(box, "(python3 full.py >/dev/null 2>&1 &); until [ -e full ]; do sleep 0.02; done")
    with pytest.raises(Unavailable):
        host.run(said(box, 8002), timeout_s=15)


@NEEDS
def test_whose_ever_it_is(host: EngineThread) -> None:
    sandbox = host.run(host.engine.create(SandboxSpec(tenant="somebody")))
    assert host.engine.find(sandbox.id) is sandbox
    assert host.engine.find(sandbox.name + "x") is None
    with pytest.raises(NotFound):
        host.engine.get(sandbox.id, "another")
    host.run(host.engine.delete(sandbox))
    assert host.engine.find(sandbox.id) is None


@NEEDS
def test_figures(host: EngineThread, box: Sandbox) -> None:
    total, free = host.run(box.files.space("."))
    assert 0 < free < total == box.spec.limits.disk_bytes
    with pytest.raises(NotFound):
        host.run(box.files.space("none"))
    before = host.run(box.usage())
    host.shell(box, "head -c 30000000 /dev/zero > big")
    after = host.run(box.usage())
    assert after.oom_kills == 0
    if before.memory_bytes is not None and after.memory_bytes is not None:
        assert after.memory_bytes - before.memory_bytes >= 25_000_000
    if before.cpu_ns is not None and after.cpu_ns is not None:
        assert 0 < after.cpu_ns - before.cpu_ns < 60 * 10**9


def test_counters_of_both_versions(tmp_path: Path) -> None:
    leaf = tmp_path / "leaf"
    leaf.mkdir()
    parents = dict.fromkeys(("memory", "cpu"), tmp_path)
    assert cgroups.Tree(2, parents).usage("leaf") == {}
    (leaf / "memory.current").write_text("300\n")
    (leaf / "memory.stat").write_text("anon 100\nfile 200\ntotal_cache 250\n")
    (leaf / "cpu.stat").write_text("usage_usec 7\nuser_usec 5\n")
    (leaf / "memory.usage_in_bytes").write_text("400\n")
    (leaf / "cpuacct.usage").write_text("9\n")
    assert cgroups.Tree(2, parents).usage("leaf") == {"memory_bytes": 300, "cache_bytes": 200, "cpu_ns": 7000}
    assert cgroups.Tree(1, parents).usage("leaf") == {"memory_bytes": 400, "cache_bytes": 250, "cpu_ns": 9}
    assert cgroups.Tree(1, {"memory": tmp_path}).usage("leaf") == {"memory_bytes": 400, "cache_bytes": 250}
    assert cgroups.Tree(1, {**parents, "cpuacct": tmp_path}).controllers == ("cpu", "memory")
