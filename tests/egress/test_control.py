"""The control socket between engine and egress: both real ends, and what a broken engine might send."""

import asyncio
import json
import os
import socket

import pytest

from tidepool.engine.egress import Egress
from tidepool.engine.errors import SetupFailed
from tidepool.engine.guest import syscalls
from tidepool.engine.spec import SandboxSpec

pytestmark = pytest.mark.thorough

NOBODY = 65534
PACKAGES = SandboxSpec(network="packages")


def _listener() -> socket.socket:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(8)
    return sock


def test_the_engines_end_and_this_end_understand_each_other(egress, index):
    async def scenario():
        control = Egress(egress.control.dup())
        with _listener() as listener:
            assert await control.serve("s-1", listener, PACKAGES) is None
            with pytest.raises(SetupFailed, match="already served"):
                await control.serve("s-1", listener, PACKAGES)
        stats = await control.stats()
        assert (stats["sandboxes"], stats["indexes"], stats["ignored"]) == (1, [index.url], [])
        assert len(await control.identity()) == 64
        await control.stop("s-1")
        await control.stop("s-1")
        assert (await control.stats())["sandboxes"] == 0
        await control.close()

    asyncio.run(scenario())


def test_a_cancelled_caller_does_not_mix_up_answers(egress):
    async def scenario():
        control = Egress(egress.control.dup())
        with _listener() as listener:
            serving = asyncio.create_task(control.serve("s-1", listener, PACKAGES))
            await asyncio.sleep(0)
            serving.cancel()
        answers = await asyncio.gather(control.stats(), control.stop("s-1"), control.stats())
        assert [answer and answer["sandboxes"] for answer in answers] == [1, None, 0]
        await control.close()

    asyncio.run(scenario())


def test_launched_by_the_engine_it_reads_this_hosts_settings_and_drops_root(tmp_path, index, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", index.url.replace("://", "://user:hunter2@"))
    monkeypatch.setenv("UV_NO_CONFIG", "1")

    async def scenario():
        egress = Egress.launch(tmp_path, NOBODY)
        with _listener() as listener:
            await egress.serve("s-1", listener, PACKAGES)
            stats = await egress.stats()
            assert index.url in stats["indexes"]
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            writer.write(b"GET /simple/tp-alpha/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert b"HTTP/1.1 200" in await reader.read()
            writer.close()
        await egress.close()

    asyncio.run(scenario())
    (headers,) = index.asked("/simple/tp-alpha/")
    assert headers["authorization"] == "Basic dXNlcjpodW50ZXIy"
    lines = [json.loads(line) for line in (tmp_path / "egress.log").read_text().splitlines()]
    assert [line["verdict"] for line in lines] == ["served"]


def test_closing_cuts_what_is_open_and_frees_the_port(egress, sandbox):
    idle = sandbox.connect()
    idle.sendall(b"GET /simple/tp-alpha/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert idle.recv(65536).startswith(b"HTTP/1.1 200")  # small enough to come in one piece
    assert egress.ask({"op": "stats"})["connections"] == 1
    assert egress.ask({"op": "close", "id": sandbox.id}) == {"ok": True, "served": True}
    assert idle.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        sandbox.connect()
    assert egress.ask({"op": "stats"})["connections"] == 0
    idle.close()


def test_policy_none_answers_with_a_sentence(egress, index):
    with _listener() as listener:
        egress.serve("s-none", listener, policy="none")
        with socket.create_connection(listener.getsockname()) as sock:
            sock.sendall(b"GET /simple/tp-alpha/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answer = sock.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 403")
    assert b"its policy is none." in answer
    assert index.seen == []


BAD_FRAMES = {
    "no JSON": b"\xff\xfe",
    "no object": b"[]",
    "unknown op": b'{"op": "run"}',
    "unknown member": b'{"op": "close", "id": "a", "force": true}',
    "no id": b'{"op": "close"}',
    "id with a slash": b'{"op": "close", "id": "../a"}',
    "id of the wrong type": b'{"op": "close", "id": 7}',
    "id too long": b'{"op": "close", "id": "' + b"a" * 65 + b'"}',
    "unknown policy": b'{"op": "serve", "id": "a", "policy": "all"}',
    "empty policy": b'{"op": "serve", "id": "a", "policy": ""}',
    "serve without a socket": b'{"op": "serve", "id": "a", "policy": "packages"}',
    "longer than a frame": b'{"op": "stats"}' + b" " * 70_000,
}


@pytest.mark.parametrize("name", BAD_FRAMES)
def test_bad_frames_change_nothing_and_the_next_one_is_served(name, egress):
    assert egress.ask(BAD_FRAMES[name])["ok"] is False
    assert egress.ask({"op": "stats"})["sandboxes"] == 0


def test_file_descriptors_that_are_no_listening_sockets_are_refused_and_closed(egress):
    frame = {"op": "serve", "id": "a", "policy": "packages"}
    egress.ask({"op": "stats"})  # it has started
    before = _open_fds(egress.process.pid)
    read, write = os.pipe()
    with _listener() as good, socket.socket() as idle, socket.socket(type=socket.SOCK_DGRAM) as datagram:
        with socket.socket(socket.AF_UNIX) as local:
            for bad in (
                [read],
                [idle.fileno()],
                [datagram.fileno()],
                [local.fileno()],
                [good.fileno()] * 2,
                [read] * 9,
            ):
                assert egress.ask(frame, bad)["ok"] is False
        assert egress.ask({"op": "stats"}, [read])["ok"] is False
    os.close(read)
    os.close(write)
    assert egress.ask({"op": "stats"})["sandboxes"] == 0
    assert _open_fds(egress.process.pid) == before


def test_the_process_ends_when_the_engine_hangs_up(egress, sandbox):
    with sandbox.connect() as connection:
        connection.sendall(b"GET /simple/tp-alpha/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        assert egress.close() == 0
        assert connection.recv(1) == b""
    assert b"Traceback" not in egress.log_path.read_bytes()


def test_the_engine_is_told_when_the_process_is_gone(egress):
    async def scenario():
        control = Egress(egress.control.dup())
        egress.process.kill()
        egress.process.wait()
        with pytest.raises(SetupFailed, match="egress: stats"):
            await control.stats()
        with pytest.raises(SetupFailed), _listener() as listener:
            await control.serve("a", listener, PACKAGES)
        await control.stop("a")  # nothing is left that could serve it

    asyncio.run(scenario())


def test_the_process_has_no_privileges(egress):
    egress.ask({"op": "stats"})
    with open(f"/proc/{egress.process.pid}/status") as file:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    assert "0" not in status["Uid"].split() + status["Gid"].split()
    assert status["CapEff"] == status["CapPrm"] == status["CapAmb"] == "0" * 16
    if os.geteuid() == 0:
        assert status["Groups"].strip() == ""


def _open_fds(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def test_answers_are_plain_json(egress):
    socket.send_fds(egress.control, [b'{"op": "stats"}'], [])
    assert json.loads(egress.control.recv(65536))["ok"] is True


def _without_names() -> None:
    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.mount("", "/", "", syscalls.MS_REC | syscalls.MS_PRIVATE)
    for name in ("hosts", "resolv.conf"):
        syscalls.mount("/dev/null", f"/etc/{name}", "", syscalls.MS_BIND)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can hide files of the host's from a process")
def test_a_host_on_which_no_name_is_known_is_served_too(start_egress):
    assert start_egress(enter=_without_names).ask({"op": "stats"})["ok"] is True
