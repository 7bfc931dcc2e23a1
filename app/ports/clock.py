"""Wall time, for those few who may know it: the oracle stamps it, the courier schedules by it."""

from typing import Protocol


class WallClock(Protocol):
    def now_ns(self) -> int: ...
