"""Networks of real sandboxes, from the engine to servers outside: policies, changes, secrets, a lost process."""

import base64
import logging
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.egress.origin import Authority, Origin, free_address
from tests.security.conftest import EngineThread
from tidepool.engine import Sandbox, SandboxSpec, State
from tidepool.engine.errors import InvalidSpec, SetupFailed
from tidepool.engine.spec import Secret

pytestmark = pytest.mark.needs("user_namespace", "overlayfs", "idmapped_mounts")

BOUND, OTHER = "bound.test", "other.test"
VALUE = "s3cr3t-value-of-the-operator"


@dataclass
class Outside:
    """An engine, and what is outside of its sandboxes."""

    engine: EngineThread
    authority: Authority
    plain: Origin
    bound: Origin
    other: Origin

    @property
    def origins(self) -> tuple[Origin, ...]:
        return self.plain, self.bound, self.other

    def heard(self) -> bytes:
        return b"".join(request for origin in self.origins for request in origin.heard)


@pytest.fixture(scope="module")
def whole() -> Iterator[Outside]:
    place = Path(tempfile.mkdtemp(prefix="tidepool-network-"))
    place.chmod(0o755)
    here, there = free_address(), free_address()
    authority = Authority(place)
    plain = Origin(here, 80, "plain")
    bound = Origin(here, 443, "bound", authority.context(BOUND))
    other = Origin(there, 443, "other", authority.context(OTHER))
    options: list[str] = ["--open", f"{here}/32", "--open", f"{there}/32"]
    options += ["--host", f"{BOUND}={here}", "--host", f"{OTHER}={there}", "--host", f"wrong.test={there}"]
    before = os.environ.get("SSL_CERT_FILE")
    os.environ["SSL_CERT_FILE"] = str(authority.path)
    try:
        thread = EngineThread(place / "state", place / "run", egress_options=tuple(options))
    finally:
        if before is None:
            del os.environ["SSL_CERT_FILE"]
        else:
            os.environ["SSL_CERT_FILE"] = before
    outside = Outside(thread, authority, plain, bound, other)
    try:
        yield outside
    finally:
        thread.close()
        for origin in outside.origins:
            origin.close()
        shutil.rmtree(place)


@pytest.fixture
def outside(whole: Outside) -> Iterator[Outside]:
    for origin in whole.origins:
        origin.heard.clear()
    known = set(whole.engine.engine.list("local"))
    yield whole
    for sandbox in whole.engine.engine.list("local"):
        if sandbox not in known:
            whole.engine.run(whole.engine.engine.delete(sandbox))


def curl(outside: Outside, box: Sandbox, *words: str) -> bytes:
    """What curl prints inside: the body, and after it the status."""
    line = " ".join(["curl", "-sS", "-m", "10", "-w", "' %{http_code} %{http_connect}'", *words])
    result = outside.engine.shell(box, line)
    return result.stdout + result.stderr


@pytest.mark.thorough
def test_programs_inside_find_the_proxy_by_themselves(outside: Outside) -> None:
    box = outside.engine.sandbox(network="allow", network_allow=(BOUND,))
    assert curl(outside, box, f"http://{BOUND}/").startswith(b"plain heard  200")
    assert b"not on this sandbox's allow-list" in curl(outside, box, f"http://{OTHER}/")
    code = f"import urllib.request as u; print(u.urlopen('http://{BOUND}/').read())"
    assert b"plain heard" in outside.engine.python(box, code).stdout
    blind = outside.engine.shell(box, f"curl --noproxy '*' -m 2 http://{outside.plain.address}/")
    assert blind.exit_code != 0, "there is no other way out"


@pytest.mark.parametrize(("network", "allow"), [("none", ()), ("packages", ()), ("allow", ())])
def test_what_is_not_granted_is_not_there(network: str, allow: tuple[str, ...], outside: Outside) -> None:
    box = outside.engine.sandbox(network=network, network_allow=allow)
    said = curl(outside, box, "-x", "http://127.0.0.1:3128", f"http://{BOUND}/")
    assert b"200" not in said
    assert outside.heard() == b""
    outside.engine.run(outside.engine.engine.set_network(box, "allow", (BOUND,)))
    assert b" 200 " in curl(outside, box, "-x", "http://127.0.0.1:3128", f"http://{BOUND}/"), "control"


