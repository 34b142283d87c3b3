"""SSH into real sandboxes of a real server, with a real client: what a token opens, how long, and what it does not."""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Server
from tests.directories import open_directory
from tests.server.client import Api, Started, started
from tests.server.conftest import Box
from tests.server.tenants import KEYS, TwoTenants
from tidepool.server.config import from_environment
from tidepool.server.ssh_access import Accesses, digest
from tidepool.server.store import Store

pytestmark = pytest.mark.thorough

asyncssh = pytest.importorskip("asyncssh")

_COMMAND = re.compile(r"ssh -p ([0-9]+) ([0-9a-f]{64})@127\.0\.0\.1\Z")
_CONTENT = os.urandom(300_000)


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """The state of this module's server."""
    with open_directory("tp-ssh-") as path:
        yield path


@pytest.fixture(scope="module")
def ssh_server(place: Path) -> Iterator[Server]:
    """A server with SSH on a free port."""
    environment = {"TIDEPOOL_SSH_PORT": "0", "TIDEPOOL_STATE_DIR": str(place), "TIDEPOOL_REALM": ""}
    with started("--port", "0", "--pool", "1", environment=environment) as server:
        assert server.url, server.wait()
        yield Server(server.url, "key", server.process.pid)


@pytest.fixture
def api(ssh_server: Server) -> Iterator[Api]:
    """A client of that server; sandboxes of these tests are in it."""
    found = Api(ssh_server.url, ssh_server.key)
    yield found
    found.close()


def allowed(api: Api, ref: str, **query: Any) -> dict[str, Any]:
    """A new token, as it was answered."""
    answer = api.call("POST", f"/sandbox/{ref}/ssh-access", **query)
    assert answer.status == 200, answer.body
    found: dict[str, Any] = answer.json
    return found


def is_valid(api: Api, token: str) -> Any:
    """What the server says of a token."""
    answer = api.call("GET", "/sandbox/ssh-access/validate", token=token)
    assert answer.status == 200, answer.body
    return answer.json


@asynccontextmanager
async def connected(access: dict[str, Any], **options: Any) -> AsyncIterator[Any]:
    """A client's connection by the command that came with the token."""
    found = _COMMAND.fullmatch(access["sshCommand"])
    assert found is not None
    options = {"username": access["token"], "encoding": None, **options}
    async with asyncio.timeout(40):
        async with asyncssh.connect(
            "127.0.0.1", int(found[1]), known_hosts=None, client_keys=None, config=None, **options
        ) as connection:
            yield connection


async def is_refused(access: dict[str, Any], **options: Any) -> bool:
    """Whether the server does not let this one in."""
    try:
        async with connected(access, **options):
            return False
    except asyncssh.PermissionDenied:
        return True


def test_a_token_is_told_once_and_kept_as_a_digest(box: Box, api: Api, place: Path) -> None:
    made = allowed(api, box.id, expiresInMinutes=5)
    assert made["sandboxId"] == box.id
    assert _COMMAND.fullmatch(made["sshCommand"])[2] == made["token"]  # type: ignore[index]
    assert made["createdAt"] < made["expiresAt"]
    assert is_valid(api, made["token"]) == {"valid": True, "sandboxId": box.id}
    assert is_valid(api, "0" * 64) == {"valid": False, "sandboxId": ""}
    database = place / "records" / "tidepool.db"
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        kept = connection.execute(
            "SELECT id, body FROM tidepool_records WHERE kind = 'ssh_access'"
        ).fetchall()
    connection.close()
    assert digest(made["token"]) in [row[0] for row in kept]
    assert not [row for row in kept if made["token"] in row[1]]


@pytest.mark.parametrize("minutes", ["0", "-1", "x", "1.5", "525601", "9" * 30])
def test_how_long_a_token_may_be_good(box: Box, api: Api, minutes: str) -> None:
    answer = api.call("POST", f"/sandbox/{box.id}/ssh-access", expiresInMinutes=minutes)
    assert (answer.status, "1 to 525600" in answer.message) == (400, True)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/sandbox/none/ssh-access", 404),
        ("DELETE", "/sandbox/none/ssh-access", 404),
        ("GET", "/sandbox/ssh-access/validate", 400),
        ("GET", "/sandbox/ssh-access/validate?token=", 400),
    ],
)
def test_requests_that_are_refused(api: Api, method: str, path: str, status: int) -> None:
    answer = api.call(method, path)
    assert answer.status == status
    assert " " in answer.message


