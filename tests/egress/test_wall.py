"""The wall itself: from inside its network namespace a sandbox reaches the proxy and nothing else."""

import socket
import sys

import pytest

from tidepool.engine.network import environment
from tidepool.engine.spec import SandboxSpec

TRY = """
import socket, sys
for place in sys.argv[1:]:
    host, _, port = place.rpartition(":")
    try:
        socket.create_connection((host, int(port)), 3).close()
        print(place, "reached")
    except OSError as error:
        print(place, type(error).__name__, error.errno)
"""


@pytest.fixture
def walled(open_sandbox, egress):
    sandbox = open_sandbox(egress)
    if sandbox.namespace is None:
        pytest.skip("this user cannot make a network namespace")
    return sandbox


def test_from_inside_only_the_proxy_is_reachable(walled, index, canary, tmp_path):
    places = [
        f"127.0.0.1:{index.port}",
        f"127.0.0.1:{canary.getsockname()[1]}",
        "203.0.113.1:443",
        "169.254.169.254:80",
    ]
    done = walled.run([sys.executable, "-I", "-c", TRY, f"127.0.0.1:{walled.port}", *places], tmp_path)
    lines = done.stdout.splitlines()
    assert lines[0].endswith(" reached"), done.stderr
    assert len(lines) == 5
    assert not any(line.endswith(" reached") for line in lines[1:])
    # Control: without the wall the index is reachable directly, and the proxy's socket is not: it is inside.
    socket.create_connection(("127.0.0.1", index.port), 3).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", walled.port), 3)


def test_no_names_can_be_resolved_inside(walled, tmp_path):
    code = "import socket; socket.getaddrinfo('example.com', 443)"
    done = walled.run([sys.executable, "-I", "-c", code], tmp_path)
    assert "gaierror" in done.stderr


def test_sandboxes_are_told_apart_by_their_socket(walled, open_sandbox, egress):
    other = open_sandbox(egress, "sandbox-2")
    other.get("/simple/tp-alpha/", X_Sandbox="sandbox-1")
    assert [record["sandbox"] for record in egress.records()] == ["sandbox-2"]


@pytest.mark.thorough
def test_the_environment_given_to_sandboxes_makes_pip_use_the_proxy(walled, tmp_path):
    argv = [sys.executable, "-m", "pip", "download", "tp-beta", "--no-cache-dir", "-d", "."]
    told = environment(walled.port, SandboxSpec(network="packages"))
    assert walled.run(argv, tmp_path, **told).returncode == 0
    without = walled.run([*argv, "--retries", "0", "--timeout", "2"], tmp_path)
    assert without.returncode != 0, "control: untold, pip finds nothing"
