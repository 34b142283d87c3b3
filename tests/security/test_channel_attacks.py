"""Attacks on the sockets between sandbox and host, by zygotes and inits that speak for themselves (probes 89 to 92).

A package that was preloaded runs in the zygote and may replace what every init does; nothing it says may end, block or
fill the spawner or the engine, and whoever breaks the protocol is killed. Each test ends with a sandbox of somebody
else that is made and used as fast as ever.
"""

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Iterator

import pytest

from tests.security import hostile
from tests.security.conftest import EngineThread
from tests.tiers import thorough_after
from tidepool.engine import Sandbox, SandboxSpec, State
from tidepool.engine.errors import Fault, InvalidSpec, SetupFailed

pytestmark = pytest.mark.needs("user_namespace", "overlayfs", "idmapped_mounts")

PROMPT_S = 5.0
MIB = 1 << 20

ON_FORK = """
def fork(self, message, fds):
    sock, slot = self._control, message["slot"]
    {}
Zygote._fork = fork
"""
AT_IMPORT = """
sock = socket.socket(fileno=os.dup(3))
{}
time.sleep(60)
"""
ZYGOTES = {
    "89-no-json": ON_FORK.format('sock.send(b"{")'),
    "89-not-an-object": ON_FORK.format('sock.send(b"[1]")'),
    "89-nobody-s-slot": ON_FORK.format('sock.send(b\'{"ev":"failed","slot":999999,"why":""}\')'),
    "89-slot-of-a-wrong-kind": ON_FORK.format('sock.send(b\'{"ev":"failed","slot":[1],"why":""}\')'),
    "89-half-a-character": ON_FORK.format(
        'sock.send(b\'{"ev":"failed","slot":%d,"why":"\\\\ud800"}\' % slot)'
    ),
    "89-why-is-no-text": ON_FORK.format('sock.send(b\'{"ev":"failed","slot":%d,"why":{}}\' % slot)'),
    "89-huge-number": ON_FORK.format('sock.send(b\'{"ev":"failed","slot":\' + b"9" * 5000 + b"}")'),
    "89-deep": ON_FORK.format('sock.send(b\'{"ev":"failed","slot":\' + b"[" * 60000)'),
    "89-ready-twice": ON_FORK.format('sock.send(b\'{"ev":"ready","loaded":1,"failed":{},"refused":""}\')'),
    "90-fork-without-pidfd": ON_FORK.format('sock.send(b\'{"ev":"forked","slot":%d}\' % slot)'),
    "90-file-for-a-pidfd": ON_FORK.format(
        'sock.sendmsg([b\'{"ev":"forked","slot":%d}\' % slot], rights(os.open("/etc/passwd", os.O_RDONLY)))'
    ),
    "90-pipe-for-a-pidfd": ON_FORK.format(
        'a, b = os.pipe(); os.write(b, b"x"); sock.sendmsg([b\'{"ev":"forked","slot":%d}\' % slot], rights(a))'
    ),
    "90-epoll-of-itself": ON_FORK.format(
        "a = select.epoll(); b = select.epoll(); a.register(b); "
        'sock.sendmsg([b\'{"ev":"forked","slot":%d}\' % slot], rights(a.fileno()))'
    ),
    "90-many": ON_FORK.format(
        'sock.sendmsg([b\'{"ev":"forked","slot":%d}\' % slot], rights(*[os.pidfd_open(os.getpid())] * 200))'
    ),
    "90-lingering": ON_FORK.format(
        's, l = lingering(); sock.sendmsg([b"{}"], rights(s.fileno())); sock.sendmsg([b"{}"], rights(s.fileno())); '
        "s.close()"
    ),
    "90-lingering-in-the-box-s-socket": ON_FORK.format(
        "s, l = lingering(); box = socket.socket(fileno=fds[0]); box.sendmsg([b'{}'], rights(s.fileno())); s.close(); "
        'frames.send(sock, {"ev": "failed", "slot": slot, "why": "lingering"})'
    ),
    "89-flood": ON_FORK.format(
        'os.fork()\n    while True:\n        sock.send(b\'{"ev":"failed","slot":999999,"why":""}\')'
    ),
}
PRELOADERS = {
    "89-report-too-long": AT_IMPORT.format(
        'sock.send(b\'{"ev":"ready","loaded":1,"refused":"","failed":{"x":"\' + b"x" * 131000 + b\'"}}\')'
    ),
    "89-report-with-half-a-character": AT_IMPORT.format(
        'sock.send(b\'{"ev":"ready","loaded":1,"refused":"\\\\ud800","failed":{}}\')'
    ),
    "89-report-with-a-number-too-large": AT_IMPORT.format(
        'sock.send(b\'{"ev":"ready","loaded":1e999,"refused":"","failed":{}}\')'
    ),
    "89-hangs-up": AT_IMPORT.format("sock.shutdown(socket.SHUT_RDWR)"),
}


