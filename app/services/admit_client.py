"""Who may listen to the stream: by a key, or by a ticket that stands for one once and for seconds only.

Browsers cannot set a header on a WebSocket, and an address is written into logs: a ticket that is found there
is used up or too old. It stands for its key, so it is void once the key is revoked.
"""

import asyncio
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog

from app.ports.management import Caller, UnitsOfWork
from app.ports.stream_tickets import Tickets
from app.services.authenticate import authenticate, digest_of
from app.services.event_listeners import Receiver
from app.services.pacing import in_parts

_log = structlog.get_logger(__name__)

TICKET_LIFETIME: Final = timedelta(seconds=30)
TICKET_SECRET_BYTES: Final = 32
CHECK_PERIOD: Final = timedelta(seconds=60)
_TICKET_PREFIX: Final = "blstt_"
_LONGEST: Final = 128


@dataclass(frozen=True, slots=True)
class Admitted:
    """Whoever was let in, and what to ask again by."""

    caller: Caller
    key_digest: bytes


async def issue_ticket(tickets: Tickets, key: str, secret: bytes) -> str:
    """Of a key that is valid; `secret` is TICKET_SECRET_BYTES of fresh randomness."""
    ticket = _TICKET_PREFIX + urlsafe_b64encode(secret).rstrip(b"=").decode()
    await tickets.keep(digest_of(ticket), digest_of(key), TICKET_LIFETIME)
    return ticket


class Admission:
    """None wherever nobody is let in. Whoever is inside goes when the key is revoked."""

    def __init__(
        self, units: UnitsOfWork, tickets: Tickets, *, check_period: timedelta = CHECK_PERIOD
    ) -> None:
        self._units = units
        self._tickets = tickets
        self._check_seconds = check_period.total_seconds()
        self._inside: dict[Receiver, Admitted] = {}

    def enter(self, receiver: Receiver, admitted: Admitted) -> None:
        self._inside[receiver] = admitted

    def leave(self, receiver: Receiver) -> None:
        self._inside.pop(receiver, None)

    async def run(self, *, close_code: int) -> None:
        """Asks for every key again, until cancelled."""
        while True:
            await asyncio.sleep(self._check_seconds)
            try:
                await self._show_out_revoked(close_code)
            except Exception as error:  # noqa: BLE001 - the outermost loop: the next turn asks again
                _log.warning("keys_not_checked", error=repr(error))

    async def _show_out_revoked(self, close_code: int) -> None:
        inside = list(self._inside.items())
        callers: dict[bytes, Caller] = {}
        for part in in_parts(list({admitted.key_digest for _, admitted in inside})):
            async with self._units() as unit:
                callers |= await unit.keys.callers_of(part)
        for receiver, admitted in inside:
            if callers.get(admitted.key_digest) != admitted.caller:
                receiver.end(close_code)

    async def by_key(self, key: str) -> Admitted | None:
        async with self._units() as unit:
            caller = await authenticate(unit, key)
        return None if caller is None else Admitted(caller, digest_of(key))

    async def by_ticket(self, ticket: str) -> Admitted | None:
        if not ticket.startswith(_TICKET_PREFIX) or len(ticket) > _LONGEST or not ticket.isascii():
            return None
        key_digest = await self._tickets.take(digest_of(ticket))
        return None if key_digest is None else await self._by_digest(key_digest)

    async def still(self, admitted: Admitted) -> bool:
        """Whether the key is as good as when it let somebody in."""
        now = await self._by_digest(admitted.key_digest)
        return now is not None and now.caller == admitted.caller

    async def _by_digest(self, key_digest: bytes) -> Admitted | None:
        async with self._units() as unit:
            caller = await unit.keys.caller_of(key_digest)
        return None if caller is None else Admitted(caller, key_digest)