def test_without_a_listener_there_is_no_token_and_tokens_are_a_tenants_own(two: TwoTenants) -> None:
    one, other = (Api(two.url, key) for key in KEYS)
    number = one.call("POST", "/sandbox", {"networkBlockAll": True}).json["id"]
    try:
        answer = one.call("POST", f"/sandbox/{number}/ssh-access")
        assert (answer.status, "TIDEPOOL_SSH_PORT" in answer.message) == (501, True)
        assert other.call("POST", f"/sandbox/{number}/ssh-access").status == 404
        assert other.call("DELETE", f"/sandbox/{number}/ssh-access").status == 404
        accesses: Accesses = two.app.state.ssh_access
        _, token = two.run(accesses.create("one", number, 5))
        assert is_valid(one, token)["valid"] is True
        assert is_valid(other, token) == {"valid": False, "sandboxId": ""}
    finally:
        one.call("DELETE", f"/sandbox/{number}")
        one.close()
        other.close()


async def test_a_command_has_its_input_both_outputs_and_its_status(box: Box, api: Api) -> None:
    async with connected(allowed(api, box.id)) as connection:
        done = await connection.run("cat; echo err >&2; pwd >&2; exit 7", input=_CONTENT)
        assert (done.stdout, done.stderr, done.exit_status) == (_CONTENT, b"err\n/home/daytona\n", 7)
        done = await connection.run("echo $GREETING; kill -TERM $$", env={"GREETING": "hi"})
        assert (done.stdout, done.exit_status) == (b"hi\n", 128 + signal.SIGTERM)
        done = await connection.run("true", env={"NO-NAME": "x"})
        assert (done.exit_status, b"NO-NAME" in done.stderr) == (255, True)


async def test_a_client_that_reads_slowly_loses_nothing(box: Box, api: Api) -> None:
    async with connected(allowed(api, box.id), compression_algs=None) as connection:
        process = await connection.create_process("head -c 20000000 /dev/zero | tr '\\0' x; echo end >&2")
        await asyncio.sleep(0.5)
        size = 0
        while data := await process.stdout.read(1 << 20):
            size += len(data)
        assert (size, await process.stderr.read()) == (20_000_000, b"end\n")


async def test_signals_reach_what_runs(box: Box, api: Api) -> None:
    async with connected(allowed(api, box.id)) as connection:
        process = await connection.create_process(
            "trap 'echo caught; exit 3' INT; echo ready; sleep 60 & wait"
        )
        assert await process.stdout.readline() == b"ready\n"
        process.send_signal("INT")
        done = await process.wait()
        assert (done.stdout, done.exit_status) == (b"caught\n", 3)
        process = await connection.create_process("echo ready; sleep 60")
        assert await process.stdout.readline() == b"ready\n"
        process.terminate()
        assert (await process.wait()).exit_status != 0


async def test_a_shell_has_a_terminal_of_the_clients_size(box: Box, api: Api) -> None:
    async with connected(allowed(api, box.id)) as connection:
        shell = await connection.create_process(term_type="vt100", term_size=(101, 31))
        shell.stdin.write(b"tty; echo $TERM; stty size\n")
        await shell.stdout.readuntil(b"31 101")
        shell.change_terminal_size(120, 40)
        shell.stdin.write(b"sleep 0.2; stty size\n")
        seen = await shell.stdout.readuntil(b"40 120")
        shell.stdin.write(b"exit 5\n")
        assert (await shell.wait()).exit_status == 5
        assert b"No such file" not in seen
        done = await connection.run("tty; stty size; echo $TERM", term_type="dumb", term_size=(0, 0))
        assert done.stdout == b"/dev/pts/0\r\n24 80\r\ndumb\r\n"
        done = await connection.run(input=b"tty; exit 4\n")
        assert (done.stdout, done.exit_status) == (b"not a tty\n", 4)


async def test_only_commands_and_shells_are_served(box: Box, api: Api) -> None:
    async with connected(allowed(api, box.id)) as connection:
        with pytest.raises(asyncssh.ChannelOpenError):
            await connection.start_sftp_client()
        with pytest.raises(asyncssh.ChannelOpenError):
            await connection.open_connection("127.0.0.1", 22)
        with pytest.raises(asyncssh.ChannelOpenError):
            await connection.open_unix_connection("/run/socket")
        with pytest.raises(asyncssh.ChannelListenError):
            await connection.forward_remote_port("", 0, "127.0.0.1", 22)
        with pytest.raises(asyncssh.ChannelListenError):
            await connection.forward_remote_path("/tmp/socket", "/tmp/other")
        process = await connection.create_process(subsystem="netconf")
        done = await process.wait()
        assert (done.exit_status, b"no subsystems" in done.stderr) == (255, True)


async def test_one_connection_has_so_many_sessions(box: Box, api: Api) -> None:
    async with connected(allowed(api, box.id)) as connection:
        held = [await connection.create_process("cat") for _ in range(10)]
        with pytest.raises(asyncssh.ChannelOpenError):
            await connection.run("true")
        for process in held:
            process.stdin.write_eof()
            await process.wait()
        assert (await connection.run("true")).exit_status == 0