@contextlib.contextmanager
def others_unharmed(host: EngineThread) -> Iterator[None]:
    """The spawner is the same process, nothing has been kept open, and somebody else's sandbox works promptly."""
    beside = host.sandbox()
    spawner = hostile.spawner_pid(host)
    before = (hostile.descriptors(os.getpid()), hostile.descriptors(spawner), hostile.resident(os.getpid()))
    yield
    started = time.monotonic()
    other = host.sandbox()
    assert host.shell(other, "echo works").stdout == b"works\n"
    assert host.shell(beside, "echo works").stdout == b"works\n"
    assert time.monotonic() - started < PROMPT_S
    host.run(host.engine.delete(other))
    host.run(host.engine.delete(beside))
    assert hostile.spawner_pid(host) == spawner
    deadline = time.monotonic() + 10
    while any(thread.name == "shed" for thread in threading.enumerate()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert hostile.descriptors(os.getpid()) <= before[0] + 8
    assert hostile.descriptors(spawner) <= before[1] + 8
    assert hostile.resident(os.getpid()) - before[2] < 64 * MIB


@pytest.mark.parametrize("name", thorough_after(3, ZYGOTES))
def test_a_zygote_that_breaks_the_protocol_ends_alone(host: EngineThread, name: str) -> None:
    with others_unharmed(host), hostile.zygote(host, "evil", ZYGOTES[name]) as (number, _):
        with pytest.raises(Fault):
            host.run(host.engine._pool._make_from(number, SandboxSpec(), ""), 20)


@pytest.mark.parametrize("name", PRELOADERS)
def test_a_preloaded_package_that_speaks_for_the_zygote_ends_alone(host: EngineThread, name: str) -> None:
    with others_unharmed(host), pytest.raises(SetupFailed), hostile.zygote(host, "evil", PRELOADERS[name]):
        pass


def test_control_a_package_that_behaves_is_preloaded_and_forked(host: EngineThread) -> None:
    with others_unharmed(host), hostile.init(host, "good", "") as sandbox:
        assert host.shell(sandbox, "echo works").stdout == b"works\n"
        assert host.run(sandbox.files.write("file", b"x" * 100_000)) == 100_000


@pytest.mark.slow
def test_a_zygote_that_never_reads_blocks_nobody(host: EngineThread) -> None:
    """[89-slow] Requests to it fill its socket; the spawner goes on."""
    with (
        others_unharmed(host),
        hostile.zygote(host, "evil", "def serve(self):\n    time.sleep(600)\nZygote.serve = serve\n") as (
            number,
            _,
        ),
    ):
        backend = host.engine._backend

        async def ask() -> None:
            tasks = [asyncio.create_task(backend.create(number, SandboxSpec())) for _ in range(400)]
            await asyncio.wait(tasks, timeout=3)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        host.run(ask())


EXPELLED = {
    "89-no-json": 'sock.send(b"{")',
    "89-not-an-object": 'sock.send(b"17")',
    "89-empty-key-twice-and-deep": "sock.send(b'{\"a\":' * 20000)",
    "89-huge-number": 'sock.send(b\'{"id":\' + b"9" * 20000 + b"}")',
    "89-too-long": 'sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20); sock.send(b" " * 150000)',
    "89-reply-for-nobody": "sock.send(b'{\"id\":123456789}')",
    "89-replies-without-end": "while True: sock.send(b'{\"id\":1}')",
    "89-events-without-end": 'while True: sock.send(b\'{"ev":"ready"}\')',
    "90-pipe": 'sock.sendmsg([b\'{"id":%d}\' % message["id"]], rights(*os.pipe()))',
    "90-directory": 'sock.sendmsg([b\'{"id":%d}\' % message["id"]], rights(os.open("/", os.O_RDONLY)))',
    "90-too-many": 'sock.sendmsg([b\'{"id":%d}\' % message["id"]], rights(*[os.open("/etc/passwd", 0)] * 100))',
    "90-thousands": 'fds = [os.open("/etc/passwd", 0) for _ in range(20)]\n'
    "    while True: sock.sendmsg([b'{\"id\":1}'], rights(*fds))",
    "90-lingering": "a, b = lingering(); sock.sendmsg([b'{\"id\":%d}' % message['id']], rights(a.fileno())); "
    "sock.sendmsg([b'{}'], rights(a.fileno())); a.close()",
}


def speaking(what: str) -> str:
    """Code of an init that does `what` when it is asked for anything, and then only waits."""
    return f"def answer(sock, message):\n    {what}\n    time.sleep(600)\nanswering(answer)\n"


@pytest.mark.parametrize("name", thorough_after(1, EXPELLED))
def test_an_init_that_breaks_the_protocol_is_killed(host: EngineThread, name: str) -> None:
    with others_unharmed(host), hostile.init(host, "evil", speaking(EXPELLED[name])) as sandbox:
        started = time.monotonic()
        with pytest.raises((Fault, InvalidSpec)):
            host.run(sandbox.files.read("/etc/passwd"))
        assert time.monotonic() - started < PROMPT_S
        assert ended(sandbox), sandbox.state
        assert sandbox.error_reason


def ended(sandbox: Sandbox) -> bool:
    """Whether it is no longer started, a moment later."""
    deadline = time.monotonic() + PROMPT_S
    while sandbox.state is State.STARTED and time.monotonic() < deadline:
        time.sleep(0.02)
    return sandbox.state is not State.STARTED


LIES = {
    "91-no-fields": "{}",
    "91-entry-is-no-object": '{"entry": 7, "entries": [7], "more": True}',
    "91-not-a-number": '{"entry": {"name": "x", "mtime": float("nan"), "mode": "x"}, "entries": [{}], "more": 1}',
    "91-huge-numbers": '{"entry": dict.fromkeys(("mode", "size", "uid", "gid"), 10**300), "total": 10**300, "free": 1}',
    "91-errno-is-huge": '{"errno": 10**30}',
    "91-errno-is-a-list": '{"errno": [1]}',
    "91-kind-is-a-list": '{"not_regular": [1]}',
    "91-pickle": '{"entry": {"__reduce__": ["os.system", "true"]}, "entries": "x"}',
}


def answering(answer: str) -> str:
    """Code of an init that gives one answer to everything."""
    return f"def answer(sock, message):\n    frames.send(sock, {answer})\nanswering(answer)\n"


@pytest.mark.parametrize("name", thorough_after(2, LIES))
def test_answers_that_are_no_answers_are_one_clear_error(host: EngineThread, name: str) -> None:
    code = answering(f"{{**{LIES[name]}, 'id': message['id']}}")
    with others_unharmed(host), hostile.init(host, "evil", code) as sandbox:
        files = sandbox.files
        for asked in (files.info("x"), files.list("x"), files.space("x"), files.read("x")):
            with pytest.raises((Fault, InvalidSpec), match=r"sandbox|special file"):
                host.run(asked)


def test_a_listing_without_end_is_cut(host: EngineThread) -> None:
    """[91-endless]"""
    numbers = '"mode": 33188, "size": 1, "mtime": 1.0, "uid": 1, "gid": 1'
    entry = '{"name": "n", "where": "n", "link": False, ' + numbers + "}"
    code = answering("{'id': message['id'], 'more': True, 'entries': [" + entry + "] * 400}")
    with others_unharmed(host), hostile.init(host, "evil", code) as sandbox:
        assert len(host.run(sandbox.files.list("x"))) == 20_000


ENDS = {
    "91-status-huge": '{"status": 10**30, "max_rss": 1}',
    "91-status-stopped": '{"status": 0x137F, "max_rss": 1}',
    "91-status-text": '{"status": "0", "max_rss": 1}',
    "91-status-negative": '{"status": -1, "max_rss": 1}',
    "91-peak-huge": '{"status": 0, "max_rss": 10**18}',
    "91-peak-negative": '{"status": 0, "max_rss": -5}',
    "91-end-is-a-list": "[1]",
}


@pytest.mark.parametrize("name", thorough_after(2, ENDS))
def test_a_forged_end_of_a_run_is_a_result(host: EngineThread, name: str) -> None:
    code = answering(f"{{'id': message['id'], 'end': {ENDS[name]}}}")
    with others_unharmed(host), hostile.init(host, "evil", code) as sandbox:
        result = host.shell(sandbox, "true")
        assert 0 <= result.exit_code <= 255
        assert 0 <= result.peak_memory_bytes <= 1 << 53


@pytest.mark.thorough
def test_an_init_that_never_answers_is_killed_at_the_deadline(host: EngineThread) -> None:
    """[92-silent]"""
    with others_unharmed(host), hostile.init(host, "evil", speaking("time.sleep(600)")) as sandbox:
        started = time.monotonic()
        host.shell(sandbox, "true", timeout_s=1.0)
        assert (
            time.monotonic() - started < 2 * PROMPT_S
        )  # the deadline, a grace period, and the kill from outside
        assert ended(sandbox)


JOINING = {
    "46-only-says-so": 'frames.send(control, {"ev": "joined"})',
    "46-joins-half": 'os.write(fds[0], b"0"); frames.send(control, {"ev": "joined"})',
    "46-something-else": 'frames.send(control, {"ev": "ready"})',
    "46-no-frame": 'control.send(b"{")',
    "46-ends": "os._exit(0)",
    "46-descriptors": 'frames.send(control, {"ev": "joined"}, tuple(fds))',
}
"""What an init does instead of moving itself into its control group."""


@pytest.mark.needs("cgroup_memory")
@pytest.mark.parametrize("name", JOINING)
def test_an_init_outside_its_control_group_never_runs(host: EngineThread, name: str) -> None:
    lie = f"""
def joined(control):
    _, fds = frames.receive(control)
    {JOINING[name]}
    time.sleep(600)
_frame.f_globals["init"]._joined = joined
"""
    with others_unharmed(host), hostile.zygote(host, "evil", lie) as (number, _):
        with pytest.raises(SetupFailed, match=r"control group|init ended|fork"):
            host.run(host.engine._backend.create(number, SandboxSpec()))
