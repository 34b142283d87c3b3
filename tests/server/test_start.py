"""The server as a process: where it listens, what it says, when and how it ends, and that nothing is left of it."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.server.client import Api, Started, started

pytestmark = [pytest.mark.thorough, pytest.mark.needs("user_namespace", "overlayfs")]
FEW = ("--port", "0", "--pool", "0")


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory with a short path, for sockets."""
    with tempfile.TemporaryDirectory(prefix="tp-start-") as directory:
        yield Path(directory)


def refused(*arguments: str, **options: Any) -> str:
    """What a server says that cannot start."""
    with started(*arguments, **options) as server:
        assert server.url == ""
        status, said = server.wait()
    assert status in (1, 2)
    assert "Traceback" not in said
    return said


def create(server: Started, key: str | None = "key", **fields: Any) -> tuple[Api, str]:
    """A client and the id of a new sandbox."""
    api = Api(server.url, key)
    answer = api.call("POST", "/sandbox", {"networkBlockAll": True, **fields})
    assert answer.status == 200, answer.body
    return api, answer.json["id"]


def test_one_line_on_stdout_and_the_key_nowhere() -> None:
    with started(*FEW, key="a-very-secret-key") as server:
        assert server.url.startswith("http://127.0.0.1:")
        assert server.url.endswith("/api")
        assert server.process.stdout is not None
        status, said = server.end()
    assert status == 0
    assert "TIDEPOOL_API_KEY" in said
    assert "a-very-secret-key" not in said


def test_without_a_key_one_is_made_and_its_place_is_said(place: Path) -> None:
    place.chmod(0o755)
    with started(*FEW, key=None, environment={"TIDEPOOL_STATE_DIR": str(place / "state")}) as server:
        file = place / "state" / "api_key"
        key = file.read_text().strip()
        api = Api(server.url, key)
        assert api.call("GET", "/sandbox").status == 200
        api.close()
        _, said = server.end()
    assert str(file) in said
    assert key not in said
    assert file.stat().st_mode & 0o777 == 0o600


