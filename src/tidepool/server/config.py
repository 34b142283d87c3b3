"""How one server is set up; the only place of the server that reads the environment."""

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

MAX_JSON_BYTES = 32 << 20


@dataclass(frozen=True)
class ServerConfig:
    """Everything a server needs to know, read once."""

    state_dir: Path
    runtime_dir: Path
    api_keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Key to tenant. Empty on a Unix socket, where the peer's uid decides."""
    allowed_uids: frozenset[int] = frozenset({0})
    """Who may speak over a Unix socket."""
    idle_s: float | None = None
    """Exit after so long without work; None: never."""
    default_network: str = "none"
    """For sandboxes whose request names none."""
    pool_size: int = 2


def directories(environ: Mapping[str, str], uid: int) -> tuple[Path, Path]:
    """State and runtime directory: TIDEPOOL_STATE_DIR and TIDEPOOL_RUNTIME_DIR, else the user's usual places."""
    if uid == 0:
        state, runtime = "/var/lib/tidepool", "/run/tidepool-0"
    else:
        home = environ.get("XDG_DATA_HOME") or os.path.join(environ.get("HOME", "/"), ".local/share")
        state = os.path.join(home, "tidepool")
        session = environ.get("XDG_RUNTIME_DIR")
        runtime = os.path.join(session, "tidepool") if session else f"/tmp/tidepool-{uid}"
    return (
        Path(environ.get("TIDEPOOL_STATE_DIR") or state).absolute(),
        Path(environ.get("TIDEPOOL_RUNTIME_DIR") or runtime).absolute(),
    )


def api_keys(environ: Mapping[str, str], state_dir: Path) -> tuple[dict[str, str], str]:
    """Keys for TCP, and a sentence that says where the key came from.

    TIDEPOOL_API_KEY, else the content of the file TIDEPOOL_API_KEY_FILE names, else a key made once and kept in the
    state directory, readable by its owner only.

    Raises:
        OSError: The named file cannot be read.
        ValueError: The key is empty or not one line.
    """
    if "TIDEPOOL_API_KEY" in environ:
        return _one(environ["TIDEPOOL_API_KEY"], "TIDEPOOL_API_KEY"), "the API key is TIDEPOOL_API_KEY's"
    named = environ.get("TIDEPOOL_API_KEY_FILE")
    path = Path(named) if named else state_dir / "api_key"
    if not named and not path.exists():
        state_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w") as file:
            file.write(f"dtn_{secrets.token_hex(32)}\n")
    return _one(path.read_text(), str(path)), f"the API key is in {path}"


def _one(text: str, source: str) -> dict[str, str]:
    key = text.strip()
    if not key or any(character.isspace() for character in key):
        raise ValueError(f"{source} must hold one key on one line")
    return {key: "default"}
