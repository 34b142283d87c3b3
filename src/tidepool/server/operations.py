"""What each route takes and gives: request model, answer model, success status, media types. One row a route.

Summary and description are the handler's own docstring; names of query parameters and the status, where a row has
none, are the protocol's (`wire.protocol`). A test holds the rows against the routes and against what handlers read.
"""

from dataclasses import dataclass
from typing import Any

from tidepool.wire import (
    files,
    git,
    info,
    interpreter,
    keys,
    lsp,
    organization,
    paths,
    preview,
    process,
    pty,
    sandbox,
    sessions,
    snapshots,
    ssh,
)
from tidepool.wire import secrets as secret
from tidepool.wire import volumes as volume
from tidepool.wire import warm_pools as pool

JSON, BINARY, TEXT, FORM = "application/json", "application/octet-stream", "text/plain", "multipart/form-data"


@dataclass(frozen=True)
class Operation:
    """One row."""

    request: Any = None
    """A type for msgspec; None: no JSON body is read."""
    answer: Any = None
    """A type for msgspec; None: nothing is said about the body."""
    status: int = 0
    """0: the protocol's first, else 200."""
    media: str = JSON
    """Of the answer."""
    body: str = JSON
    """Of the request, when it is no JSON."""
    query: tuple[str, ...] = ()
    """Names beside the protocol's."""


_one = Operation(answer=sandbox.Sandbox)
_plain = Operation(answer=dict[str, str])

CONTROL: dict[tuple[str, str], Operation] = {
    ("GET", paths.HEALTH): Operation(answer=info.Health),
    ("GET", paths.READY): Operation(answer=organization.Readiness),
    ("GET", paths.CONFIG): Operation(answer=info.Configuration),
    ("GET", paths.HANDSHAKE): Operation(answer=info.Handshake),
    ("POST", paths.SANDBOXES): Operation(sandbox.CreateSandbox, sandbox.Sandbox),
    ("GET", paths.SANDBOXES): Operation(answer=sandbox.SandboxPage | list[sandbox.Sandbox]),
    ("GET", paths.SANDBOXES_PAGINATED): Operation(answer=sandbox.NumberedPage),
    ("GET", paths.METRICS_HISTORY): Operation(answer=info.History),
    ("GET", paths.SANDBOX): _one,
    ("DELETE", paths.SANDBOX): _one,
    ("PUT", paths.LABELS): Operation(sandbox.Labels, sandbox.Labels),
    ("POST", paths.LAST_ACTIVITY): _plain,
    ("GET", paths.TOOLBOX_URL): Operation(answer=sandbox.ToolboxUrl),
    ("GET", paths.LOGS): Operation(media=TEXT),
    ("POST", paths.START): _one,
    ("POST", paths.STOP): _one,
    ("POST", paths.ARCHIVE): _one,
    ("POST", paths.RECOVER): _one,
    ("POST", paths.RESIZE): Operation(sandbox.Resize, sandbox.Sandbox),
    ("POST", paths.FORK): Operation(sandbox.Fork, sandbox.Sandbox),
    ("POST", paths.PAUSE): _one,
    ("POST", paths.AUTO_STOP): _one,
    ("POST", paths.AUTO_ARCHIVE): _one,
    ("POST", paths.AUTO_DELETE): _one,
    ("POST", paths.AUTO_PAUSE): _one,
    ("POST", paths.TTL): _one,
    ("POST", paths.PUBLIC): _one,
    ("POST", paths.SSH_ACCESS): Operation(answer=ssh.SshAccess),
    ("DELETE", paths.SSH_ACCESS): _one,
    ("GET", paths.SSH_VALIDATE): Operation(answer=ssh.SshValidation),
    ("POST", paths.KEYS): Operation(keys.CreateKey, keys.NewKey),
    ("GET", paths.KEYS): Operation(answer=list[keys.Key]),
    ("GET", paths.KEY_CURRENT): Operation(answer=keys.Key),
    ("GET", paths.KEY): Operation(answer=keys.Key),
    ("DELETE", paths.KEY): Operation(),
    ("DELETE", paths.KEY_OF_USER): Operation(),
    ("GET", paths.ORGANIZATIONS): Operation(answer=list[organization.Organization]),
    ("GET", paths.ORGANIZATION): Operation(answer=organization.Organization),
    ("GET", paths.ME): Operation(answer=organization.User),
    ("GET", paths.REGIONS): Operation(answer=list[organization.Region]),
    ("GET", paths.SANDBOX_REGIONS): Operation(answer=list[organization.Region]),
    ("GET", paths.REGION): Operation(answer=organization.Region),
    ("GET", paths.SHARED_REGIONS): Operation(answer=list[organization.Region]),
    ("POST", paths.SECRETS): Operation(secret.CreateSecret, secret.Secret),
    ("GET", paths.SECRETS): Operation(answer=list[secret.Secret]),
    ("GET", paths.SECRETS_PAGINATED): Operation(answer=secret.SecretPage),
    ("GET", paths.SECRET): Operation(answer=secret.Secret),
    ("PATCH", paths.SECRET): Operation(secret.UpdateSecret, secret.Secret),
    ("DELETE", paths.SECRET): Operation(),
    ("POST", paths.VOLUMES): Operation(volume.CreateVolume, volume.Volume),
    ("GET", paths.VOLUMES): Operation(answer=list[volume.Volume]),
    ("GET", paths.VOLUME_BY_NAME): Operation(answer=volume.Volume),
    ("GET", paths.VOLUME): Operation(answer=volume.Volume),
    ("DELETE", paths.VOLUME): Operation(answer=volume.Volume),
    ("POST", paths.WARM_POOLS): Operation(pool.CreateWarmPool, pool.WarmPool),
    ("GET", paths.WARM_POOLS): Operation(answer=list[pool.WarmPool]),
    ("PATCH", paths.WARM_POOL): Operation(pool.UpdateWarmPool, pool.WarmPool),
    ("DELETE", paths.WARM_POOL): Operation(),
    ("GET", "/snapshots"): Operation(answer=snapshots.SnapshotPage),
    ("POST", "/snapshots"): Operation(snapshots.CreateSnapshot, snapshots.Snapshot),
    ("GET", "/snapshots/{}"): Operation(answer=snapshots.Snapshot),
    ("DELETE", "/snapshots/{}"): Operation(answer=snapshots.Snapshot),
    ("POST", "/snapshots/{}/activate"): Operation(answer=snapshots.Snapshot),
    ("POST", "/snapshots/{}/deactivate"): Operation(),
    ("GET", "/snapshots/{}/build-logs-url"): Operation(answer=snapshots.Url),
    ("GET", "/snapshots/{}/build-logs"): Operation(media=TEXT),
    ("GET", "/sandbox/{}/build-logs-url"): Operation(answer=snapshots.Url),
    ("GET", "/sandbox/{}/build-logs"): Operation(media=TEXT),
    ("POST", "/sandbox/{}/snapshot"): Operation(sandbox.SnapshotOf, sandbox.Sandbox),
    ("POST", "/sandbox/{}/network-settings"): Operation(sandbox.NetworkSettings, sandbox.Sandbox),
    ("PUT", "/sandbox/{}/secrets"): Operation(sandbox.SandboxSecrets, sandbox.Sandbox),
    ("GET", "/sandbox/{}/signing-key"): Operation(answer=str),
    ("POST", "/sandbox/{}/signing-key/rotate"): Operation(answer=str),
    ("GET", "/sandbox/{}/ports/{}/preview-url"): Operation(answer=preview.PreviewUrl),
    ("GET", "/sandbox/{}/ports/{}/signed-preview-url"): Operation(answer=preview.SignedPreviewUrl),
    ("POST", "/sandbox/{}/ports/{}/signed-preview-url/{}/expire"): _plain,
    ("GET", "/object-storage/push-access"): Operation(answer=snapshots.StorageAccess),
}
"""Below the control API. Names of path parameters do not matter."""