async def test_only_so_many_connections_are_held(box: Box, api: Api) -> None:
    access = allowed(api, box.id)
    port = int(_COMMAND.fullmatch(access["sshCommand"])[1])  # type: ignore[index]
    streams = [await asyncio.open_connection("127.0.0.1", port) for _ in range(100)]
    try:
        for reader, _ in streams:
            assert await reader.readline() == b"SSH-2.0-tidepool\r\n"
        with pytest.raises((OSError, asyncssh.Error)):
            async with connected(access):
                pass
    finally:
        for _, writer in streams:
            writer.close()
    for _ in range(50):  # the server has seen them go
        with contextlib.suppress(OSError, asyncssh.Error):
            async with connected(access) as connection:
                assert (await connection.run("echo in")).stdout == b"in\n"
                return
        await asyncio.sleep(0.1)
    pytest.fail("nobody is let in any more")


async def test_who_has_no_token_is_not_let_in(box: Box, api: Api) -> None:
    access = allowed(api, box.id)
    for name in ("root", box.id, access["id"], digest(access["token"]), access["token"][:-1], "\N{SNOWMAN}"):
        assert await is_refused(access, username=name)
        assert await is_refused(access, username=name, password=access["token"])


async def test_a_token_that_is_revoked_opens_nothing_and_its_connections_end(box: Box, api: Api) -> None:
    kept, doomed, other = (allowed(api, box.id) for _ in range(3))
    async with connected(kept) as stays, connected(doomed) as goes:
        process = await goes.create_process("sleep 3456")
        before = time.monotonic()
        answer = api.call("DELETE", f"/sandbox/{box.id}/ssh-access", token=doomed["token"])
        assert (answer.status, answer.json["id"]) == (200, box.id)
        await goes.wait_closed()
        assert time.monotonic() - before < 1
        assert process.exit_status is None
        assert (await stays.run("echo still")).stdout == b"still\n"
        assert await is_refused(doomed)
        await gone(box, "sleep 3456")
        assert api.call("DELETE", f"/sandbox/{box.id}/ssh-access", token="").status == 400
        assert [is_valid(api, one["token"])["valid"] for one in (kept, doomed, other)] == [True, False, True]
        assert api.call("DELETE", f"/sandbox/{box.id}/ssh-access").status == 200
        await stays.wait_closed()
    assert [is_valid(api, one["token"])["valid"] for one in (kept, other)] == [False, False]


async def test_revoking_at_one_sandbox_leaves_the_tokens_of_another(
    make_box: Callable[..., Box], api: Api
) -> None:
    one, other = make_box(), make_box()
    access = allowed(api, one.id)
    for query in ({}, {"token": access["token"]}):
        assert api.call("DELETE", f"/sandbox/{other.id}/ssh-access", **query).status == 200
    assert is_valid(api, access["token"]) == {"valid": True, "sandboxId": one.id}


async def gone(box: Box, command: str) -> None:
    """Wait until no such process is in the sandbox."""
    pattern = f"[{command[0]}]{command[1:]}"
    for _ in range(50):
        if box.run(f"ps ax | grep -c '{pattern}'; true")["result"].strip() == "0":
            return
        await asyncio.sleep(0.1)
    pytest.fail(f"{command} still runs")


async def test_what_a_client_leaves_running_ends_with_it(box: Box, api: Api) -> None:
    async with connected(allowed(api, box.id)) as connection:
        await connection.create_process("sleep 4567")
        await connection.create_process("sleep 4567", term_type="xterm")
        await asyncio.sleep(0.3)
        assert box.run("ps ax | grep -c '[s]leep 4567'")["result"].strip() >= "2"
        connection.abort()
    await gone(box, "sleep 4567")


async def test_a_tokens_time_ends_its_connections(box: Box, api: Api, place: Path) -> None:
    store = await Store.open(f"sqlite:///{place}/records/tidepool.db")
    try:
        _, token = await Accesses(store).create("default", box.id, 3 / 60)
    finally:
        await store.close()
    access = {**allowed(api, box.id), "token": token}
    async with connected(access) as connection:
        assert (await connection.run("echo in")).stdout == b"in\n"
        before = time.monotonic()
        await connection.wait_closed()
        assert 0.5 < time.monotonic() - before < 6
    assert await is_refused(access)
    assert is_valid(api, token)["valid"] is False


async def test_a_sandbox_that_stops_ends_its_connections_and_a_start_lets_them_in_again(
    box: Box, api: Api
) -> None:
    access = allowed(api, box.id)
    async with connected(access) as connection:
        assert api.call("POST", f"/sandbox/{box.id}/stop").status == 200
        await connection.wait_closed()
    async with connected(access) as connection:
        done = await connection.run("true")
        assert (done.exit_status, b"must be started" in done.stderr) == (255, True)
    assert api.call("POST", f"/sandbox/{box.id}/start").status == 200
    async with connected(access) as connection:
        assert (await connection.run("echo again")).stdout == b"again\n"


