"""Takes the compiled loops into memory before the first tick; where they are new, compiles them."""

import msgspec

from app.domain.market import Tick, TickKind
from app.oracle.consensus import aggregate
from app.oracle.declared import OptionTerms, Pair
from app.oracle.sequencer import ClockMode, Sequencer
from app.oracle.surfaces import LEAST_LEFT_NS, LEAST_QUOTES, SURFACE_NS
from app.oracle.unpacking import packed_entries


def warm_up() -> None:
    """One frame of a market that nobody has, with a surface of two expiries."""
    pairs = {"W-U": Pair("W", "U", is_spot=True)}
    ticks = [Tick(TickKind.PRICE, "w", "W-U", 1, SURFACE_NS, 1.0)]
    for number in range(2 * LEAST_QUOTES + 2):
        month, strike = number % 2 + 1, 0.9 + 0.01 * number
        option = OptionTerms(strike, SURFACE_NS + 720 * month * LEAST_LEFT_NS, "W-U")
        pairs[f"W-{number}"] = Pair("W", "U", is_spot=False, option=option)
        if number not in (LEAST_QUOTES, LEAST_QUOTES + 1):
            ticks.append(Tick(TickKind.IMPLIED_VOL, "w", f"W-{number}", 1, SURFACE_NS, 1.0 / month))
    sequencer = Sequencer(generation=1, sequence=0, time_ns=0, clock=ClockMode.REPLAY, instruments=pairs)
    sequencer.take(entry="", ticks=ticks, wall_ns=1)
    again = [msgspec.structs.replace(tick, sequence=2) for tick in ticks]
    sequencer.take_packed(packed_entries([("0-1", msgspec.msgpack.encode(again))]), 0, 1, wall_ns=1)
    sequencer.close(wall_ns=1)
    sequencer.frames()
    sequencer.news()
    aggregate([1.0, 2.0], [0.0, 0.0])