_run = process.ExecuteAnswer
_content = Operation(media=BINARY)

TOOLBOX: dict[tuple[str, str], Operation] = {
    ("POST", paths.EXECUTE): Operation(process.Execute, _run),
    ("POST", paths.CODE_RUN): Operation(process.CodeRun, _run),
    ("POST", paths.TESTS): Operation(process.Tests, process.TestsAnswer),
    ("POST", paths.STREAM): Operation(process.Stream, media=BINARY),
    ("POST", paths.CONTEXTS): Operation(interpreter.CreateContext, interpreter.Context),
    ("GET", paths.CONTEXTS): Operation(answer=interpreter.Contexts),
    ("DELETE", paths.CONTEXT): Operation(answer=interpreter.Message),
    ("GET", paths.INTERPRETER): Operation(),
    ("POST", paths.SESSIONS): Operation(sessions.CreateSession),
    ("GET", paths.SESSIONS): Operation(answer=list[sessions.Session]),
    ("GET", paths.ENTRYPOINT): Operation(answer=sessions.Session),
    ("GET", paths.ENTRYPOINT_LOGS): Operation(answer=sessions.Logs),
    ("GET", paths.SESSION): Operation(answer=sessions.Session),
    ("DELETE", paths.SESSION): Operation(),
    ("POST", paths.SESSION_EXECUTE): Operation(sessions.Execute, sessions.Executed),
    ("GET", paths.SESSION_COMMAND): Operation(answer=sessions.Command),
    ("GET", paths.SESSION_LOGS): Operation(answer=sessions.Logs),
    ("POST", paths.SESSION_INPUT): Operation(sessions.Input),
    ("POST", paths.TERMINALS): Operation(pty.Create, pty.Created),
    ("GET", paths.TERMINALS): Operation(answer=pty.Terminals),
    ("GET", paths.TERMINAL): Operation(answer=pty.Terminal),
    ("DELETE", paths.TERMINAL): Operation(answer=pty.Message),
    ("POST", paths.TERMINAL_RESIZE): Operation(pty.Resize, pty.Terminal),
    ("GET", paths.TERMINAL_CONNECT): Operation(),
    ("GET", paths.TERMINAL_CREATE_CONNECT): Operation(query=("id", "cwd", "cols", "rows")),
    ("POST", paths.LSP_START): Operation(lsp.Server),
    ("POST", paths.LSP_STOP): Operation(lsp.Server),
    ("POST", paths.LSP_DID_OPEN): Operation(lsp.Document),
    ("POST", paths.LSP_DID_CLOSE): Operation(lsp.Document),
    ("GET", paths.LSP_DOCUMENT_SYMBOLS): Operation(answer=list[lsp.Symbol]),
    ("GET", "/lsp/workspacesymbols"): Operation(answer=list[lsp.Symbol]),
    ("GET", "/lsp/workspace-symbols"): Operation(answer=list[lsp.Symbol]),
    ("POST", paths.LSP_COMPLETIONS): Operation(lsp.Completions, lsp.CompletionList),
    ("GET", paths.FILES): Operation(answer=list[files.FileInfo]),
    ("DELETE", paths.FILES): Operation(),
    ("GET", paths.FILE_INFO): Operation(answer=files.FileInfo),
    ("POST", paths.FOLDER): _plain,
    ("POST", paths.MOVE): _plain,
    ("POST", paths.PERMISSIONS): _plain,
    ("GET", paths.DOWNLOAD): _content,
    ("POST", paths.UPLOAD): Operation(answer=dict[str, str], body=FORM),
    ("POST", "/files/upload-v2"): Operation(answer=files.UploadedFile, body=FORM),
    ("POST", paths.BULK_DOWNLOAD): Operation(files.BulkDownload, media=FORM),
    ("POST", paths.BULK_UPLOAD): Operation(answer=files.Uploaded, body=FORM),
    ("GET", "/files/find"): Operation(answer=list[files.Match]),
    ("GET", "/files/search"): Operation(answer=files.Found),
    ("POST", "/files/replace"): Operation(files.Replace, list[files.Replaced]),
    ("POST", paths.GIT_CLONE): Operation(git.Clone, dict[str, str]),
    ("POST", paths.GIT_INIT): Operation(git.Init, dict[str, str]),
    ("GET", paths.GIT_STATUS): Operation(answer=git.Status),
    ("GET", paths.GIT_BRANCHES): Operation(answer=git.Branches),
    ("POST", paths.GIT_BRANCHES): Operation(git.Branch, dict[str, str]),
    ("DELETE", paths.GIT_BRANCHES): Operation(git.Branch),
    ("POST", paths.GIT_CHECKOUT): Operation(git.Checkout, dict[str, str]),
    ("POST", paths.GIT_ADD): Operation(git.Add, dict[str, str]),
    ("POST", paths.GIT_COMMIT): Operation(git.Commit, git.Committed),
    ("POST", paths.GIT_PUSH): Operation(git.Transfer, dict[str, str]),
    ("POST", paths.GIT_PULL): Operation(git.Transfer, dict[str, str]),
    ("GET", paths.GIT_HISTORY): Operation(answer=list[git.CommitInfo]),
    ("POST", paths.GIT_RESET): Operation(git.Reset, dict[str, str]),
    ("POST", paths.GIT_RESTORE): Operation(git.Restore, dict[str, str]),
    ("GET", paths.GIT_REMOTES): Operation(answer=git.Remotes),
    ("POST", paths.GIT_REMOTES): Operation(git.AddRemote, dict[str, str]),
    ("GET", paths.GIT_CONFIG): Operation(answer=git.ConfigValue),
    ("POST", paths.GIT_CONFIG): Operation(git.SetConfig, dict[str, str]),
    ("POST", paths.GIT_CONFIG_USER): Operation(git.ConfigureUser, dict[str, str]),
    ("POST", paths.GIT_CREDENTIALS): Operation(git.Authenticate, dict[str, str]),
    ("GET", paths.HOME_DIR): Operation(answer=files.Directory),
    ("GET", paths.WORK_DIR): Operation(answer=files.Directory),
    ("GET", paths.PROJECT_DIR): Operation(answer=files.Directory),
    ("POST", "/env"): Operation(info.UpdateEnv, dict[str, str]),
    ("GET", "/port"): Operation(answer=info.Ports),
    ("GET", "/port/{}/in-use"): Operation(answer=info.PortInUse),
    ("GET", "/system/metrics"): Operation(answer=info.Metrics),
    ("GET", paths.VERSION): Operation(answer=info.Version),
}
"""Below a sandbox's toolbox."""

XML = "application/xml"
ROOT: dict[tuple[str, str], Operation] = {
    ("GET", paths.OPENAPI): Operation(answer=dict[str, Any]),
    **{
        (method, "/object-storage/s3/{}"): Operation(media=XML) for method in ("GET", "PUT", "POST", "DELETE")
    },
    **{
        (method, "/object-storage/s3/{}/{}"): Operation(media=XML)
        for method in ("GET", "PUT", "POST", "DELETE")
    },
}
"""Beside both: the document itself, and uploads of build contexts, signed as S3 wants it instead of with a key."""
