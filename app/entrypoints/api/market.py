"""Routes of the market as it stands."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Literal

from fastapi import APIRouter
from pydantic import Field

from app.domain.market import UNLISTED, Change, Quality, TickKind
from app.domain.times import rfc3339
from app.domain.values import decimal_text
from app.entrypoints.api.dependencies import Deps, InstrumentPath, Reader
from app.entrypoints.api.schemas import Moment, Shown
from app.entrypoints.api.strict_json import StrictRoute

router = APIRouter(prefix="/v1/market", tags=["market"], route_class=StrictRoute)

_KINDS = tuple(kind for kind in TickKind if kind is not TickKind.HEARTBEAT)
_QUALITY = f"^({'|'.join(quality.name.lower() for quality in Quality)})$"


class ShownValue(Shown):
    """A consensus value. `quality` says what it is good for; the age is by the market clock."""

    kind: TickKind
    instrument: str = Field(
        description="A listed instrument; of other kinds, the name of their index, chain or depth.",
        examples=["BTC-USDT-PERP"],
    )
    value: str = Field(examples=["64250.5"])
    confidence: str = Field(description="Half width of the sources' interval.", examples=["1.2"])
    sources: int = Field(examples=[3])
    origin: Literal["sources", "surface"] = Field(
        description="`surface`: a volatility that nobody quotes, read off what other options are quoted at."
    )
    quality: str = Field(examples=["valid"], pattern=_QUALITY)
    time: Moment
    age_seconds: str = Field(examples=["0.25"])

    @classmethod
    def of(cls, change: Change, clock_ns: int) -> "ShownValue":
        return cls(
            kind=change.kind,
            instrument=change.instrument,
            value=decimal_text(Decimal(repr(change.value))),
            confidence=decimal_text(Decimal(repr(change.confidence))),
            sources=change.sources,
            origin="surface" if change.is_read_off else "sources",
            quality=change.quality.name.lower(),
            time=rfc3339(change.time_ns),
            age_seconds=decimal_text(Decimal(clock_ns - change.time_ns).scaleb(-9)),
        )


class ShownMarket(Shown):
    """The market as it stands. `clock` is the market clock, which every age and expiry goes by."""

    clock: Moment
    position: str = Field(description="Newest entry of the market stream.", examples=["1-48210"])
    values: list[ShownValue]

    @classmethod
    def of(cls, changes: Sequence[Change], position: str, clock_ns: int) -> "ShownMarket":
        values = [ShownValue.of(change, clock_ns) for change in changes]
        return cls(clock=rfc3339(clock_ns), position=position, values=values)


@router.get("")
async def read_all(_: Reader, deps: Deps) -> ShownMarket:
    """Every consensus value, with its quality and its age by the market clock."""
    position, clock_ns = await deps.market.clock()
    return ShownMarket.of(await deps.market.everything(), position.entry_id, clock_ns)


@router.get("/{instrument_id:path}")
async def read_one(instrument_id: InstrumentPath, _: Reader, deps: Deps) -> ShownMarket:
    """Of an instrument, or of an index, a chain or a depth, which need not be listed."""
    known = await deps.market.values([(kind, instrument_id) for kind in _KINDS])
    if not any(kind in UNLISTED for kind, _ in known):
        async with deps.units() as unit:
            await unit.instruments.get(instrument_id)
    position, clock_ns = await deps.market.clock()
    return ShownMarket.of(list(known.values()), position.entry_id, clock_ns)
