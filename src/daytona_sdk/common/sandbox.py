"""The data half of a sandbox, the same for both clients. What it can do is in `_async/sandbox.py`."""

from collections.abc import Mapping
from typing import Any

from daytona_sdk.common.results import Isolation, SandboxState

LANGUAGE_LABEL = "code-toolbox-language"
"""The label in which clients remember what `code_run` runs."""


class SandboxFields:
    """What the server said last about one sandbox; nothing here asks it again."""

    id: str
    """Unique, chosen by the server."""
    name: str
    user: str
    state: SandboxState
    error_reason: str | None
    env: dict[str, str]
    labels: dict[str, str]
    snapshot: str | None
    target: str | None
    cpu: float
    """Processors."""
    memory: float
    """GiB."""
    disk: float
    """GiB."""
    created_at: str | None
    """RFC 3339, as `updated_at` and `last_activity_at`."""
    updated_at: str | None
    last_activity_at: str | None
    isolation: Isolation | None
    """What is really enforced; None when the server is not ours."""
    toolbox_url: str
    """Base of this sandbox's own API; empty when the server did not give one."""

    def _apply(self, data: Mapping[str, Any]) -> None:
        """Take over one answer whole, so that no half of an older one stays."""
        self.id = data["id"]
        self.name = data.get("name") or self.id
        self.user = data.get("user") or ""
        self.state = SandboxState(data.get("state") or SandboxState.UNKNOWN)
        self.error_reason = data.get("errorReason")
        self.env = dict(data.get("env") or {})
        self.labels = dict(data.get("labels") or {})
        self.snapshot = data.get("snapshot")
        self.target = data.get("target")
        self.cpu, self.memory, self.disk = data["cpu"], data["memory"], data["disk"]
        self.created_at, self.updated_at = data.get("createdAt"), data.get("updatedAt")
        self.last_activity_at = data.get("lastActivityAt")
        self.isolation = Isolation.from_wire(data["tidepool"]) if data.get("tidepool") else None
        base = data.get("toolboxProxyUrl") or ""
        self.toolbox_url = f"{base.rstrip('/')}/{self.id}" if base else ""
