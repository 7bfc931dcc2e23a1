"""How the past is forgotten: by half-lives, by whole buckets of time, or not at all."""

from datetime import timedelta
from typing import NamedTuple, Self

_MICROSECOND = timedelta(microseconds=1)
_YEAR = timedelta(days=365)


class Window(NamedTuple):
    """Part of every state. Use the named constructors; each needs a constant number of sums."""

    half_life_years: float = float("inf")
    bucket_ns: int = 0  # 0: one bucket without end
    buckets: int = 1

    @classmethod
    def everything(cls) -> Self:
        """All that was ever seen, equally weighted."""
        return cls()

    @classmethod
    def decaying(cls, half_life: timedelta) -> Self:
        """A bar weighs half as much as one that is younger by ``half_life`` of market time, gaps included."""
        if half_life <= timedelta(0):
            raise ValueError(f"a half-life is positive, not {half_life}")
        return cls(half_life_years=half_life / _YEAR)

    @classmethod
    def rolling(cls, length: timedelta, *, buckets: int = 24, half_life: timedelta | None = None) -> Self:
        """Within ``length``, forgotten a bucket at a time; equal weights, or decaying ones.

        The newest bucket is being filled, so the window reaches back by ``length`` at most and by
        ``length x (1 - 1 / buckets)`` at least. Buckets begin at multiples of their length since 1970.
        """
        if buckets < 1 or length < buckets * _MICROSECOND:
            raise ValueError(f"a window of {length} cannot have {buckets} buckets")
        weights = cls.everything() if half_life is None else cls.decaying(half_life)
        return cls(weights.half_life_years, length // _MICROSECOND * 1_000 // buckets, buckets)
