"""Routes of the market as it stands, and why."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import Field

from app.domain.market import UNLISTED, Change, Quality, TickKind
from app.domain.times import rfc3339
from app.domain.values import decimal_text
from app.entrypoints.api.dependencies import Deps, InstrumentPath, Reader
from app.entrypoints.api.schemas import Moment, Shown
from app.entrypoints.api.strict_json import StrictRoute
from app.oracle.standing import Silence, Standing, Voice
from app.services.show_sources import show_sources

router = APIRouter(prefix="/v1/market", tags=["market"], route_class=StrictRoute)

_KINDS = tuple(kind for kind in TickKind if kind is not TickKind.HEARTBEAT)
QUALITY = f"^({'|'.join(quality.name.lower() for quality in Quality)})$"
Rejections = Annotated[
    dict[str, int],
    Field(description="How many of its ticks were refused, by reason.", examples=[{"stale": 3}]),
]


def number(value: float) -> str:
    return decimal_text(Decimal(repr(value)))


def seconds(duration_ns: int) -> str:
    return decimal_text(Decimal(duration_ns).scaleb(-9))


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
    quality: str = Field(examples=["valid"], pattern=QUALITY)
    time: Moment
    age_seconds: str = Field(examples=["0.25"])

    @classmethod
    def of(cls, change: Change, clock_ns: int) -> "ShownValue":
        return cls(
            kind=change.kind,
            instrument=change.instrument,
            value=number(change.value),
            confidence=number(change.confidence),
            sources=change.sources,
            origin="surface" if change.is_read_off else "sources",
            quality=change.quality.name.lower(),
            time=rfc3339(change.time_ns),
            age_seconds=seconds(clock_ns - change.time_ns),
        )


class ShownVote(Shown):
    """The last word of a source on a line, in its own quote currency. Doubts halve what it weighs."""

    source: str = Field(examples=["binanceus"])
    value: str = Field(examples=["64251"])
    confidence: str = Field(examples=["0.5"])
    sequence: int = Field(examples=[48210])
    time: Moment
    age_seconds: str = Field(examples=["0.25"])
    fresh: bool = Field(description="False once it is older than its source may be.")
    stands_by: Literal["tick", "heartbeat"] | None = Field(
        description="`heartbeat`: without one declared it would be too old. Null once it is not fresh.",
        examples=["tick"],
    )
    away_since: Moment | None = Field(
        description="From when on its source counts as away; null while the word is fresh.", examples=[None]
    )
    silent: Silence | None = Field(
        description="Why it does not vote: its source is disabled, or away; or no spot market between its "
        "currency and the instrument's is listed, or none of its sources counts. Null while it votes.",
        examples=[None],
    )
    converted_by: str | None = Field(
        description="The market by whose consensus it is converted, where it is.", examples=[None]
    )
    weight: str = Field(description="As declared; 0 of who is not enabled.", examples=["1"])
    halvings: int = Field(description="How often that is halved in the vote.", examples=[0])
    doubted: Moment | None = Field(description="When its halvings last changed.", examples=[None])

    @classmethod
    def of(cls, voice: Voice, clock_ns: int) -> "ShownVote":
        tick, fresh, rate = voice.tick, voice.is_fresh(clock_ns), voice.rate
        by_heartbeat = voice.stands_by_heartbeat(clock_ns)
        return cls(
            source=tick.source,
            value=number(tick.value),
            confidence=number(tick.confidence),
            sequence=tick.sequence,
            time=rfc3339(tick.time_ns),
            age_seconds=seconds(clock_ns - tick.time_ns),
            fresh=fresh,
            stands_by=("heartbeat" if by_heartbeat else "tick") if fresh else None,
            away_since=None if fresh else rfc3339(voice.away_ns),
            silent=voice.silence(clock_ns),
            converted_by=None if rate is None else rate.of.spot,
            weight=number(voice.weight),
            halvings=voice.halvings,
            doubted=rfc3339(voice.since_ns) if voice.since_ns else None,
        )


class ShownAverages(Shown):
    """Up to when the line last moved. `twap` is over 5 minutes, the time constant of `ewma` is one minute."""

    twap: str = Field(examples=["64249.75"])
    twap_confidence: str = Field(examples=["1.1"])
    ewma: str = Field(examples=["64250.2"])
    ewma_confidence: str = Field(examples=["1.15"])
    dispersion: str = Field(description="Between the quartiles of the sources' values.", examples=["2"])

    @classmethod
    def of(cls, line: Standing) -> "ShownAverages":
        return cls(
            twap=number(line.twap),
            twap_confidence=number(line.twap_confidence),
            ewma=number(line.ewma),
            ewma_confidence=number(line.ewma_confidence),
            dispersion=number(line.dispersion),
        )


class ExplainedValue(ShownValue):
    """A consensus value, its averages, and the votes that it came from."""

    averages: ShownAverages | None
    votes: list[ShownVote]

    @classmethod
    def from_line(cls, change: Change, line: Standing | None, clock_ns: int) -> "ExplainedValue":
        votes = () if line is None else line.sources
        return cls(
            **ShownValue.of(change, clock_ns).model_dump(),
            averages=None if line is None or line.change is None else ShownAverages.of(line),
            votes=[ShownVote.of(voice, clock_ns) for voice in votes],
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


class ExplainedMarket(Shown):
    """One instrument's values, and why. `rejections` are of the sources that voted, on whatever they said."""

    clock: Moment
    position: str = Field(description="Newest entry of the market stream.", examples=["1-48210"])
    values: list[ExplainedValue]
    rejections: dict[str, Rejections] = Field(
        description="By source.", examples=[{"binanceus": {"stale": 3}}]
    )


@router.get("")
async def read_all(_: Reader, deps: Deps) -> ShownMarket:
    """Every consensus value, with its quality and its age by the market clock."""
    position, clock_ns = await deps.market.clock()
    return ShownMarket.of(await deps.market.everything(), position.entry_id, clock_ns)


@router.get("/{instrument_id:path}")
async def read_one(instrument_id: InstrumentPath, _: Reader, deps: Deps) -> ExplainedMarket:
    """Of an instrument, or of an index, a chain or a depth, which need not be listed: values, and why."""
    known = await deps.market.values([(kind, instrument_id) for kind in _KINDS])
    if not any(kind in UNLISTED for kind, _ in known):
        async with deps.units() as unit:
            await unit.instruments.get(instrument_id)
    shown = await show_sources(deps.units, deps.oracle, {instrument_id})
    position, clock_ns = await deps.market.clock()
    return ExplainedMarket(
        clock=rfc3339(clock_ns),
        position=position.entry_id,
        values=[ExplainedValue.from_line(known[line], shown.lines.get(line), clock_ns) for line in known],
        rejections={name: dict(shown.rejections[name]) for name in shown.words if name in shown.rejections},
    )
