"""What one sandbox may do now, and everything it is doing by that right, so that losing a right ends its use.

Whoever reaches out registers first, in the same step in which he is granted the right: a change of policy finds all of
them, also those that are still resolving or dialling.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tidepool.egress.authority import Authority
from tidepool.egress.policy import Grant, Place, Policy
from tidepool.egress.refusal import Refusal
from tidepool.egress.vault import Vault


@dataclass
class _Use:
    place: Place | None
    """None: the package mirror."""
    grant: Grant | None
    opened: bool
    """Whether its TLS is opened here."""


class Rights:
    """Policy and secrets of one sandbox.

    Args:
        sandbox_id: Whose.
        policy: What it may reach.
        vault: Its secrets.

    Raises:
        NoAuthority: There are secrets, and nothing to make certificates with.
    """

    def __init__(self, sandbox_id: str, policy: Policy, vault: Vault | None = None) -> None:
        self._sandbox_id = sandbox_id
        self._uses: dict[asyncio.Task[object], _Use] = {}
        self._authority: Authority | None = None
        self.policy, self.vault = policy, vault or Vault()
        self._need_authority(self.vault)

    @property
    def authority(self) -> Authority | None:
        """Who vouches for hosts that secrets are bound to; None as long as there have been no secrets."""
        return self._authority

    def change(self, policy: Policy, vault: Vault | None = None) -> int:
        """Takes other rights; every use that they do not give in the same way is cut. Returns how many were.

        Args:
            policy: The new policy.
            vault: The new secrets; None leaves them.

        Raises:
            NoAuthority: As the class; nothing has changed.
        """
        new_vault = self.vault if vault is None else vault
        self._need_authority(new_vault)
        same_secrets = new_vault == self.vault
        self.policy, self.vault = policy, new_vault
        lost = [task for task, use in self._uses.items() if not self._still(use, same_secrets)]
        for task in lost:
            task.cancel()
        return len(lost)

    @contextmanager
    def using_packages(self) -> Iterator[None]:
        """While the package mirror answers this task.

        Raises:
            Refusal: 403, it may not.
        """
        if not self.policy.packages:
            raise Refusal(403, self._no("The package mirror"))
        with self._registered(_Use(None, None, False)):
            yield

    @contextmanager
    def using(self, place: Place, opened: bool) -> Iterator[Grant]:
        """While this task has to do with a place outside.

        Raises:
            Refusal: 403, it may not.
        """
        grant = self.policy.judge(place)
        if grant is None:
            raise Refusal(403, self._no(place.authority))
        with self._registered(_Use(place, grant, opened)):
            yield grant

    def _no(self, what: str) -> str:
        match self.policy.kind:
            case "none":
                return "This sandbox has no network: its policy is none."
            case "packages":
                return "This is a mirror of package indexes, not a proxy to other servers: only paths are answered."
            case _:
                return f"{what} is not on this sandbox's allow-list."

    @contextmanager
    def _registered(self, use: _Use) -> Iterator[None]:
        task = asyncio.current_task()
        assert task is not None
        before = self._uses.get(task)
        self._uses[task] = use
        try:
            yield
        finally:
            del self._uses[task]
            if before is not None:
                self._uses[task] = before

    def _still(self, use: _Use, same_secrets: bool) -> bool:
        if use.place is None:
            return self.policy.packages
        same_way = self.vault.opens(use.place) == use.opened and (same_secrets or not use.opened)
        return same_way and self.policy.judge(use.place) == use.grant

    def _need_authority(self, vault: Vault) -> None:
        if vault.secrets and self._authority is None:
            self._authority = Authority(self._sandbox_id)
