"""Probes 61, 71, 75 and 76 from inside: every protocol to every kind of place, names, sockets of services, the link.

The default sandbox has a loopback and nothing else: what is sent goes nowhere, and root inside cannot change that. The
proxy that other policies have is attacked in tests/egress. Control: the same program finds its own loopback reachable.
"""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.security.conftest import EngineThread
from tidepool.engine import Sandbox

pytestmark = pytest.mark.needs("user_namespace")

SEND = """
import errno, json, os, socket, struct

OWN = ("127.0.0.1", "::1")
PLACES = OWN + ("1.1.1.1", "8.8.8.8", "10.0.0.1", "172.17.0.1", "192.168.1.1", "169.254.169.254", "100.100.100.200",
    "168.63.129.16", "224.0.0.251", "255.255.255.255", "2606:4700::1111", "fd00:ec2::254", "fe80::1", "ff02::fb",
    "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::1")
KINDS = {"tcp": (socket.SOCK_STREAM, 0, 443), "udp": (socket.SOCK_DGRAM, 0, 53), "quic": (socket.SOCK_DGRAM, 17, 443),
    "mdns": (socket.SOCK_DGRAM, 0, 5353), "dot": (socket.SOCK_STREAM, 6, 853), "ping": (socket.SOCK_DGRAM, 1, 0)}

def attempt(place, kind):
    family = socket.AF_INET6 if ":" in place else socket.AF_INET
    type, protocol, port = KINDS[kind]
    if kind == "ping" and family == socket.AF_INET6:
        protocol = 58
    try:
        with socket.socket(family, type, protocol) as sock:
            sock.settimeout(1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            sock.connect((place, port))
            sock.send(bytes(64))
            return "sent"
    except OSError as error:
        return errno.errorcode.get(error.errno, "timeout")

print(json.dumps({f"{kind} {place}": attempt(place, kind) for place in PLACES for kind in KINDS}))
"""
UNREACHABLE = {"ENETUNREACH", "EADDRNOTAVAIL", "EHOSTUNREACH", "EACCES", "EINVAL", "EPERM"}
"""No route; no address to send from; no interface for a scope; no ping without a group that may (ping_group_range)."""
OWN = ("127.0.0.1", "::1")


@pytest.fixture(params=["daytona", "root"])
def either(request: pytest.FixtureRequest, make_box: Callable[..., Sandbox]) -> Sandbox:
    """A sandbox of each user."""
    return make_box(user=request.param)


def test_no_protocol_reaches_any_other_place(host: EngineThread, either: Sandbox) -> None:
    """[61-send] [71-send] [77-send] Both families, the same verdict."""
    found: dict[str, str] = json.loads(host.python(either, SEND).stdout)
    elsewhere = {what: how for what, how in found.items() if what.split()[1] not in OWN}
    assert set(elsewhere.values()) <= UNREACHABLE, elsewhere
    assert found["udp 127.0.0.1"] == "sent", "control: its own loopback is there"
    assert found["tcp 127.0.0.1"] == "ECONNREFUSED"


NAMES = """
import socket
found = []
for name in ("example.com", "metadata.google.internal", "localhost.localdomain.example", "_dns.resolver.arpa"):
    try:
        found.append(socket.getaddrinfo(name, 443))
    except OSError:
        pass
print(found)
"""


def test_no_name_is_resolved(host: EngineThread, either: Sandbox) -> None:
    """[71-names]"""
    assert host.python(either, NAMES).stdout == b"[]\n"


SERVICES = """
import json, os, socket
found = []
for path in ("/run/docker.sock", "/var/run/docker.sock", "/run/containerd/containerd.sock", "/run/podman/podman.sock",
             "/run/dbus/system_bus_socket", "/run/systemd/private", "/run/systemd/notify", "/dev/log",
             "/run/user/0/bus", "/run/tidepool/tidepool.sock", "/run/nscd/socket", "/run/snapd.socket",
             "/run/systemd/journal/socket", os.environ.get("SSH_AUTH_SOCK", "/tmp/agent"),
             "\\0/tmp/dbus-x", "\\0docker", "\\0/com/ubuntu/upstart", "\\0tidepool"):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
        with socket.socket(socket.AF_UNIX, kind) as sock:
            if sock.connect_ex(path) == 0:
                found.append(path)
for place, folders, files in os.walk("/"):
    folders[:] = [name for name in folders if place != "/" or name not in ("proc", "usr")]
    found += [os.path.join(place, name) for name in files if os.path.exists(os.path.join(place, name))
              and (os.stat(os.path.join(place, name)).st_mode & 0o170000) == 0o140000]
ours, theirs = socket.socketpair()
with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
    listener.bind("\\0own")
    listener.listen()
    print(json.dumps([sorted(set(found)), client.connect_ex("\\0own")]))
"""


