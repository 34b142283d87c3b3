"""Networks over the wire: what switches and lists mean together, and changes of a running sandbox."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.server.client import Api
from tests.server.conftest import Box
from tidepool.engine import Sandbox, SandboxSpec, Secret
from tidepool.engine.errors import InvalidSpec
from tidepool.server import networks, records
from tidepool.server.keeper import Terms
from tidepool.wire.sandbox import CreateSandbox, NetworkSettings, TidepoolOptions

MEANINGS: list[tuple[dict[str, Any], str, tuple[str, ...]]] = [
    ({}, "packages", ()),
    ({"network_block_all": False}, "packages", ()),
    ({"network_block_all": True}, "none", ()),
    ({"network_block_all": True, "network_allow_list": ""}, "none", ()),
    ({"domain_allow_list": "example.org, *.example.net"}, "allow", ("example.org", "*.example.net")),
    ({"network_allow_list": "1.1.1.0/24,8.8.8.8/32"}, "allow", ("1.1.1.0/24", "8.8.8.8/32")),
    (
        {"network_allow_list": "1.1.1.0/24", "domain_allow_list": "example.org"},
        "allow",
        ("1.1.1.0/24", "example.org"),
    ),
    ({"network_allow_list": ""}, "allow", ()),
    ({"domain_allow_list": " , "}, "allow", ()),
    ({"tidepool": TidepoolOptions(network="all")}, "all", ()),
    ({"tidepool": TidepoolOptions(network="allow")}, "allow", ()),
    ({"tidepool": TidepoolOptions(network="allow", network_allow=("packages",))}, "allow", ("packages",)),
]


@pytest.mark.parametrize(("fields", "network", "allow"), MEANINGS)
def test_what_a_request_means(fields: dict[str, Any], network: str, allow: tuple[str, ...]) -> None:
    found = networks.asked_for(CreateSandbox(**fields), "packages")
    assert found == {"network": network, "network_allow": allow}
    SandboxSpec(**found)


@pytest.mark.parametrize(
    "fields",
    [
        {"network_block_all": True, "network_allow_list": "1.1.1.1/32"},
        {"network_block_all": True, "domain_allow_list": "example.org"},
        {"network_block_all": True, "tidepool": TidepoolOptions(network="all")},
        {"domain_allow_list": "example.org", "tidepool": TidepoolOptions(network="all")},
        {"tidepool": TidepoolOptions(network="all", network_allow=("example.org",))},
        {"network_allow_list": "1.1.1.1"},
        {"network_allow_list": "2606:4700::/32"},
        {"network_allow_list": "example.org"},
        {"network_allow_list": "1.1.1.1/33"},
        {"network_allow_list": ",".join(f"1.1.1.{number}/32" for number in range(11))},
        {"domain_allow_list": "1.1.1.0/24"},
        {"domain_allow_list": "http://example.org"},
        {"domain_allow_list": "*"},
        {"domain_allow_list": "0x7f.1"},
    ],
)
def test_what_cannot_be_meant_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidSpec):
        networks.asked_for(CreateSandbox(**fields), "packages")


def test_the_record_of_a_sandbox_has_no_value_of_a_secret() -> None:
    spec = SandboxSpec(secrets={"API_KEY": Secret("hunter2-value", ("a.org",), name="mine")})
    body = records.to_body(Sandbox(spec), Terms())
    assert "hunter2" not in json.dumps(body)
    (secret,) = records.from_body(body).spec.secrets.values()
    assert (secret.name, secret.hosts, secret.value) == ("mine", ("a.org",), "")


CHANGES: list[tuple[SandboxSpec, dict[str, Any], str, tuple[str, ...]]] = [
    (SandboxSpec(network="all"), {}, "all", ()),
    (SandboxSpec(network="all"), {"network_block_all": True}, "none", ()),
    (SandboxSpec(network="none"), {"network_block_all": False}, "packages", ()),
    (SandboxSpec(network="all"), {"network_block_all": False}, "all", ()),
    (SandboxSpec(network="none"), {"domain_allow_list": "a.org"}, "allow", ("a.org",)),
    (
        SandboxSpec(network="allow", network_allow=("1.1.1.0/24", "a.org")),
        {"domain_allow_list": "b.org"},
        "allow",
        ("1.1.1.0/24", "b.org"),
    ),
    (
        SandboxSpec(network="allow", network_allow=("1.1.1.0/24", "a.org")),
        {"network_allow_list": ""},
        "allow",
        ("a.org",),
    ),
    (SandboxSpec(network="allow", network_allow=("a.org",)), {"domain_allow_list": ""}, "allow", ()),
    (
        SandboxSpec(network="allow", network_allow=("a.org",)),
        {"network_block_all": False},
        "allow",
        ("a.org",),
    ),
]


@pytest.mark.parametrize(("spec", "fields", "network", "allow"), CHANGES)
def test_a_change_keeps_what_it_does_not_name(
    spec: SandboxSpec, fields: dict[str, Any], network: str, allow: tuple[str, ...]
) -> None:
    found = networks.changed(spec, NetworkSettings(**fields), "packages")
    assert found == {"network": network, "network_allow": allow}


def said(box: Box, url: str) -> str:
    answer = box.run(f"curl -sS -m 10 -x http://127.0.0.1:3128 {url} || true")
    return str(answer["result"])


def test_a_list_is_described_and_changed_while_it_runs(make_box: Callable[..., Box], api: Api) -> None:
    box = make_box(networkBlockAll=False, networkAllowList="1.1.1.0/24", domainAllowList="a.invalid")
    assert (box.described["networkAllowList"], box.described["domainAllowList"]) == (
        "1.1.1.0/24",
        "a.invalid",
    )
    assert box.described["tidepool"]["network"] == "allow"
    assert "b.invalid:80 is not on this sandbox's allow-list" in said(box, "http://b.invalid/")
    answer = api.call("POST", f"/sandbox/{box.id}/network-settings", {"domainAllowList": "b.invalid"})
    assert (answer.status, answer.json["domainAllowList"]) == (200, "b.invalid")
    assert "b.invalid could not be resolved" in said(box, "http://b.invalid/"), "allowed now"
    answer = api.call("POST", f"/sandbox/{box.id}/network-settings", {"networkBlockAll": True})
    assert answer.json["networkBlockAll"] is True
    assert "domainAllowList" not in answer.json
    assert "its policy is none" in said(box, "http://b.invalid/")
    assert api.call("GET", f"/sandbox/{box.id}").json["networkBlockAll"] is True


def test_a_bad_list_is_a_400_that_names_the_entry(box: Box, api: Api) -> None:
    answer = api.call("POST", f"/sandbox/{box.id}/network-settings", {"networkAllowList": "10.0.0.0/99"})
    assert answer.status == 400
    assert b"10.0.0.0/99" in answer.body
    assert api.call("POST", "/sandbox", {"domainAllowList": "*.org"}).status == 400
    assert api.call("POST", "/sandbox/unknown/network-settings", {"networkBlockAll": True}).status == 404


def test_a_sandbox_has_the_placeholder_of_a_secret_and_never_its_value(
    make_box: Callable[..., Box], api: Api
) -> None:
    pytest.importorskip("cryptography", reason="secrets need the extra secrets")
    made = api.call("POST", "/secret", {"name": "net-test", "value": "hunter2-value", "hosts": ["a.invalid"]})
    assert made.status == 201, made.body
    try:
        box = make_box(networkBlockAll=False, domainAllowList="a.invalid", secrets=[{"API_KEY": "net-test"}])
        inside = box.run("echo $API_KEY; env; cat $SSL_CERT_FILE | tail -1")["result"]
        assert made.json["placeholder"] in inside
        assert "END CERTIFICATE" in inside
        assert "hunter2" not in inside
        answer = api.call("PUT", f"/sandbox/{box.id}/secrets", {"secrets": [{"OTHER_KEY": "net-test"}]})
        assert answer.status == 200, answer.body
        assert made.json["placeholder"] in box.run("echo $OTHER_KEY")["result"]
        assert b"hunter2" not in api.call("GET", f"/sandbox/{box.id}").body
        assert api.call("PUT", f"/sandbox/{box.id}/secrets", {"secrets": [{"A": "unknown"}]}).status == 404
        for step in ("stop", "start"):
            answer = api.call("POST", f"/sandbox/{box.id}/{step}")
            assert answer.status == 200, answer.body
        assert made.json["placeholder"] in box.run("echo $OTHER_KEY")["result"]
        answer = api.call("PATCH", f"/secret/{made.json['id']}", {"value": "wrong\nvalue"})
        assert answer.status == 400, "no header can have it"
        assert b"wrong" not in answer.body  # no letter of an id
        assert api.call("PATCH", f"/secret/{made.json['id']}", {"hosts": ["*"]}).status == 400
    finally:
        assert api.call("DELETE", f"/secret/{made.json['id']}").status == 204
    for step in ("stop", "start"):
        answer = api.call("POST", f"/sandbox/{box.id}/{step}")
        assert answer.status == 200, f"a secret that is gone is gone from its sandboxes: {answer.body!r}"
