"""Where short-lived tickets for the stream are kept."""

from datetime import timedelta
from typing import Protocol


class Tickets(Protocol):
    """By their digests; a ticket itself is stored nowhere."""

    async def keep(self, digest: bytes, key_digest: bytes, lifetime: timedelta) -> None: ...

    async def take(self, digest: bytes) -> bytes | None:
        """The digest of the key that it stands for, once; None for one that is used, expired or unknown."""
        ...
