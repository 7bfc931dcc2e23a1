"""Ticks of publishers without Redis: checked as far as can be done here, and appended to the same stream.

What is refused here never reaches the oracle, which looks at all again. Sequences are its own to judge,
by what it has heard: a batch that is sent again is refused there, tick by tick, so that it counts once.

A source is spoken for by the tenant that the registry names as its publisher. Where it names none, by nobody,
unless the source signs: what is signed may be brought by anybody.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated

from pydantic import ConfigDict, Field

from app.domain.errors import InvalidTick, NotPublisher
from app.domain.identifiers import InstrumentId, TenantId
from app.domain.instruments import Instrument, InstrumentKind
from app.domain.market import MAXIMUM_NAME, Rejection, Tick, TickKind
from app.oracle.admission import check_time, check_word
from app.oracle.declared import Declared, Pair, Source
from app.oracle.kinds import admitted_age_ns
from app.oracle.sequencer import Limits
from app.oracle.signatures import SIGNATURE_BYTES, Seal
from app.ports.management import MarketNow, UnitsOfWork
from app.ports.market import TickPublisher
from app.services.documents import Amount, Base64, Document
from app.services.manage_keys import tenant_id_of

MAXIMUM_TICKS = 1_000
_INT64 = 1 << 63
_SHOWN = 10
_Integer = Annotated[int, Field(ge=-_INT64, lt=_INT64)]


class TickDocument(Document):
    """The same fields as in the stream `oracle:ticks`."""

    kind: TickKind
    source: Annotated[str, Field(min_length=1, max_length=MAXIMUM_NAME, examples=["desk"])]
    instrument: Annotated[
        str,
        Field(max_length=MAXIMUM_NAME, description="Or index, chain or depth.", examples=["BTC-USDT"]),
    ]
    sequence: Annotated[
        _Integer, Field(description="Grows, of a source in an instrument and kind.", examples=[48210])
    ]
    time_ns: Annotated[_Integer, Field(description="Since 1970, UTC.", examples=[1767225600000000000])]
    value: Amount
    confidence: Annotated[Amount, Field(description="Half width of the source's own interval.")] = Decimal(0)

    def tick(self) -> Tick:
        value, confidence = float(self.value), float(self.confidence)
        return Tick(self.kind, self.source, self.instrument, self.sequence, self.time_ns, value, confidence)


class TicksDocument(Document):
    """They become one entry of the stream, and at most one frame of the market."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "ticks": [
                        {
                            "kind": "price",
                            "source": "desk",
                            "instrument": "BTC-USDT",
                            "sequence": 48210,
                            "time_ns": 1767225600000000000,
                            "value": "64250.5",
                            "confidence": "1.5",
                        }
                    ]
                }
            ]
        }
    )

    ticks: Annotated[tuple[TickDocument, ...], Field(min_length=1, max_length=MAXIMUM_TICKS)]
    signature: Annotated[
        Base64 | None,
        Field(
            min_length=SIGNATURE_BYTES,
            max_length=SIGNATURE_BYTES,
            description="Ed25519, over all of the ticks; of sources that have a public key.",
            examples=[None],
        ),
    ] = None


@dataclass(frozen=True, slots=True)
class Published:
    """`entry` is None where nothing was appended; of what was refused, its place in the batch."""

    entry: str | None
    accepted: int
    refused: Sequence[tuple[int, InvalidTick]]


def may_publish(source: Source, tenant_id: TenantId) -> bool:
    """Whether the tenant's keys may send its ticks; of who signs, signed ones."""
    if source.publisher is None:
        return source.public_key is not None
    return tenant_id_of(source.publisher) == tenant_id


async def publish_ticks(
    units: UnitsOfWork,
    market: MarketNow,
    publisher: TickPublisher,
    document: TicksDocument,
    *,
    tenant_id: TenantId,
) -> Published:
    """What is good is appended. A signature is over the whole batch: that is taken whole or not at all.

    Raises NotPublisher where one tick is of a source that the tenant may not speak for.
    """
    ticks, signature = [each.tick() for each in document.ticks], document.signature or b""
    async with units() as unit:
        declared = await unit.sources.declared()
        _check_publisher(ticks, declared, tenant_id)
        listed = await unit.instruments.some({tick.instrument for tick in ticks})
    refused = await _refused(declared, listed, market, ticks, signature)
    good = [tick for number, tick in enumerate(ticks) if number not in refused]
    if not good or (signature and refused):
        return Published(None, 0, sorted(refused.items()))
    return Published(await publisher.publish(good, signature), len(good), sorted(refused.items()))


def _check_publisher(ticks: Sequence[Tick], declared: Declared, tenant_id: TenantId) -> None:
    named = {tick.source for tick in ticks}
    if others := sorted(name for name in named if not may_publish(declared.source(name), tenant_id)):
        raise NotPublisher(
            f"this tenant may not speak for {', '.join(others[:_SHOWN])}: have whoever runs the service "
            "name it as their `publisher` in the registry (`ballast sources apply`)"
        )


async def _refused(
    declared: Declared,
    listed: Mapping[InstrumentId, Instrument],
    market: MarketNow,
    ticks: Sequence[Tick],
    signature: bytes,
) -> dict[int, InvalidTick]:
    pairs: dict[str, Pair] = {name: _pair(instrument) for name, instrument in listed.items()}
    # The market clock as it is known here may be behind the oracle's, never ahead of it.
    now_ns, limits = await market.time_ns(), Limits()
    seal, last, refused = Seal(ticks, signature), dict[tuple[str, ...], int](), {}
    for number, tick in enumerate(ticks):
        line = (tick.source, tick.kind, tick.instrument)
        try:
            source = declared.source(tick.source)
            check_word(tick, declared, seal, instruments=pairs, heard=())
            check_time(
                tick,
                now_ns=now_ns,
                maximum_age_ns=admitted_age_ns(tick.kind, source, declared, limits.maximum_age_ns),
                maximum_lead_ns=limits.maximum_replay_lead_ns,
            )
            if line in last and tick.sequence <= last[line]:
                raise InvalidTick(
                    Rejection.OLD_SEQUENCE, f"sequence {tick.sequence} does not follow {last[line]}"
                )
        except InvalidTick as refusal:
            refused[number] = refusal
        else:
            last[line] = tick.sequence
    return refused


def _pair(instrument: Instrument) -> Pair:
    return Pair(instrument.underlying, instrument.quote, instrument.kind is InstrumentKind.SPOT)
