"""What is said on `/v1/stream`: commands, close codes, and messages that are pictures of now."""

from enum import IntEnum
from typing import Annotated, Final, Literal
from uuid import UUID

import msgspec
from msgspec import Meta
from pydantic import Field

from app.domain.identifiers import PortfolioId
from app.domain.times import rfc3339
from app.entrypoints.api.market import ShownValue
from app.entrypoints.api.policy_status import ShownRest
from app.entrypoints.api.risk import ShownRisk
from app.entrypoints.api.schemas import Id, Moment, Shown
from app.services.tell_market import MarketPicture
from app.services.tell_rests import PolicyRest
from app.services.tell_risk import PortfolioRisk

DO_NOT_RETURN: Final = 3500
"""Codes below it: reconnect and recover. From it on: do not come back like this."""


class CloseCode(IntEnum):
    SERVICE_RESTART = 1012
    INTERNAL_ERROR = 3004
    SLOW = 3008
    INSUFFICIENT_STATE = 3010
    NO_PONG = 3012
    INVALID_TOKEN = 3500
    BAD_REQUEST = 3501
    DENIED = 3507


CLOSE_REASONS: Final = {
    CloseCode.SERVICE_RESTART: "this process stops; another one serves",
    CloseCode.INTERNAL_ERROR: "something is wrong here; it was logged",
    CloseCode.SLOW: "more than 1 MiB waited for the client to read",
    CloseCode.INSUFFICIENT_STATE: "the log is another one than before, as after a restored backup",
    CloseCode.NO_PONG: "no pong within 8 s of a ping",
    CloseCode.INVALID_TOKEN: "no valid key or ticket, or the key was revoked",
    CloseCode.BAD_REQUEST: "not a message of this protocol",
    CloseCode.DENIED: "the key lacks the scope to read",
}

CommandId = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[\x20-\x7e]+$")]


class AuthenticateCommand(msgspec.Struct, tag_field="op", tag="authenticate"):
    key: str | None = None
    ticket: str | None = None


class Recover(msgspec.Struct):
    cursor: str
    epoch: str | None = None


class SubscribeCommand(msgspec.Struct, tag_field="op", tag="subscribe"):
    channel: str
    recover: Recover | None = None
    interval_ms: int | None = None


class UnsubscribeCommand(msgspec.Struct, tag_field="op", tag="unsubscribe"):
    channel: str


class PingCommand(msgspec.Struct, tag_field="op", tag="ping"):
    pass


class ApproveCommand(msgspec.Struct, tag_field="op", tag="approve"):
    id: CommandId
    adjustment_id: UUID


class RejectCommand(msgspec.Struct, tag_field="op", tag="reject"):
    id: CommandId
    adjustment_id: UUID
    reason: Annotated[str, Meta(max_length=400, pattern=r"^[^\x00]*$")] = ""


Command = (
    AuthenticateCommand | SubscribeCommand | UnsubscribeCommand | PingCommand | ApproveCommand | RejectCommand
)
_commands = msgspec.json.Decoder(Command)
_json = msgspec.json.Encoder()


def parsed(text: str) -> Command:
    """MsgspecError for what is none."""
    try:
        command: Command = _commands.decode(text)
    except RecursionError:
        raise msgspec.DecodeError("it is nested too deeply") from None
    return command


def message(**members: object) -> bytes:
    return _json.encode(members)


class RestMessage(Shown):
    """A picture of now, in no log: it has no sequence, and nobody who was away is told of it later."""

    op: Literal["rest"]
    channel: str
    portfolio_id: Id
    policy_id: Id
    version: int
    clock: Moment
    rest: ShownRest | None = Field(description="Null while it fires, or where no bound is known.")

    @classmethod
    def of(cls, channel: str, told: PolicyRest) -> "RestMessage":
        return cls(
            op="rest",
            channel=channel,
            portfolio_id=told.portfolio_id,
            policy_id=told.policy_id,
            version=told.version,
            clock=rfc3339(told.time_ns),
            rest=ShownRest.of(told.rest, told.instruments) if told.rest else None,
        )


class RiskMessage(Shown):
    """A portfolio's metrics now, as `GET /v1/portfolios/{id}/risk` answers them."""

    op: Literal["risk"]
    channel: str
    portfolio_id: Id
    risk: ShownRisk

    @classmethod
    def of(cls, channel: str, told: PortfolioRisk) -> "RiskMessage":
        risk = ShownRisk.of(told.portfolio, told.report)
        return cls(op="risk", channel=channel, portfolio_id=PortfolioId(told.portfolio.id), risk=risk)


class MarketMessage(Shown):
    """An instrument's consensus values now; `clock` is the market clock."""

    op: Literal["market"]
    channel: str
    clock: Moment
    position: str = Field(description="Newest entry of the market stream that spoke of it.")
    values: list[ShownValue]

    @classmethod
    def of(cls, channel: str, told: MarketPicture) -> "MarketMessage":
        return cls(
            op="market",
            channel=channel,
            clock=rfc3339(told.time_ns),
            position=told.position.entry_id,
            values=[ShownValue.of(change, told.time_ns) for change in told.changes],
        )
