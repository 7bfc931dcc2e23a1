"""Overload: how late the slowest shard is, and whether that calls for merging.

A shard says which frame it has come to; how late that is, is the time since the first frame after it was
written. Frames are remembered by the hundredth of a second and for a few seconds: past that, late is late.
"""

from collections import deque
from collections.abc import Collection

from app.domain.market import StreamPosition

BEGINS_NS = 1_000_000_000
ENDS_NS = 250_000_000
_MARK_NS = 10_000_000
_MARKS = 300


class Overload:
    """Begins when the slowest shard is a second late, ends when it is a quarter of one."""

    def __init__(self) -> None:
        self.merging = False
        self._written: deque[tuple[StreamPosition, int]] = deque(maxlen=_MARKS)

    def wrote(self, head: StreamPosition, *, wall_ns: int) -> None:
        if not self._written or wall_ns - self._written[-1][1] >= _MARK_NS:
            self._written.append((head, wall_ns))

    def heard(self, shards: Collection[StreamPosition], *, wall_ns: int) -> int:
        """Takes what the shards published and decides; answers how late the slowest is, in ns."""
        written = self._written
        slowest = min(shards, default=None)
        while written and (slowest is None or written[0][0] <= slowest):
            written.popleft()
        late_ns = wall_ns - written[0][1] if written else 0
        self.merging = late_ns > (ENDS_NS if self.merging else BEGINS_NS)
        return late_ns
