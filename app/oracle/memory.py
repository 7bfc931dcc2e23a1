"""What a writer leaves to its successor: last ticks, doubts, and what every line has come to."""

from collections.abc import Iterable

import msgspec

from app.domain.market import Tick, TickKind

_pack = msgspec.msgpack.Encoder().encode
_ticks = msgspec.msgpack.Decoder(list[Tick])


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
    """With position and clock, the whole state; or what of it is new. The last word counts.

    Quotes, the last words of sources, and estimates are arrays that loops have packed (see `packing`).
    Heartbeats are the times of the newest heartbeat ticks by source, for people: they keep no word new.
    """

    packed_quotes: msgspec.Raw = msgspec.Raw(b"\x90")
    doubts: list[Doubt] = []
    packed_estimates: msgspec.Raw = msgspec.Raw(b"\x90")
    heartbeats: dict[str, int] = {}

    @classmethod
    def of(
        cls,
        quotes: Iterable[Tick],
        doubts: Iterable[Doubt] = (),
        estimates: Iterable[Estimate] = (),
        heartbeats: Iterable[tuple[str, int]] = (),
    ) -> "Memory":
        packed_quotes, packed_estimates = (
            msgspec.Raw(_pack(list(quotes))),
            msgspec.Raw(_pack(list(estimates))),
        )
        return cls(packed_quotes, list(doubts), packed_estimates, dict(heartbeats))

    @classmethod
    def joined(cls, log: Iterable["Memory"]) -> "Memory":
        """Of a snapshot and what followed it."""
        told = list(log)
        return cls.of(
            [quote for each in told for quote in each.quotes],
            [doubt for each in told for doubt in each.doubts],
            [estimate for each in told for estimate in each.estimates],
            [heartbeat for each in told for heartbeat in each.heartbeats.items()],
        )

    @property
    def quotes(self) -> list[Tick]:
        return _ticks.decode(self.packed_quotes)

    @property
    def estimates(self) -> list[Estimate]:
        return _estimates.decode(self.packed_estimates)


_estimates = msgspec.msgpack.Decoder(list[Estimate])
