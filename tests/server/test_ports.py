"""Toolbox: environment, listening ports and figures of a sandbox (protocol section 6.3)."""

from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.server.client import Api
from tests.server.conftest import Box
from tidepool.toolbox import listening

SERVED = pytest.mark.needs("user_namespace", "overlayfs")
MIB = 1 << 20
_LISTEN = """
import socket, time, sys
held = []
for family, host, port in ((2, "127.0.0.1", 8000), (2, "0.0.0.0", 22), (10, "::1", 65535), (10, "::", 3000)):
    one = socket.socket(family); one.bind((host, port)) if port > 1023 else one.bind((host, 1025)); one.listen()
    held.append(one)
client = socket.create_connection(("127.0.0.1", 8000))
print("ready", flush=True); time.sleep(300)
"""


@SERVED
def test_listening_ports(box: Box) -> None:
    assert box.toolbox.call("GET", "/port").json == {"ports": []}
    assert box.toolbox.call("GET", "/port/8000/in-use").json == {"isInUse": False}
    box.toolbox.upload("/files/upload", ("file", "x", _LISTEN.encode()), path="listen.py")
    box.run("(python3 listen.py > out 2>&1 &); until grep -q ready out; do sleep 0.05; done", timeout=20)
    assert box.toolbox.call("GET", "/port").json == {"ports": [1025, 3000, 8000, 65535]}
    assert box.toolbox.call("GET", "/port/8000/in-use").json == {"isInUse": True}
    assert box.toolbox.call("GET", "/port/8001/in-use").json == {"isInUse": False}
    for port in ("0", "65536", "x", "-1"):
        assert box.toolbox.call("GET", f"/port/{port}/in-use").status == 400


@SERVED
def test_the_port_of_the_package_proxy_is_not_a_guests(make_box: Any) -> None:
    box = make_box(networkBlockAll=False, tidepool={"network": "packages"})
    assert box.toolbox.call("GET", "/port").json == {"ports": []}


@SERVED
def test_the_environment_of_runs_to_come(api: Api, make_box: Any) -> None:
    box = make_box(env={"FIRST": "1", "SECRET": "dtn_x", "KEPT": "k"})
    answer = box.toolbox.call("POST", "/env", {"set": {"A": "a b", "FIRST": "2"}})
    assert (answer.status, answer.json) == (200, {})
    shown = 'echo "$A|$FIRST|$SECRET|$KEPT"'
    assert box.run(shown)["result"] == "a b|2|dtn_x|k\n"
    answer = box.toolbox.call("POST", "/env", {"unset": ["A", "NEVER"], "unsetValuePrefix": "dtn_"})
    assert answer.status == 200
    assert box.run(shown)["result"] == "|2||k\n"
    code = {"code": "import os; print(os.environ.get('A'), os.environ['FIRST'])", "language": "python"}
    assert box.toolbox.call("POST", "/process/code-run", code).json["result"] == "None 2\n"
    assert api.call("POST", f"/sandbox/{box.id}/stop").status == 200
    assert box.toolbox.call("POST", "/env", {"set": {"B": "b"}}).status == 409
    assert api.call("POST", f"/sandbox/{box.id}/start").status == 200
    assert box.run(shown)["result"] == "|2||k\n"


@SERVED
def test_an_environment_that_is_none(box: Box) -> None:
    for body in (
        {"set": {"a-b": "x"}},
        {"set": {"A": "x\0"}},
        {"unset": ["="]},
        {"set": {"A": "x" * 200_000}},
    ):
        assert box.toolbox.call("POST", "/env", body).status == 400
    assert box.run("echo fine")["result"] == "fine\n"


@SERVED
def test_figures_are_the_sandboxs_own(make_box: Any) -> None:
    box = make_box(tidepool={"memoryBytes": 256 * MIB, "diskBytes": 64 * MIB, "cpu": 0.5})
    before = box.toolbox.call("GET", "/system/metrics").json
    assert before["cpuCount"] == 1
    assert before["memTotal"] == 256 * MIB
    assert before["diskTotal"] == 64 * MIB
    assert before["diskUsed"] + before["diskFree"] == before["diskTotal"]
    assert datetime.fromisoformat(before["timestamp"]).timestamp() == pytest.approx(
        before["timestampUnix"], abs=1
    )
    box.run("head -c 20000000 /dev/zero > big; (timeout 20 sh -c 'while :; do :; done' >/dev/null 2>&1 &)")
    after = box.toolbox.call("GET", "/system/metrics").json
    assert after["diskUsed"] - before["diskUsed"] >= 20_000_000
    if "memUsed" in after:
        assert after["memUsed"] - before["memUsed"] >= 20_000_000
        assert after["memUsed"] < 256 * MIB
    if "cpuUsedPct" in after:
        assert before["cpuUsedPct"] < after["cpuUsedPct"]  # how much depends on what else the host has to do
        assert 1 < after["cpuUsedPct"] < 250


@SERVED
def test_there_is_no_desktop(box: Box) -> None:
    for method, path in (("GET", "/computeruse/status"), ("POST", "/computeruse/mouse/click")):
        answer = box.toolbox.call(method, path)
        assert answer.status == 501
        assert "desktop" in answer.message


@given(st.lists(st.tuples(st.integers(0, 65535), st.integers(1, 12))))
def test_only_listening_sockets_count(rows: list[tuple[int, int]]) -> None:
    head = b"  sl  local_address rem_address   st tx_queue rx_queue\n"
    table = head + b"".join(
        b"%4d: 0100007F:%04X 00000000:0000 %02X 00000000:00000000 00:00000000\n" % (n, port, state)
        for n, (port, state) in enumerate(rows)
    )
    assert listening.parse(table) == sorted({port for port, state in rows if state == 10})


@given(st.binary())
def test_a_table_may_be_anything(table: bytes) -> None:
    assert all(0 <= port <= 65535 for port in listening.parse(table))