def test_a_running_sandbox_gets_a_network_and_loses_it(outside: Outside) -> None:
    engine = outside.engine.engine
    box = outside.engine.sandbox()
    assert b"200" not in curl(outside, box, f"http://{BOUND}/")
    outside.engine.run(engine.set_network(box, "all"))
    assert curl(outside, box, f"http://{BOUND}/").startswith(b"plain heard  200")
    outside.engine.run(engine.set_network(box, "none"))
    assert b"its policy is none" in curl(outside, box, f"http://{BOUND}/")
    assert box.spec.network == "none"
    outside.engine.run(engine.set_network(box, "allow", (BOUND,)))
    assert b" 200 " in curl(outside, box, f"http://{BOUND}/")


def test_tightening_cuts_a_download_that_is_under_way(outside: Outside) -> None:
    box = outside.engine.sandbox(network="all")
    hold = (
        "import socket,time\ns=socket.create_connection(('127.0.0.1',3128))\n"
        f"s.sendall(b'CONNECT {BOUND}:80 HTTP/1.1\\r\\nHost: {BOUND}:80\\r\\n\\r\\n')\n"
        "print(s.recv(100), flush=True)\nopen('ready','w').close()\n"
        "b=time.monotonic()\nprint(s.recv(1), time.monotonic()-b < 8)\n"
    )
    outside.engine.run(box.files.write("hold.py", hold.encode()))
    outside.engine.shell(box, "nohup python3 hold.py >held 2>&1 & while ! test -e ready; do sleep 0.02; done")
    assert outside.plain.live == 1, "control: it is connected"
    outside.engine.run(outside.engine.engine.set_network(box, "allow", (OTHER,)))
    deadline = time.monotonic() + 5
    while outside.plain.live and time.monotonic() < deadline:
        time.sleep(0.01)
    assert outside.plain.live == 0
    held = outside.engine.shell(box, "sleep 0.3; cat held").stdout
    assert held.endswith(b"b'' True\n")


def test_a_list_that_cannot_be_taken_is_refused_and_leaves_nothing(outside: Outside) -> None:
    engine = outside.engine.engine
    before = len(engine.list("local"))
    with pytest.raises(InvalidSpec, match="wildcard"):
        outside.engine.sandbox(network="allow", network_allow=("*.org",))
    assert len(engine.list("local")) == before
    with pytest.raises(InvalidSpec, match="goes with network allow"):
        SandboxSpec(network="all", network_allow=(BOUND,))
    box = outside.engine.sandbox(network="allow", network_allow=(BOUND,))
    with pytest.raises(InvalidSpec):
        outside.engine.run(engine.set_network(box, "allow", ("1.2.3",)))
    assert box.spec.network_allow == (BOUND,)
    assert b" 200 " in curl(outside, box, f"http://{BOUND}/")


def test_a_stopped_sandbox_starts_again_with_its_network(outside: Outside) -> None:
    engine = outside.engine.engine
    box = outside.engine.sandbox(network="all")
    outside.engine.run(engine.stop(box))
    outside.engine.run(engine.set_network(box, "allow", (BOUND,)))
    outside.engine.run(engine.start_again(box))
    assert b" 200 " in curl(outside, box, f"http://{BOUND}/")
    assert b"allow-list" in curl(outside, box, f"http://{OTHER}/")


def test_a_sandbox_whose_init_was_killed_starts_again_with_its_network(outside: Outside) -> None:
    box = outside.engine.sandbox(network="allow", network_allow=(BOUND,))
    outside.engine.shell(box, f"sh -c 'sleep 20; :' mark-{box.id} >/dev/null 2>&1 &")
    os.kill(parent_of(f"mark-{box.id}"), signal.SIGKILL)
    deadline = time.monotonic() + 5
    while box.state is not State.ERROR and time.monotonic() < deadline:
        time.sleep(0.01)
    outside.engine.run(outside.engine.engine.start_again(box))
    assert b" 200 " in curl(outside, box, f"http://{BOUND}/")


