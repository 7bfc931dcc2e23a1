"""Routes of the oracle: ticks in, and who said what."""

from base64 import b64encode

from fastapi import APIRouter
from fastapi.exceptions import RequestValidationError
from pydantic import Field

from app.domain.identifiers import TenantId
from app.domain.market import Quality, Rejection, TickKind
from app.domain.times import rfc3339
from app.entrypoints.api.dependencies import Deps, Publisher, Reader
from app.entrypoints.api.market import QUALITY, Rejections, ShownVote, number, seconds
from app.entrypoints.api.schemas import Moment, Shown
from app.entrypoints.api.strict_json import StrictRoute
from app.oracle.standing import Standing, Voice
from app.services.publish_ticks import TicksDocument, may_publish, publish_ticks
from app.services.show_sources import ShownSources, show_sources

router = APIRouter(prefix="/v1/oracle", tags=["oracle"], route_class=StrictRoute)


class ShownWord(ShownVote):
    """A source's last word on one line, and what that came to with everybody's."""

    kind: TickKind
    instrument: str = Field(examples=["BTC-USDT"])
    consensus: str | None = Field(description="Null until something was agreed on.", examples=["64250.25"])
    quality: str | None = Field(examples=["valid"], json_schema_extra={"pattern": QUALITY})

    @classmethod
    def about(cls, voice: Voice, line: Standing, clock_ns: int) -> "ShownWord":
        change = line.change
        return cls(
            **ShownVote.of(voice, clock_ns).model_dump(),
            kind=voice.tick.kind,
            instrument=voice.tick.instrument,
            consensus=None if change is None else number(change.value),
            quality=None if change is None else Quality(change.quality).name.lower(),
        )


class ShownSource(Shown):
    """Who is not `declared` is what the registry says of `*`, where it says anything of that."""

    id: str = Field(examples=["binanceus"])
    declared: bool
    enabled: bool
    weight: str = Field(examples=["1"])
    kind: TickKind | None = Field(description="The only one it may speak of.", examples=[None])
    base: str | None = Field(examples=["BTC"])
    quote: str | None = Field(description="Currency of its prices, where declared.", examples=["USDT"])
    maximum_age_seconds: str | None = Field(
        description="How old its words may be that vote, where declared; else as old as their kind may be.",
        examples=["120"],
    )
    heartbeat_seconds: str = Field(
        description="As declared: for so long its words are as good as new, and age thereafter.",
        examples=["0"],
    )
    public_key: str | None = Field(
        description="Ed25519, base64: its entries must be signed.", examples=[None]
    )
    may_publish: bool = Field(
        description="Whether the tenant's keys of the scope `ticks` may send its ticks; signed, if it signs."
    )
    last_tick: Moment | None = Field(description="Null of who said nothing yet.")
    last_heartbeat: Moment | None = Field(
        description="Of its heartbeat ticks: they say that it is there, and keep no word new. Null without.",
        examples=[None],
    )
    away_since: Moment | None = Field(
        description="Since when no word of it counts; null while one does, or where there is none.",
        examples=[None],
    )
    words: list[ShownWord] = Field(description="Its last on each line.")
    rejections: Rejections

    @classmethod
    def of(cls, name: str, shown: ShownSources, clock_ns: int, tenant_id: TenantId) -> "ShownSource":
        source = shown.declared.source(name)
        key, age_ns = source.public_key, source.maximum_age_ns
        return cls(
            id=name,
            declared=name in shown.declared.sources,
            enabled=source.enabled,
            weight=number(source.weight),
            kind=source.kind,
            base=source.base,
            quote=source.quote,
            maximum_age_seconds=None if age_ns is None else seconds(age_ns),
            heartbeat_seconds=seconds(source.heartbeat_ns),
            public_key=None if key is None else b64encode(key).decode(),
            may_publish=may_publish(source, tenant_id),
            last_tick=_moment(shown.heard_ns(name)),
            last_heartbeat=_moment(shown.heartbeats.get(name)),
            away_since=_moment(shown.away_ns(name, clock_ns)),
            words=[ShownWord.about(voice, line, clock_ns) for voice, line in shown.voices(name)],
            rejections=dict(shown.rejections.get(name, {})),
        )


def _moment(time_ns: int | None) -> str | None:
    return None if time_ns is None else rfc3339(time_ns)


class ShownRegistry(Shown):
    """`clock` is the market clock, which every age goes by."""

    clock: Moment
    sources: list[ShownSource]
    rejections_of_others: Rejections = Field(
        description="Of whoever is not declared and was never heard, and of what named nobody."
    )


class RefusedTick(Shown):
    index: int = Field(description="In the batch, from 0.", examples=[3])
    reason: Rejection
    detail: str


class TakenTicks(Shown):
    """What was appended is still the oracle's to judge: whom it refuses, `GET /v1/oracle/sources` tells."""

    entry: str = Field(description="Its id in the stream.", examples=["1767225600000-0"])
    accepted: int = Field(examples=[1])
    refused: list[RefusedTick] = Field(examples=[[]])


@router.post("/ticks", status_code=202)
async def publish(document: TicksDocument, caller: Publisher, deps: Deps) -> TakenTicks:
    """Appends a batch to the stream of ticks, for publishers without Redis; it needs the scope `ticks`.

    Each source has to be one whose publisher is the key's tenant, by the registry, or one that signs.

    A batch that is sent again counts once, by the sequences of its ticks. A signed one is taken whole or not
    at all. Where nothing is taken, the problem tells of each tick why.
    """
    published = await publish_ticks(
        deps.units, deps.market, deps.publisher, document, tenant_id=caller.tenant_id
    )
    if published.entry is None:
        raise RequestValidationError(
            [
                {
                    "type": refusal.reason,
                    "loc": ("body", "ticks", index),
                    "msg": f"{refusal.reason}: {refusal}",
                }
                for index, refusal in published.refused
            ]
        )
    refused = [
        RefusedTick(index=index, reason=Rejection(refusal.reason), detail=str(refusal))
        for index, refusal in published.refused
    ]
    return TakenTicks(entry=published.entry, accepted=published.accepted, refused=refused)


@router.get("/sources")
async def read_sources(caller: Reader, deps: Deps) -> ShownRegistry:
    """Who is declared or was heard: what they may say, what they said last, and why they were refused."""
    shown = await show_sources(deps.units, deps.oracle)
    _, clock_ns = await deps.market.clock()
    sources = [ShownSource.of(name, shown, clock_ns, caller.tenant_id) for name in shown.names()]
    return ShownRegistry(
        clock=rfc3339(clock_ns), sources=sources, rejections_of_others=dict(shown.rejections.get("", {}))
    )
