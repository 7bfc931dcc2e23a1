"""What must be remembered of a policy between frames: a function of the frames seen, and nothing else."""

from collections.abc import Sequence
from itertools import pairwise

import msgspec

from app.domain.adjustments import Reason
from app.domain.times import NS_PER_SECOND

HOUR_NS = 3_600 * NS_PER_SECOND
DAY_NS = 24 * HOUR_NS
_encoder = msgspec.msgpack.Encoder()


class Traded(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An adjustment with trades: when, which way on balance in each place, and how much in value.

    A place is an account and an underlying; 1 bought, -1 sold. What was written before places were told
    apart has one direction for all of them.
    """

    time_ns: int
    directions: tuple[tuple[str, int], ...] | int
    notional: float

    @property
    def places(self) -> tuple[tuple[str, int], ...]:
        """Those that are known, with their directions."""
        return () if isinstance(self.directions, int) else self.directions


class PolicyMemory(msgspec.Struct, frozen=True, array_like=True):
    """`suppressed` is the reason of the last record while it still holds, since frame `suppressed_since`.

    `traded` goes back a day, `fired_since_ns` is 0 where the trigger does not fire, `acted_price` is that
    of the underlying when it last acted. `registers` belong to version `registers_of` of the policy's own
    trigger; `bases` are the sizes of positions, by account and instrument, that exposure is measured by.
    `wake_ns` is when time alone may change what is decided; 0 is never. `compared_ns` is when an open
    recommendation was last held against a new plan.
    """

    cooldown_until_ns: int = 0
    suppressed: Reason | None = None
    suppressed_since: int = 0
    acted_ns: int = 0
    fired_since_ns: int = 0
    acted_price: float = 0.0
    traded: tuple[Traded, ...] = ()
    registers: tuple[float, ...] = ()
    registers_of: int = 0
    bases: tuple[tuple[str, str, float], ...] = ()
    wake_ns: int = 0
    compared_ns: int = 0

    def registers_for(self, version: int) -> tuple[float, ...]:
        """Another version of the policy begins anew."""
        return self.registers if version == self.registers_of else ()

    def packed(self) -> bytes:
        return _encoder.encode(self)

    def traded_since(self, time_ns: int) -> Sequence[Traded]:
        return [each for each in self.traded if each.time_ns > time_ns]


def reversals(own: Sequence[Traded], others: Sequence[Traded]) -> int:
    """How often the direction changed, from or to an adjustment of its own, in the place where it did most.

    Two policies that undo each other trade one way each, and to and fro together.
    """
    if not own:
        return 0
    mine, places = set(own), dict[str, list[tuple[Traded, int]]]()
    for traded in sorted(mine.union(others), key=lambda each: (each.time_ns, each.places)):
        for place, direction in traded.places:
            places.setdefault(place, []).append((traded, direction))
    turns = (
        sum(
            way * back < 0 and not mine.isdisjoint((one, next_))
            for (one, way), (next_, back) in pairwise(done)
        )
        for done in places.values()
    )
    return max(turns, default=0)


NOTHING = PolicyMemory()
_decoder = msgspec.msgpack.Decoder(PolicyMemory)


def unpacked(memory: bytes) -> PolicyMemory:
    return _decoder.decode(memory)
