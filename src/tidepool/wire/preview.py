"""JSON of previews (protocol section 5.1)."""

import msgspec


class PreviewUrl(msgspec.Struct, rename="camel"):
    """Answer of `GET /sandbox/{sandbox}/ports/{port}/preview-url`."""

    sandbox_id: str
    url: str
    token: str
    """For the header X-Daytona-Preview-Token or the query DAYTONA_SANDBOX_AUTH_KEY."""


class SignedPreviewUrl(msgspec.Struct, rename="camel"):
    """Answer of `GET /sandbox/{sandbox}/ports/{port}/signed-preview-url`."""

    sandbox_id: str
    port: int
    token: str
    url: str
    """Opens the port by itself until its time is over."""
