"""What a writer leaves to its successor: last ticks, doubts, and what every line has come to."""

import msgspec

from app.domain.market import Tick, TickKind


class Doubt(msgspec.Struct, frozen=True, array_like=True):
    """How often the weight of a source in a line is halved, and since when."""

    kind: TickKind
    instrument: str
    source: str
    halvings: int
    since_ns: int


class Estimate(msgspec.Struct, frozen=True, array_like=True):
    """What a line has come to; `packed` is a record, of which a form that is no longer known is forgotten."""

    kind: TickKind
    instrument: str
    packed: bytes


class Memory(msgspec.Struct, frozen=True, array_like=True):
    """With position and clock, the whole state; or what of it is new. The last word counts."""

    quotes: list[Tick] = []
    doubts: list[Doubt] = []
    estimates: list[Estimate] = []
