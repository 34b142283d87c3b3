"""From names to connections: what a lying resolver can do, and that the address that was checked is the one dialled."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.egress.conftest import Namespace
from tests.egress.index import listen
from tidepool.egress.dial import Dialer, Outside
from tidepool.egress.policy import Grant, Place, Policy, parse_network, parse_policy
from tidepool.egress.refusal import Refusal

ALL = parse_policy("all")
PLACE = Place("name.test", 443)


def resolver(*answers: list[str]) -> Callable[[str], object]:
    """Says something else each time it is asked, as a rebinding server does."""
    left = list(answers)

    async def resolve(host: str) -> list[str]:
        assert host == PLACE.host
        return left.pop(0) if len(left) > 1 else left[0]

    return resolve


def addresses(answer: list[str], policy: Policy = ALL, grant: Grant = "any", **outside: object) -> list[str]:
    dialer = Dialer(Outside(**outside), resolver(answer))  # type: ignore[arg-type]
    return asyncio.run(dialer.addresses(PLACE, policy, grant))


@pytest.mark.parametrize(
    "answer",
    [
        ["10.0.0.1"],
        ["8.8.8.8", "10.0.0.1"],
        ["10.0.0.1", "8.8.8.8"],
        ["127.0.0.1"],
        ["169.254.169.254"],
        ["::1"],
        ["::ffff:8.8.8.8"],
        ["64:ff9b::808:808"],
        ["fe80::1%2"],
        ["2606:4700::1111", "fd00::1"],
        ["0.0.0.0"],
    ],
)
def test_one_address_that_is_not_public_refuses_the_whole_name(answer: list[str]) -> None:
    with pytest.raises(Refusal, match="not on the public internet") as caught:
        addresses(answer)
    assert caught.value.status == 403
    assert addresses(["8.8.8.8", "2606:4700::1111"]) == ["8.8.8.8", "2606:4700::1111"], "control"


def test_a_name_without_addresses_and_one_that_cannot_be_resolved() -> None:
    with pytest.raises(Refusal, match="no address"):
        addresses([])

    async def fails(host: str) -> list[str]:
        raise OSError("no such name")

    with pytest.raises(Refusal, match="could not be resolved") as caught:
        asyncio.run(Dialer(Outside(), fails).addresses(PLACE, ALL, "any"))
    assert caught.value.status == 502


def test_only_addresses_on_the_list_are_dialled_where_addresses_are_what_is_listed() -> None:
    every = parse_policy("allow", ["0.0.0.0/0"])
    assert addresses(["2606:4700::1111", "8.8.8.8"], every) == ["8.8.8.8"]
    with pytest.raises(Refusal, match="No address of"):
        addresses(["2606:4700::1111"], every)


def test_the_operators_own_names_and_networks() -> None:
    outside = {"hosts": {"name.test": ("10.1.0.5",)}, "opened": (parse_network("10.1.0.0/16"),)}
    assert addresses(["8.8.8.8"], **outside) == ["10.1.0.5"]
    with pytest.raises(Refusal):
        addresses(["8.8.8.8"], hosts={"name.test": ("10.1.0.5",)})


def test_an_address_that_is_asked_for_is_judged_like_a_resolved_one() -> None:
    dialer = Dialer(Outside(), resolver([]))  # type: ignore[arg-type]
    with pytest.raises(Refusal, match="not on the public internet"):
        asyncio.run(dialer.addresses(Place("10.0.0.1", 443), ALL, "any"))


def test_a_name_is_resolved_once_and_that_answer_is_dialled() -> None:
    opened = (parse_network("127.1.0.0/16"),)
    with listen(socket.socket()) as hidden:
        port = hidden.getsockname()[1]
        real = socket.socket()
        real.bind(("127.1.2.3", port))
        with listen_again(real):
            dialer = Dialer(Outside(opened=opened), resolver(["127.1.2.3"], ["127.0.0.1"]))  # type: ignore[arg-type]

            async def dial() -> str:
                stream = await dialer.dial(Place(PLACE.host, port), ALL, "any")
                try:
                    return str(stream._sock.getpeername()[0])
                finally:
                    stream.close()

            assert asyncio.run(dial()) == "127.1.2.3"
            with pytest.raises(Refusal, match="not on the public internet"):
                asyncio.run(dial())  # the second answer is private: asked anew, refused anew


OWN = """
import asyncio, fcntl, socket, struct
from tidepool.egress.dial import Dialer, Outside, is_own
from tidepool.egress.policy import Place, parse_network, parse_policy
from tidepool.egress.refusal import Refusal
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    address = struct.pack("HH4s8x", socket.AF_INET, 0, socket.inet_aton("1.2.3.4"))
    fcntl.ioctl(sock, 0x8916, struct.pack("16s16s8x", b"lo:1", address))
async def resolve(host): return ["1.2.3.4"]
def ask(*opened):
    dialer = Dialer(Outside(tuple(map(parse_network, opened))), resolve)
    try:
        return asyncio.run(dialer.addresses(Place("name.test", 22), parse_policy("all"), "any"))
    except Refusal as refusal:
        return refusal.sentence
print(is_own("1.2.3.4"), is_own("1.2.3.5"), is_own("2606:4700::1"))
print(ask())
print(ask("1.2.3.4/32"))
"""


def test_this_hosts_own_public_addresses_are_not_reached_from_behind(
    namespaces: Callable[[], Namespace],
) -> None:
    inside = namespaces()
    argv = [sys.executable, "-c", OWN]
    done = subprocess.run(argv, preexec_fn=inside.enter, capture_output=True, text=True, timeout=30)
    own, refused, opened = done.stdout.splitlines()
    assert own == "True False False", done.stderr
    assert refused == "name.test is not on the public internet; a sandbox cannot reach it."
    assert opened == "['1.2.3.4']", "unless the operator opens it"


def listen_again(sock: socket.socket) -> socket.socket:
    sock.listen(1)
    return sock
