"""Where the server is and as whom we speak: argument, then process environment, then (the key only) `.env`.

Nothing here connects. A working directory may be somebody else's: its `.env` can name a key, never a server.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from daytona_sdk.common.errors import DaytonaAuthenticationError, DaytonaBadRequestError
from daytona_sdk.common.params import DaytonaConfig
from tidepool.wire import paths

LOCAL_URL = "http://localhost" + paths.API
"""Over the local server's Unix socket; the host name is not looked up."""

_URL_KEYS = ("DAYTONA_API_URL", "DAYTONA_SERVER_URL")
_DOTENV_LINE = re.compile(
    r"\s*(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(?:'([^']*)'|\"([^\"]*)\"|([^#\n]*?))\s*(?:#.*)?\Z"
)


@dataclass(frozen=True)
class Endpoint:
    """One server, as configured."""

    url: str
    """Base of the control API, without a slash at the end."""
    token: str | None
    """Sent as bearer token; None on the local server, which goes by who owns the socket."""
    local: bool
    """Whether it is the local server, which is found or started when first needed."""
    target: str | None = None
    max_connections: int = 250
    warnings: tuple[str, ...] = ()
    """Sentences the caller should see."""


def read_dotenv(text: str) -> dict[str, str]:
    """The assignments of a `.env` file: `KEY=value`, quotes and comments allowed; other lines do not count."""
    found = {}
    for line in text.splitlines():
        if match := _DOTENV_LINE.match(line):
            key, *values = match.groups()
            found[key] = next((value for value in values if value is not None), "")
    return found


def resolve(config: DaytonaConfig, environ: Mapping[str, str], dotenv: Mapping[str, str]) -> Endpoint:
    """Decide server and key.

    Args:
        config: What the program says; it comes first.
        environ: The process environment.
        dotenv: What the working directory's `.env` says: used for the key alone.

    Raises:
        DaytonaBadRequestError: The URL is not one of an HTTP server.
        DaytonaAuthenticationError: A server is named but no key is given.
    """
    notes = [
        f"{key} in .env is ignored: a file in the working directory must not choose where code and key go. "
        "Set it in the process environment or as api_url."
        for key in _URL_KEYS
        if dotenv.get(key)
    ]
    if environ.get("DAYTONA_SERVER_URL") and not environ.get("DAYTONA_API_URL"):
        notes.append("DAYTONA_SERVER_URL is deprecated; set DAYTONA_API_URL.")
    url = (
        config.api_url
        or config.server_url
        or environ.get("DAYTONA_API_URL")
        or environ.get("DAYTONA_SERVER_URL")
    )
    target = config.target or environ.get("DAYTONA_TARGET")
    size = config.connection_pool_maxsize
    if not url:
        return Endpoint(LOCAL_URL, None, True, target, size, tuple(notes))
    token = config.api_key or environ.get("DAYTONA_API_KEY") or dotenv.get("DAYTONA_API_KEY")
    if not token:
        raise DaytonaAuthenticationError(
            f"No API key for {url}: give DaytonaConfig(api_key=…), or set DAYTONA_API_KEY in the environment "
            "or in .env."
        )
    return Endpoint(_checked(url), token, False, target, size, tuple(notes))


def endpoint(config: DaytonaConfig | None) -> Endpoint:
    """`resolve` for this process: its environment and the `.env` of its working directory."""
    path = Path(".env")
    dotenv = read_dotenv(path.read_text("utf-8", "replace")) if path.is_file() else {}
    return resolve(config or DaytonaConfig(), os.environ, dotenv)


def _checked(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise DaytonaBadRequestError(
            f"The API URL {url!r} is not an HTTP address such as http://127.0.0.1:3986/api; "
            "correct DAYTONA_API_URL or api_url."
        )
    return url.rstrip("/")
