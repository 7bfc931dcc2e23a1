"""Takes the compiled loops into memory before the first tick; where they are new, compiles them."""

from app.domain.market import Tick, TickKind
from app.oracle.consensus import aggregate
from app.oracle.declared import Pair
from app.oracle.sequencer import ClockMode, Sequencer


def warm_up() -> None:
    """One frame of a market that nobody has."""
    pairs = {"W-U": Pair("W", "U", is_spot=True)}
    sequencer = Sequencer(generation=1, sequence=0, time_ns=0, clock=ClockMode.REPLAY, instruments=pairs)
    sequencer.take(entry="", ticks=[Tick(TickKind.PRICE, "w", "W-U", 1, 1, 1.0)], wall_ns=1)
    sequencer.close(wall_ns=1)
    sequencer.frames()
    aggregate([1.0, 2.0], [0.0, 0.0])