def test_a_proxy_that_was_killed_is_replaced_and_serves_who_was_there(outside: Outside) -> None:
    box, owner = outside.engine.sandbox(network="allow", network_allow=(BOUND,)), secretive(outside, BOUND)
    assert b" 200 " in curl(outside, box, f"http://{BOUND}/")
    egress = outside.engine.engine._egress
    assert egress._process is not None
    children = Path(f"/proc/{egress._process.pid}/task/{egress._process.pid}/children")
    os.kill(int(children.read_text()), signal.SIGKILL)
    deadline = time.monotonic() + 10
    while b" 200 " not in curl(outside, box, f"http://{BOUND}/"):
        assert time.monotonic() < deadline
    assert b"allow-list" in curl(outside, box, f"http://{OTHER}/"), "its rights are what they were"
    curl(outside, owner, "-H", '"X: $API_KEY"', f"https://{BOUND}/")
    assert VALUE.encode() in outside.bound.heard[-1]
    assert b" 200 " in curl(outside, outside.engine.sandbox(network="all"), f"http://{BOUND}/")


def parent_of(words: str) -> int:
    """Host pid of the parent of the process with these words in its command line."""
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if words.encode() in (place / "cmdline").read_bytes():
                status = (place / "status").read_text()
                return int(next(line for line in status.splitlines() if line.startswith("PPid:")).split()[1])
        except OSError:
            continue  # it has ended meanwhile
    raise AssertionError("the marked process was not found")


def secretive(outside: Outside, *allow: str) -> Sandbox:
    secret = Secret(VALUE, (BOUND,))
    return outside.engine.sandbox(network="allow", network_allow=allow, secrets={"API_KEY": secret})


def test_a_secret_reaches_its_host_and_is_nowhere_inside(outside: Outside) -> None:
    box = secretive(outside, BOUND)
    said = curl(outside, box, "-H", '"Authorization: Bearer $API_KEY"', f"https://{BOUND}/a?k=$API_KEY")
    assert said.startswith(b"bound heard  200 200"), said
    (heard,) = outside.bound.heard
    assert f"authorization: bearer {VALUE}" in heard.decode().lower()
    assert f"GET /a?k={VALUE} HTTP/1.1" in heard.decode()
    code = "import os,urllib.request as u; r=u.Request('https://bound.test/', headers={'X': os.environ['API_KEY']})\n"
    result = outside.engine.python(box, code + "print(u.urlopen(r).read())")
    assert b"bound heard" in result.stdout, result.stderr
    assert VALUE.encode() in outside.bound.heard[-1]
    scan = "cd /; grep -rl s3cr3t-value-of etc home tmp var root run 2>/dev/null; echo scanned; env"
    found = outside.engine.shell(box, f"{scan}; cat /proc/*/environ").stdout
    assert b"tps_" in found, "control: the placeholder is seen"
    assert VALUE.encode() not in found
    assert found.startswith(b"scanned"), found
    log = b"".join(path.read_bytes() for path in outside.engine.state_dir.glob("egress.log*"))
    assert b"bound.test:443" in log, "control: the request is in the log"
    assert VALUE.encode() not in log
    assert VALUE not in repr(box.spec)


def test_basic_credentials_hold_a_secret_too(outside: Outside) -> None:
    box = secretive(outside, BOUND)
    assert b" 200 " in curl(outside, box, "-u", '"user:$API_KEY"', f"https://{BOUND}/")
    assert base64.b64encode(f"user:{VALUE}".encode()) in outside.bound.heard[-1]


