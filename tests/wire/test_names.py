"""The wire's names, written out once more: whoever renames a field here breaks clients that cannot be asked."""

import msgspec
import pytest

from tidepool.wire import errors, files, info, paths, process, sandbox

# What the newest official client insists on, and may not be null (protocol section 5.1).
REQUIRED_OF_A_SANDBOX = {
    "id", "organizationId", "name", "user", "env", "labels", "public", "networkBlockAll", "kvm", "target",
    "cpu", "gpu", "memory", "disk", "toolboxProxyUrl",
}  # fmt: skip
REQUIRED_OF_A_CONFIGURATION = {
    "version", "oidc", "linkedAccountsEnabled", "announcements", "proxyTemplateUrl", "proxyToolboxUrl",
    "defaultSnapshot", "dashboardUrl", "maxAutoArchiveInterval", "maintananceMode", "environment",
}  # fmt: skip


def wire_names(model: type[msgspec.Struct]) -> set[str]:
    return {field.encode_name for field in msgspec.structs.fields(model)}


@pytest.mark.parametrize(
    ("model", "names"),
    [
        (sandbox.Sandbox, REQUIRED_OF_A_SANDBOX),
        (sandbox.SandboxPage, {"items", "nextCursor"}),
        (sandbox.NumberedPage, {"items", "total", "page", "totalPages"}),
        (info.Configuration, REQUIRED_OF_A_CONFIGURATION),
        (info.Oidc, {"issuer", "clientId", "audience", "provider"}),
        (info.Handshake, {"version", "protocol", "pid", "sandboxes"}),
        (process.ExecuteAnswer, {"exitCode", "result"}),
        (process.ExecuteAnswer, {"stdout", "stderr", "verdict", "durationMs", "peakMemoryBytes", "truncatedBytes"}),
        (process.TestsAnswer, {"success", "reason", "verdictBasis", "complete", "collectionErrors", "tests"}),
        (process.TestCase, {"nodeId", "outcome", "durationMs", "message"}),
        (files.FileInfo, {"name", "isDir", "size", "modTime", "mode", "permissions", "owner", "group"}),
        (files.Uploaded, {"files"}),
        (sandbox.CreateSandbox, {"name", "snapshot", "env", "labels", "networkBlockAll", "cpu", "memory", "disk"}),
        (sandbox.CreateSandbox, {"autoStopInterval", "autoDeleteInterval", "ttlMinutes", "buildInfo", "tidepool"}),
        (sandbox.TidepoolOptions, {"dependencies", "network", "memoryBytes", "diskBytes", "pids", "cpu"}),
    ],
)  # fmt: skip
def test_models_have_the_protocols_names(model: type[msgspec.Struct], names: set[str]) -> None:
    assert names <= wire_names(model)


def test_a_request_of_a_newer_client_is_read_without_what_is_new() -> None:
    sent = (
        b'{"env": {}, "labels": {"code-toolbox-language": "python"}, "volumes": [], "fromTomorrow": {"x": 1}}'
    )
    asked = msgspec.json.decode(sent, type=sandbox.CreateSandbox)
    assert asked.labels == {"code-toolbox-language": "python"}
    assert asked.tidepool == sandbox.TidepoolOptions()


def test_what_is_not_set_is_left_out_not_null() -> None:
    described = files.FileInfo(
        name="a", is_dir=False, size=1, mod_time="t", modified_at="t", mode="-", permissions="0644",
        owner="0", group="0",
    )  # fmt: skip
    assert b"path" not in msgspec.json.encode(described)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 408, 409, 413, 500, 503])
def test_error_bodies_have_what_clients_read(status: int) -> None:
    control = errors.control_body(status, "why", "/api/x", "now")
    assert control.keys() == {"statusCode", "error", "message", "path", "timestamp"}
    toolbox = errors.toolbox_body(status, "why", "/toolbox/x", "now", errors.general_code(status), "GET")
    assert {"message", "path", "statusCode", "timestamp", "code", "source", "method"} == toolbox.keys()
    assert toolbox["code"].isupper()


def test_every_path_stands_once() -> None:
    values = [value for name, value in vars(paths).items() if name.isupper()]
    assert len(values) == len(set(values))
    assert all(value.startswith("/") and not value.endswith("/") for value in values)
