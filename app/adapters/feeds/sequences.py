"""The sequence of a feed's tick: the source's own time and, below its resolution, the source's own counter.

So it survives restarts without being kept anywhere, and of two processes on the same feed the oracle takes
each tick once. What the source tells again, or out of order, has an old sequence.
"""

from app.domain.times import NS_PER_SECOND


def sequence_at(time_ns: int, counter: int = 0) -> int:
    """`counter` (a slot, block or round) orders what a clock of whole seconds has at the same time."""
    return time_ns + counter % NS_PER_SECOND