def test_elsewhere_and_without_tls_the_placeholder_goes_out_as_it_is(outside: Outside) -> None:
    box = secretive(outside, BOUND, OTHER)
    header = '"X: $API_KEY"'
    assert b" 200 " in curl(outside, box, "-H", header, f"http://{BOUND}/")
    said = curl(outside, box, "-H", header, "-k", f"https://{OTHER}/")
    assert said.startswith(b"other heard  200"), said
    placeholder = box.spec.secrets["API_KEY"].placeholder.encode()
    for origin in (outside.plain, outside.other):
        assert placeholder in origin.heard[-1]
    assert VALUE.encode() not in outside.heard()
    curl(outside, box, "-H", header, f"https://{BOUND}/")
    assert VALUE.encode() in outside.bound.heard[-1], "control"


def test_inside_opened_tls_no_other_host_can_be_meant(outside: Outside) -> None:
    box = secretive(outside, BOUND, OTHER)
    said = curl(outside, box, "-H", '"Host: other.test"', "-H", '"X: $API_KEY"', f"https://{BOUND}/")
    assert b"names another server" in said
    assert outside.heard() == b""


def test_the_servers_certificate_is_verified_before_a_secret_goes_out(outside: Outside) -> None:
    secret = Secret(VALUE, ("wrong.test",))
    box = outside.engine.sandbox(network="allow", network_allow=("wrong.test",), secrets={"API_KEY": secret})
    said = curl(outside, box, "-H", '"X: $API_KEY"', "https://wrong.test/")
    assert b"The certificate of wrong.test could not be verified." in said, said
    assert outside.heard() == b""


def test_a_secret_that_is_taken_back_is_not_used_any_more(outside: Outside) -> None:
    box = secretive(outside, BOUND)
    curl(outside, box, "-H", '"X: $API_KEY"', f"https://{BOUND}/")
    assert VALUE.encode() in outside.bound.heard[-1], "control"
    outside.engine.run(outside.engine.engine.set_network(box, "allow", (BOUND,), {}))
    curl(outside, box, "-k", "-H", '"X: $API_KEY"', f"https://{BOUND}/")
    assert VALUE.encode() not in outside.bound.heard[-1]


def test_another_sandbox_cannot_use_the_placeholder(outside: Outside) -> None:
    owner = secretive(outside, BOUND)
    placeholder = owner.spec.secrets["API_KEY"].placeholder
    thief = outside.engine.sandbox(network="allow", network_allow=(BOUND,))
    assert b" 200 " in curl(outside, thief, "-k", "-H", f'"X: {placeholder}"', f"https://{BOUND}/")
    assert VALUE.encode() not in outside.bound.heard[-1]
    assert placeholder.encode() in outside.bound.heard[-1]


def test_when_the_egress_process_dies_sandboxes_lose_the_network_and_it_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    place = Path(tempfile.mkdtemp(prefix="tidepool-network-"))
    place.chmod(0o755)
    address = free_address()
    origin = Origin(address, 80)
    options = ("--open", f"{address}/32", "--host", f"{BOUND}={address}")
    thread = EngineThread(place / "state", place / "run", egress_options=options)
    try:
        box = thread.sandbox(network="all")
        line = f"curl -sS -m 5 http://{BOUND}/"
        assert b"heard" in thread.shell(box, line).stdout, "control"
        process = thread.engine._egress._process
        assert process is not None
        with caplog.at_level(logging.CRITICAL, "tidepool.engine.egress"):
            process.kill()
            deadline = time.monotonic() + 5
            while "egress process ended" not in caplog.text and time.monotonic() < deadline:
                time.sleep(0.01)
        assert "egress process ended" in caplog.text
        result = thread.shell(box, line)
        assert result.exit_code == 7, "nobody listens any more"
        assert box.state is State.STARTED
        with pytest.raises(SetupFailed, match="egress"):
            thread.sandbox(network="all")
        thread.run(thread.engine.delete(box))
        assert b"1\n" in thread.shell(thread.sandbox(), "echo 1").stdout, "without a network all goes on"
    finally:
        thread.close()
        origin.close()
        shutil.rmtree(place)
