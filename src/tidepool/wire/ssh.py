"""JSON of SSH access (protocol section 5.1)."""

import msgspec


class SshAccess(msgspec.Struct, rename="camel", kw_only=True):
    """Answer of `POST /sandbox/{sandbox}/ssh-access`: the only one with the token."""

    id: str
    sandbox_id: str
    token: str
    expires_at: str
    created_at: str
    updated_at: str
    ssh_command: str
    """For a shell, with this server's host as the client named it."""


class SshValidation(msgspec.Struct, rename="camel"):
    """Answer of `GET /sandbox/ssh-access/validate`."""

    valid: bool
    sandbox_id: str
    """Empty where the token is not valid."""
