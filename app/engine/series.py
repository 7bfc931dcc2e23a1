"""What of the market is kept only where some policy reads it: indices, depths, volatilities and averages.

A series is a column of the market from the moment on at which somebody asks for it (`Universe.series`). A
figure of an index, a chain or a depth is what the oracle says; volatilities and averages are measured from
the frames (`volatilities`, `averages`).
"""

from datetime import timedelta
from enum import StrEnum
from typing import NamedTuple

import msgspec

from app.domain.families.volatility_target import Estimator, RealizedVolatility
from app.domain.identifiers import InstrumentId
from app.domain.market import TickKind

MINIMUM_BARS = 12
"""A volatility is known once its bars say as much as so many equal ones: it is right to about a fifth."""


class Measure(NamedTuple):
    """How a volatility is measured. `half_life_bars` is 0 where the bars of the window weigh the same."""

    estimator: Estimator
    bar_seconds: int
    window_bars: int
    half_life_bars: int

    @property
    def minimum_bars(self) -> int:
        """Short windows and half-lives hold fewer."""
        return min(MINIMUM_BARS, self.window_bars, self.half_life_bars or MINIMUM_BARS)

    @property
    def window(self) -> timedelta:
        return timedelta(seconds=self.bar_seconds * self.window_bars)

    @property
    def half_life(self) -> timedelta | None:
        return timedelta(seconds=self.bar_seconds * self.half_life_bars) if self.half_life_bars else None


STANDARD = Measure(Estimator.EWMA, bar_seconds=300, window_bars=288, half_life_bars=72)
"""Where nothing else is said; what stands for a forecast until there are any."""


class Told(msgspec.Struct, frozen=True, tag=True):
    """The consensus of a kind of value of what need not be listed."""

    kind: TickKind
    name: str


class Realized(msgspec.Struct, frozen=True, tag=True):
    """The volatility of an instrument's price, per year of 365 days, measured on bars of the market clock."""

    instrument: InstrumentId
    measure: Measure

    @classmethod
    def of(cls, source: RealizedVolatility) -> "Realized":
        half_life_bars = source.half_life_bars if source.estimator is Estimator.EWMA else 0
        measure = Measure(source.estimator, source.bar_seconds, source.window_bars, half_life_bars)
        return cls(InstrumentId(source.instrument), measure)


class Forecast(msgspec.Struct, frozen=True, tag=True):
    """The volatility that is expected next of an instrument's price."""

    instrument: InstrumentId

    @property
    def measure(self) -> Measure:
        return STANDARD


class Weighting(StrEnum):
    """All of the last so many seconds alike, or by a half-life of so many."""

    TIME = "time"
    EXPONENTIAL = "exponential"


class Average(msgspec.Struct, frozen=True, tag=True):
    """Of an instrument's price, or of the confidence of it, over so many seconds of the market clock."""

    instrument: InstrumentId
    weighting: Weighting
    seconds: int
    of_confidence: bool = False


SeriesSpec = Told | Realized | Forecast | Average
