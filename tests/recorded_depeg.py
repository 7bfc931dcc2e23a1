"""The recorded depeg of USD Coin, 2023-03-11, as entries of ticks and as what the oracle makes of them.

Four recordings of Bitcoin, in dollars, in USDT and twice in USDC. Nobody recorded what a USDC costs in
dollars: its sources here are crosses, Bitcoin in dollars by Bitcoin in USDC, at Binance US and at Kraken
(which has no dollars in the recordings: those of Binance US are taken). The same for USDT.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from heapq import merge
from itertools import groupby
from pathlib import Path

import msgspec

from app.domain.market import Change, Tick, TickKind
from app.domain.times import to_ns
from app.lab.history import BAR_CONFIDENCE_FRACTION, read_ticks
from app.oracle.declared import Declared, Pair, Source
from app.oracle.memory import Memory
from app.oracle.sequencer import ClockMode, Sequencer

BTC = "BTC-USD"
USDC = "USDC-USD"
USDT = "USDT-USD"
START, END = datetime(2023, 3, 10, 23, tzinfo=UTC), datetime(2023, 3, 12, tzinfo=UTC)
MIDNIGHT = datetime(2023, 3, 11, tzinfo=UTC)
MINUTE_NS = 60_000_000_000

DOLLARS = "binanceus:BTC-USD"
TETHERS = "binanceus:BTC-USDT"
COINS = "binanceus:BTC-USDC"
KRAKEN = "kraken:BTC-USDC"
MISDECLARED = {DOLLARS: "USD", TETHERS: "USDT", COINS: "USD", KRAKEN: "USD"}
CURRENCIES = {DOLLARS: "USD", TETHERS: "USDT", COINS: "USDC", KRAKEN: "USDC"}
_CROSSES = {TETHERS: USDT, COINS: USDC, KRAKEN: USDC}
_PAIRS = {name: Pair(*name.split("-"), is_spot=True) for name in (BTC, USDC, USDT)}


def declared(currencies: Mapping[str, str]) -> Declared:
    return Declared(
        sources={
            name: Source(base="BTC", quote=currency, kind=TickKind.PRICE)
            for name, currency in currencies.items()
        }
    )


@dataclass(frozen=True, slots=True)
class Minute:
    """What was told last in a minute since midnight, the worst quality of Bitcoin in it, and raw prices."""

    number: int
    bitcoin: Change
    worst: int
    coin: Change
    raw: Mapping[str, float]

    def off(self, source: str) -> float:
        """By how much a source's own number is above that in dollars."""
        return self.raw[source] / self.raw[DOLLARS] - 1.0


def replayed(
    directory: Path, currencies: Mapping[str, str], *, kills: frozenset[int] = frozenset()
) -> Iterator[Minute]:
    """Minutes of the day, each after its last entry; at each of `kills` another oracle takes over."""
    machine = _sequencer(currencies)
    standing: dict[str, Change] = {}
    last: dict[str, Tick] = {}
    first_ns = to_ns(MIDNIGHT)

    def minute_of(ticks: Sequence[Tick]) -> int:
        return (ticks[0].time_ns - first_ns) // MINUTE_NS

    for number, entries in groupby(_entries(directory, last), key=minute_of):
        if number in kills:
            machine = _sequencer(currencies, machine)
        worst = 0
        for ticks in entries:
            assert not machine.take(entry="", ticks=ticks, wall_ns=0).rejected
            machine.close(wall_ns=0)
            (frame,) = machine.frames()
            standing.update({change.instrument: change for change in frame.changes})
            worst = max(worst, standing[BTC].quality)
        if number >= 0:
            raw = {name: tick.value for name, tick in last.items()}
            yield Minute(number, standing[BTC], worst, standing[USDC], raw)


def _sequencer(currencies: Mapping[str, str], before: Sequencer | None = None) -> Sequencer:
    """The first one, or one that has only what its predecessor had stored."""
    stored = msgspec.msgpack.encode(before.memory() if before else Memory())
    return Sequencer(
        generation=1,
        sequence=before.sequence if before else 0,
        time_ns=before.time_ns if before else 0,
        clock=ClockMode.REPLAY,
        instruments=_PAIRS,
        declared=declared(currencies),
        memory=msgspec.msgpack.decode(stored, type=Memory),
    )


def _entries(directory: Path, last: dict[str, Tick]) -> Iterator[list[Tick]]:
    """All that is of one instant, and the crosses that follow from it."""
    recordings = [
        read_ticks(directory / _file_of(name), instrument=BTC, source=name, start=START, end=END)
        for name in CURRENCIES
    ]
    ticks = merge(*((tick for (tick,) in recording) for recording in recordings), key=_time_of)
    for _, group in groupby(ticks, key=_time_of):
        told = list(group)
        last.update({tick.source: tick for tick in told})
        if told[0].source == DOLLARS:
            yield [*told, *(_cross(last[DOLLARS], tick) for tick in told[1:])]
        else:
            yield told


def _cross(dollars: Tick, other: Tick) -> Tick:
    value = dollars.value / other.value
    return Tick(
        TickKind.PRICE,
        f"{other.source} cross",
        _CROSSES[other.source],
        other.sequence,
        other.time_ns,
        value,
        2.0 * BAR_CONFIDENCE_FRACTION * value,
    )


def _time_of(tick: Tick) -> int:
    return tick.time_ns


def _file_of(source: str) -> str:
    venue, pair = source.split(":")
    return f"{pair.lower()}_{venue}_1m_2023-03-01_2023-03-21.csv.gz"
