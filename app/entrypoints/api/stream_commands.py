"""Approve and reject on the stream: the same work, checks and idempotency keys as by HTTP.

The client's `id` is its Idempotency-Key. Said again on another connection, or by HTTP, it acts once.
"""

from dataclasses import dataclass

import msgspec
from redis.exceptions import RedisError

from app.domain.errors import BallastError, Denied
from app.domain.identifiers import AdjustmentId
from app.entrypoints.api.consent import Work, approval, rejection
from app.entrypoints.api.problems import redis_away, status_of
from app.entrypoints.api.stream_messages import ApproveCommand, RejectCommand, message
from app.entrypoints.api.writes import fingerprint_of, once
from app.ports.management import Caller, MarketNow, Scope, UnitsOfWork


@dataclass(frozen=True, slots=True)
class StreamCommands:
    units: UnitsOfWork
    market: MarketNow

    async def answer(self, caller: Caller, command: ApproveCommand | RejectCommand) -> bytes:
        """A `result`, or an `error` with the code of the problem document that HTTP would answer."""
        try:
            return await self._done(caller, command)
        except BallastError as error:
            refusal = error
        except RedisError as error:
            refusal = redis_away(error)
        status, code, _ = status_of(refusal)
        return message(op="error", id=command.id, code=code, status=status, message=str(refusal))

    async def _done(self, caller: Caller, command: ApproveCommand | RejectCommand) -> bytes:
        if Scope.TRADE not in caller.scopes:
            raise Denied(f"this needs a key with the scope {Scope.TRADE.value!r}")
        work, fingerprint = await self._work(caller, command)
        answer, replayed = await once(self.units, caller, command.id, fingerprint, work)
        return message(op="result", id=command.id, replayed=replayed, adjustment=msgspec.Raw(answer.body))

    async def _work(self, caller: Caller, command: ApproveCommand | RejectCommand) -> tuple[Work, bytes]:
        wanted = AdjustmentId(command.adjustment_id)
        path = f"/v1/adjustments/{wanted}"
        match command:
            case ApproveCommand():
                work = await approval(self.units, self.market, caller.tenant_id, wanted)
                return work, fingerprint_of(f"{path}/approve?", b"")
            case RejectCommand(reason=reason):
                work = await rejection(self.market, caller.tenant_id, wanted, because=reason)
                body = msgspec.json.encode({"reason": reason}) if reason else b""
                return work, fingerprint_of(f"{path}/reject?", body)