def test_bad_arguments_are_one_sentence(place: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "cannot listen on 127.0.0.1 port" in refused("--port", str(taken.getsockname()[1]))
    assert "cannot listen" in refused("--uds", str(place / ("x" * 200)))
    assert "descriptor 99" in refused("--fd", "99")
    assert "one key" in refused(*FEW, key="two words")
    assert "not allowed with" in refused("--uds", str(place / "s"), "--fd", "3")
    said = refused(*FEW, key=None, environment={"TIDEPOOL_API_KEY_FILE": str(place / "none")})
    assert str(place / "none") in said


def test_a_stale_socket_is_replaced_and_a_live_one_is_not(place: Path) -> None:
    path = place / "deep" / "s.sock"
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with started("--uds", str(path), "--pool", "0", key=None) as server:
        api = Api(server.url)
        assert api.call("GET", "/health").status == 200
        assert "cannot listen" in refused("--uds", str(path), "--pool", "0", key=None)
        assert api.call("GET", "/health").status == 200
        api.close()


def test_a_file_in_the_way_is_not_removed(place: Path) -> None:
    (place / "s.sock").write_text("precious")
    assert "cannot listen" in refused("--uds", str(place / "s.sock"), key=None)
    assert (place / "s.sock").read_text() == "precious"


def test_a_socket_can_be_passed_in() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number = listener.fileno()
        with started("--fd", str(number), "--pool", "0", pass_fds=(number,)) as server:
            assert server.url == f"http://127.0.0.1:{listener.getsockname()[1]}/api"
            api = Api(server.url, "key")
            assert api.call("GET", "/sandbox").status == 200
            api.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_well(number: int) -> None:
    with started(*FEW) as server:
        api, _ = create(server)
        status, said = server.end(number)
        api.close()
    assert status == 0
    assert "Traceback" not in said


def test_ctrl_c_reaches_the_whole_group_and_ends_it_well() -> None:
    with started(*FEW, start_new_session=True) as server:
        api, _ = create(server)
        os.killpg(server.process.pid, signal.SIGINT)
        status, said = server.wait()
        api.close()
    assert status == 0
    assert "Traceback" not in said


def test_a_run_under_way_does_not_keep_it() -> None:
    with started(*FEW) as server:
        api, number = create(server)
        connection = Api(server.url, "key", f"/toolbox/{number}")
        script = (
            "import sys; from tests.server.client import Api;"
            "answer = Api(sys.argv[1], 'key', sys.argv[2]).call('POST', '/process/execute', {'command': 'sleep 1000'});"
            "print(answer.status, answer.message)"
        )
        command = [sys.executable, "-c", script, server.url, f"/toolbox/{number}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:
            deadline = time.monotonic() + 10
            while "sleep" not in connection.call(
                "POST", "/process/execute", {"command": "cat /proc/[0-9]*/cmdline"}
            ).json["result"].replace("cat", ""):
                assert time.monotonic() < deadline
            connection.close()
            api.close()
            begun = time.monotonic()
            status, said = server.end()
            assert time.monotonic() - begun < 10
            assert client.communicate(timeout=10)[0] == "503 the server is shutting down\n"
    assert status == 0
    assert "Traceback" not in said


@pytest.mark.parametrize("delay_s", [0.0, 0.1, 0.2, 0.4, 0.6, 0.9, 1.2])
def test_a_signal_during_the_start_leaves_nothing(delay_s: float) -> None:
    environment = os.environ | {"TIDEPOOL_API_KEY": "key", "TIDEPOOL_REALM": "signals"}
    command = [sys.executable, "-m", "tidepool.server", *FEW]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        time.sleep(delay_s)
        process.terminate()
        _, said = process.communicate(timeout=30)
    assert process.returncode in (0, -signal.SIGTERM), said
    assert b"Traceback" not in said


# Ends by itself


def test_it_ends_when_idle_and_not_before() -> None:
    with started(*FEW, "--idle", "1") as server:
        api, number = create(server)
        time.sleep(3)
        assert server.process.poll() is None, "a sandbox lives: there is work"
        assert api.call("DELETE", f"/sandbox/{number}").status == 200
        api.close()
        status, said = server.wait()
    assert (status, "Traceback" in said) == (0, False)


def test_a_request_under_way_is_work() -> None:
    with started(*FEW, "--idle", "0.5") as server:
        where = urlsplit(server.url)
        with socket.create_connection((where.hostname or "", where.port or 0), timeout=20) as connection:
            head = "POST /api/sandbox HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer key\r\nContent-Length: 9\r\n\r\n"
            connection.sendall(head.encode() + b"{")
            time.sleep(2.5)
            api = Api(server.url)
            assert api.call("GET", "/health").status == 200, "it still listens"
            api.close()
            connection.sendall(b"nonsense")
            assert connection.recv(4096).startswith(b"HTTP/1.1 400")
            assert server.wait()[0] == 0, "a connection on which nothing is asked is no work"


def test_nobody_who_has_gone_keeps_it() -> None:
    """A client that dies in the middle of a run without a deadline: its run ends, its sandbox, then the server."""
    with started(*FEW, "--idle", "1") as server:
        api, number = create(server, ttlMinutes=1)
        script = (
            "import sys; from tests.server.client import Api;"
            "Api(sys.argv[1], 'key', sys.argv[2]).call('POST', '/process/execute', {'command': 'sleep 1000'})"
        )
        command = [sys.executable, "-c", script, server.url, f"/toolbox/{number}"]
        with subprocess.Popen(command) as client:
            time.sleep(1)
            client.kill()
        assert api.call("DELETE", f"/sandbox/{number}").status == 200
        api.close()
        assert server.wait()[0] == 0


def test_a_database_that_cannot_be_opened_is_one_sentence_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    environment = {"TIDEPOOL_DATABASE_URL": f"sqlite:///{tmp_path}/file/x.db"}
    with started("--port", "0", "--idle", "60", environment=environment) as server:
        status, said = server.wait()
    assert status == 1
    assert len(said.strip().splitlines()) == 2, said  # where the key is, and this
    assert "cannot start: the database:" in said
