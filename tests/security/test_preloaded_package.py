"""A package that was asked for as a dependency is preloaded in the zygote, before its sandboxes are closed off.

It can keep these from their own filter, as SECURITY.md says, but not reach the large interfaces of the kernel: the
zygote starts behind a filter of its own, before anything that is installed runs.
"""

import io
import json
import os
import re
import socket
import zipfile
from collections.abc import Iterator

import pytest

from tests.egress.index import IndexServer, listen, make_wheel
from tests.security.conftest import own_engine

pytestmark = pytest.mark.needs("user_namespace", "overlayfs", "seccomp")
UNDO = """import gc
for names in gc.get_objects():
    if type(names) is dict and names.get("__name__") == "tidepool.engine.guest.confine" and "install_seccomp" in names:
        names["install_seccomp"] = lambda program: None
"""
ATTACK = """
import ctypes, errno, json, os, socket
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    return "done" if libc.syscall(number, *arguments) != -1 else errno.errorcode[ctypes.get_errno()]
def netfilter():
    try:
        socket.socket(16, socket.SOCK_RAW, 12)
        return "done"
    except OSError as error:
        return errno.errorcode[error.errno]
status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
print(json.dumps({
    "filters": int(status["Seccomp_filters"]),
    "keyctl": call(250, 0, -3, 0),
    "bpf": call(321, 0, 0, 0),
    "io_uring": call(425, 1, 0),
    "userfaultfd": call(323, 0),
    "perf": call(298, 0, 0, -1, -1, 0),
    "netfilter": netfilter(),
}))
"""
REFUSED = {
    "keyctl": "EPERM",
    "bpf": "EPERM",
    "io_uring": "EPERM",
    "userfaultfd": "EPERM",
    "perf": "EPERM",
    "netfilter": "EAFNOSUPPORT",
}


def wheel(text: str) -> bytes:
    """A package whose import runs this."""
    plain, packed = zipfile.ZipFile(io.BytesIO(make_wheel("tp_straw").body)), io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in plain.namelist():
            body = text if name == "tp_straw.py" else plain.read(name).decode()
            archive.writestr(name, re.sub(r",sha256=[^,]*,[0-9]+", ",,", body))
    return packed.getvalue()


@pytest.fixture
def index(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[IndexServer]:
    found = IndexServer(listen(socket.socket()))
    found.add_wheel("tp-straw", wheel(request.param), make_wheel("tp_straw").filename)
    settings = {"PIP_INDEX_URL": found.url, "PIP_CONFIG_FILE": os.devnull, "UV_NO_CONFIG": "1"}
    for name, setting in settings.items():
        monkeypatch.setenv(name, setting)
    yield found
    found.close()


@pytest.mark.thorough
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers of the calls are those of x86-64")
@pytest.mark.parametrize(
    ("index", "filters"),
    [(UNDO, 1), ("", 2)],
    indirect=["index"],
    ids=["that undoes the filter", "that does not"],
)
@pytest.mark.usefixtures("index")
def test_behind_a_package_the_kernels_large_interfaces_stay_closed(filters: int) -> None:
    """How many filters there are shows that the attack did what it says."""
    with own_engine("tidepool-straw-", pool_size=0) as host:
        box = host.sandbox(dependencies=("tp-straw",))
        found = json.loads(host.python(box, ATTACK).stdout)
        assert found.pop("filters") == filters
        assert found == REFUSED
        assert host.python(box, "import tp_straw; print(7)").stdout == b"7\n"
        assert host.shell(box, "id -u; touch /etc/x; echo $?").stdout == b"1000\n1\n"