def test_no_service_of_the_host_can_be_connected_to(host: EngineThread, either: Sandbox) -> None:
    """[75-connect] By name in a directory or abstract; none lies anywhere in its tree. Control: one of its own."""
    assert json.loads(host.python(either, SERVICES, timeout_s=40).stdout) == [[], 0]


LINK = """
import errno, fcntl, json, os, socket, struct
found = {}

def attempt(name, act):
    try:
        act()
        found[name] = "done"
    except OSError as error:
        found[name] = errno.errorcode.get(error.errno, str(error))

def netlink(kind, body):
    with socket.socket(16, socket.SOCK_RAW, 0) as sock:
        sock.settimeout(2)
        sock.send(struct.pack("=IHHII", 16 + len(body), kind, 0x605, 1, 0) + body)
        answer = sock.recv(4096)
        code = -struct.unpack("=i", answer[16:20])[0]
        if code:
            raise OSError(code, "")

def control(request, text):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, request, text)

address = struct.pack("=HH4sH2s", 2, 0, socket.inet_aton("10.9.8.7"), 0, b"").ljust(16, b"\\0")
host = address[4:8]
MESSAGES = {
    "new address": (20, struct.pack("=BBBBI", 2, 24, 0, 0, 1) + struct.pack("=HH4s", 8, 2, host)),
    "new route": (24, struct.pack("=BBBBBBBBI", 2, 0, 0, 0, 254, 4, 0, 1, 0) + struct.pack("=HHI", 8, 4, 1)),
    "new neighbour": (28, struct.pack("=BxHiHBB", 2, 0, 1, 128, 0, 0) + struct.pack("=HH4s", 8, 1, host)),
    "new link": (16, struct.pack("=BxHiII", 0, 0, 0, 0, 0) + struct.pack("=HH8s", 12, 3, b"dummy0")),
    "new rule": (32, struct.pack("=BBBBBBBBI", 2, 0, 0, 0, 254, 0, 0, 1, 0)),
}
for name, message in MESSAGES.items():
    attempt(name, lambda: netlink(*message))
attempt("set address", lambda: control(0x8916, b"lo".ljust(16, b"\\0") + address))
attempt("set hardware address", lambda: control(0x8924, b"lo".ljust(16, b"\\0") + struct.pack("=H14x", 1)))
attempt("link down", lambda: control(0x8914, b"lo".ljust(16, b"\\0") + bytes(16)))
attempt("add arp", lambda: control(0x8955, address + bytes(52)))
attempt("packets", lambda: socket.socket(17, socket.SOCK_RAW, 0x0300).close())
attempt("raw", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 255).close())
attempt("tables", lambda: socket.socket(16, socket.SOCK_RAW, 12).close())
attempt("forwarding", lambda: open("/proc/sys/net/ipv4/ip_forward", "w").write("1"))
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    attempt("mark", lambda: sock.setsockopt(1, 36, 7))
    attempt("transparent", lambda: sock.setsockopt(0, 19, 1))
    attempt("foreign source", lambda: sock.bind(("10.9.8.7", 0)))
attempt("control: a look", lambda: control(0x8913, b"lo".ljust(40, b"\\0")))
print(json.dumps(found))
"""
REFUSED = {"EPERM", "EACCES", "EROFS", "EAFNOSUPPORT", "EPROTONOSUPPORT", "EADDRNOTAVAIL", "EOPNOTSUPP"}


def test_the_link_cannot_be_changed(host: EngineThread, either: Sandbox) -> None:
    """[76-link] Addresses, routes, neighbours, interfaces, packet filters, raw frames, foreign sources."""
    result = host.python(either, LINK)
    found: dict[str, Any] = json.loads(result.stdout)
    assert found.pop("control: a look") == "done"
    assert len(found) == 16
    assert set(found.values()) <= REFUSED, found
