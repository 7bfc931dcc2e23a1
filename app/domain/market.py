"""Ticks as publishers send them, consensus values, and frames: the market as one sequence.

A `Tick` is one source's word. The oracle turns entries of ticks into `Frame`s: whose consensus
changed, at which market time, as frame `sequence` of stream `generation`. A frame's position is also
its entry id in the `market` stream (`generation-sequence`), so positions compare as pairs of integers.
"""

import re
from collections.abc import Iterator
from enum import IntEnum, StrEnum
from typing import Annotated, NamedTuple

import msgspec

MAXIMUM_NAME = 64
Name = Annotated[str, msgspec.Meta(max_length=MAXIMUM_NAME)]


class TickKind(StrEnum):
    """What a tick measures. `heartbeat` carries time alone.

    A depth is what can be traded before the price is so far away, on the side that is thinner.
    """

    PRICE = "price"
    MARK = "mark"
    IMPLIED_VOL = "implied_vol"
    FUNDING_RATE = "funding_rate"
    STRESS = "stress"
    SENTIMENT = "sentiment"
    GAS_PRICE = "gas_price"
    BOOK_DEPTH = "book_depth"
    POOL_DEPTH = "pool_depth"
    HEARTBEAT = "heartbeat"


SOURCE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]*( [A-Za-z0-9._:/@+-]+)*")
"""Words of a source's name: nothing that looks like another's, or like nothing, on whatever it is shown."""
_INDEX = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}")
_CHAIN = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")
_DEPTH = re.compile(
    r"(?=.{1,64}\Z)[A-Za-z0-9][A-Za-z0-9._-]{0,31}/[A-Za-z0-9][A-Za-z0-9._:/-]*/[1-9][0-9]{0,3}bps"
)

UNLISTED = {
    TickKind.STRESS: _INDEX,
    TickKind.SENTIMENT: _INDEX,
    TickKind.GAS_PRICE: _CHAIN,
    TickKind.BOOK_DEPTH: _DEPTH,
    TickKind.POOL_DEPTH: _DEPTH,
}
"""Kinds of what need not be listed, and what its names look like: of an index, of a chain, and of a depth the
venue or the chain, the market or the pool, and the distance (`binance/BTC-USDT/50bps`).
"""


def line_name(kind: TickKind, instrument: str) -> str:
    """Of one kind of value of an instrument, wherever it is one word."""
    return kind + "|" + instrument


class Tick(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One source's statement about one instrument at its own event time.

    `value` is a price in the instrument's quote, a volatility per year as a decimal, a funding rate per
    funding interval as a decimal, an index of stress, 0 being calm, or of sentiment, from 0, fear, to 100,
    greed, a price of gas in 1e-9 of the chain's coin, or a depth in the market's quote currency; `confidence`
    is the half width of the source's own interval. `instrument` of what is `UNLISTED` is its own name.
    """

    kind: TickKind
    source: Name
    instrument: Name
    sequence: int
    time_ns: int
    value: float
    confidence: float = 0.0


class Rejection(StrEnum):
    """Why a tick went to the dead letter."""

    MALFORMED = "malformed"
    NOT_FINITE = "not_finite"
    NOT_POSITIVE = "not_positive"
    OUT_OF_RANGE = "out_of_range"
    UNKNOWN_INSTRUMENT = "unknown_instrument"
    UNKNOWN_KIND = "unknown_kind"
    STALE = "stale"
    FUTURE = "future"
    OLD_SEQUENCE = "old_sequence"
    UNDECLARED = "undeclared"
    UNSIGNED = "unsigned"
    BAD_SIGNATURE = "bad_signature"


class Quality(IntEnum):
    """State of a consensus value, by severity: the first of these, from the last one, that is true of it.

    After Drift's validity of oracle prices. With too few sources, or not above zero, the last value that was
    neither is still told.
    """

    VALID = 0
    DIVERGING = 1
    STALE_FOR_TRADING = 2
    STALE_FOR_MARGIN = 3
    INSUFFICIENT_SOURCES = 4
    TOO_UNCERTAIN = 5
    TOO_VOLATILE = 6
    NON_POSITIVE = 7


class StreamPosition(NamedTuple):
    """Where a reader stands in the `market` stream; compares in stream order."""

    generation: int
    sequence: int

    @property
    def entry_id(self) -> str:
        return f"{self.generation}-{self.sequence}"

    @classmethod
    def parse(cls, entry_id: str) -> "StreamPosition":
        generation, _, sequence = entry_id.partition("-")
        return cls(int(generation), int(sequence))


ORIGIN = StreamPosition(0, 0)


class Change(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A consensus value that changed. `time_ns` is the newest event time that voted.

    A volatility of no sources that is not stale is read off the surface of its underlying.
    """

    kind: TickKind
    instrument: str
    value: float
    confidence: float
    sources: int
    quality: Quality
    time_ns: int

    @property
    def is_read_off(self) -> bool:
        """Whether it follows from other options' quotes."""
        return self.sources == 0 and self.quality < Quality.STALE_FOR_MARGIN

    @property
    def is_forsaken(self) -> bool:
        """Whether nobody, or too few, speak of it any more."""
        return self.quality in (Quality.STALE_FOR_MARGIN, Quality.INSUFFICIENT_SOURCES)


def marked_by(mark: Change, price: Change) -> Change:
    """What positions are marked at: the mark, but one that is forsaken gives way to a price that is newer.

    Who spoke of it once and fell silent would else keep the price from everybody.
    """
    return price if mark.is_forsaken and price.time_ns > mark.time_ns else mark


class Frame(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One step of the market. `time_ns` is the market clock; a heartbeat frame changes qualities alone.

    `entry` is the id of the tick-stream entry it came from (empty for the oracle's own heartbeats),
    `stamp_ns` is the wall clock at which the oracle wrote it, for latency figures only: nothing is
    ever decided from it. `covers` is how many entries it was made of, more than one only under overload;
    `entry` is then the last of them.
    """

    generation: int
    sequence: int
    time_ns: int
    entry: str
    stamp_ns: int
    changes: tuple[Change, ...] = ()
    covers: int = 1

    @property
    def position(self) -> StreamPosition:
        return StreamPosition(self.generation, self.sequence)


LENGTH_BYTES = 4

_frame = msgspec.msgpack.Decoder(Frame)


class PackedFrames(msgspec.Struct, frozen=True):
    """Frames as msgpack, one after the other, each behind its length (4 bytes, big-endian).

    The last of them is at `position`; `merged` are made of more than one entry, together of `entries`.
    """

    packed: bytes
    count: int
    position: StreamPosition
    time_ns: int = 0
    stamp_ns: int = 0
    merged: int = 0
    entries: int = 0

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Frame]:
        at = 0
        while at < len(self.packed):
            start = at + LENGTH_BYTES
            at = start + int.from_bytes(self.packed[at:start], "big")
            yield _frame.decode(self.packed[start:at])