async def test_a_connection_is_activity(box: Box, api: Api) -> None:
    async with connected(allowed(api, box.id)):
        before = api.call("GET", f"/sandbox/{box.id}").json["lastActivityAt"]
        await asyncio.sleep(2.2)
        assert api.call("GET", f"/sandbox/{box.id}").json["lastActivityAt"] > before


@contextmanager
def talkative(place: Path) -> Iterator[Started]:
    """A server that logs all it has to say into a file."""
    environment = os.environ | {
        "TIDEPOOL_API_KEY": "key",
        "TIDEPOOL_SSH_PORT": "0",
        "TIDEPOOL_STATE_DIR": str(place),
        "TIDEPOOL_RUNTIME_DIR": str(place / "run"),
    }
    program = (
        "import logging, sys; logging.basicConfig(level=logging.DEBUG);"
        "from tidepool.server.__main__ import main; sys.exit(main(['--port', '0', '--pool', '0']))"
    )
    with (
        (place / "said").open("ab") as said,
        subprocess.Popen(
            [sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, stderr=said, text=True
        ) as process,
    ):
        try:
            assert process.stdout is not None
            yield Started(process, process.stdout.readline().strip())
        finally:
            process.kill()


async def test_tokens_and_the_host_key_outlive_a_server_and_no_token_is_logged() -> None:
    place = Path(tempfile.mkdtemp(prefix="tp-ssh-"))
    place.chmod(0o755)
    tokens, keys, number = [], [], ""
    try:
        for _ in range(2):
            with talkative(place) as server:
                api = Api(server.url, "key")
                if number:
                    assert api.call("POST", f"/sandbox/{number}/start").status == 200
                else:
                    number = api.call("POST", "/sandbox", {"networkBlockAll": True}).json["id"]
                access = allowed(api, number)
                tokens.append(access["token"])
                assert is_valid(api, tokens[0])["valid"] is True
                async with connected({**access, "token": tokens[0]}) as connection:
                    assert (await connection.run("echo in")).stdout == b"in\n"
                    keys.append(connection.get_server_host_key().export_public_key())
                    api.close()
                    assert server.end()[0] == 0  # with a connection open
        assert keys[0] == keys[1]
        assert stat.S_IMODE((place / "records" / "ssh_host_ed25519_key").stat().st_mode) == 0o600
        said = (place / "said").read_text()
        assert "asyncio" in said  # it was told to say all
        assert not [token for token in tokens if token in said]
    finally:
        shutil.rmtree(place)


@pytest.mark.skipif(shutil.which("ssh") is None, reason="there is no OpenSSH client on this host")
def test_openssh_gets_in(box: Box, api: Api) -> None:
    program, *arguments = allowed(api, box.id)["sshCommand"].split()
    options = ("-F", "/dev/null", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null")
    done = subprocess.run(
        [program, *options, "-C", *arguments, "cat; exit 6"], input=_CONTENT, capture_output=True, timeout=30
    )
    assert (done.returncode, done.stdout) == (6, _CONTENT)


def test_the_host_key_is_made_once_and_its_owners_alone(tmp_path: Path) -> None:
    from tidepool.server.ssh import host_key

    file = tmp_path / "key"
    assert host_key(file).export_public_key() == host_key(file).export_public_key()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["key"]
    file.write_text("no key")
    with pytest.raises(ValueError, match="remove it"):
        host_key(file)


@pytest.mark.parametrize("port", ["x", "-1", "65536", "1" * 30, "\N{SUPERSCRIPT TWO}"])
def test_a_port_that_is_none_is_said(port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEPOOL_SSH_PORT", port)
    with pytest.raises(ValueError, match="must be a port"):
        from_environment(needs_key=False)


def test_the_port_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert from_environment(needs_key=False)[0].ssh_port is None
    monkeypatch.setenv("TIDEPOOL_SSH_PORT", "2222")
    assert from_environment(needs_key=False)[0].ssh_port == 2222


def test_without_asyncssh_the_start_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['asyncssh'] = None; from tidepool.server.__main__ import main;"
        "sys.exit(main(['--port', '0']))"
    )
    environment = os.environ | {"TIDEPOOL_SSH_PORT": "0", "TIDEPOOL_API_KEY": "key"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, "pip install 'tidepool[server]'" in done.stderr) == (1, True)


def test_a_server_without_ssh_does_not_load_it() -> None:
    program = "import sys, tidepool.server.__main__; print('asyncssh' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True).stdout == b"False\n"
