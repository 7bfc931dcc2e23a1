"""Series of a scenario that no recording holds: simulated, and declared so.

Options need implied volatilities, and a stress response an index; recorded bars have neither. What is
declared here comes with every recorded price, in its entry and at its time, and adds no frame to the replay.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Literal

from pydantic import Field

from app.domain.instruments import InstrumentName
from app.domain.market import Tick, TickKind
from app.domain.times import NS_PER_SECOND
from app.services.documents import Document

SIMULATED_SOURCE = "simulated"


class FixedVolatility(Document):
    """An option that is quoted at one implied volatility throughout, per year as a decimal."""

    kind: Literal["implied_vol"] = "implied_vol"
    instrument: InstrumentName
    value: Annotated[float, Field(gt=0, le=50)]


class DrawdownStress(Document):
    """An index of stress: how far a price is below its highest within a window, as a fraction of it."""

    kind: Literal["stress"] = "stress"
    index: InstrumentName
    drawdown_of: InstrumentName
    window_seconds: Annotated[int, Field(ge=1)] = 86_400


DeclaredSeries = Annotated[FixedVolatility | DrawdownStress, Field(discriminator="kind")]


def with_series(
    entries: Iterable[Sequence[Tick]], declared: Sequence[DeclaredSeries]
) -> Iterator[Sequence[Tick]]:
    """The entries, each that carries a price with the declared ticks behind it."""
    highest = [_Highest(series.window_seconds) for series in declared if isinstance(series, DrawdownStress)]
    for sequence, entry in enumerate(entries, start=1):
        prices = {tick.instrument: tick for tick in entry if tick.kind is TickKind.PRICE}
        yield [*entry, *_ticks(declared, highest, prices, sequence)] if prices else entry


def _ticks(
    declared: Sequence[DeclaredSeries], highest: "Sequence[_Highest]", prices: dict[str, Tick], sequence: int
) -> Iterator[Tick]:
    time_ns = max(price.time_ns for price in prices.values())
    followed = iter(highest)
    for series in declared:
        if isinstance(series, FixedVolatility):
            kind, name, value = TickKind.IMPLIED_VOL, series.instrument, series.value
            yield Tick(kind, SIMULATED_SOURCE, name, sequence, time_ns, value)
            continue
        high = next(followed)
        if price := prices.get(series.drawdown_of):
            value = 1.0 - price.value / high.within(price)
            yield Tick(TickKind.STRESS, SIMULATED_SOURCE, series.index, sequence, time_ns, value)


class _Highest:
    """The highest price within a window: only those that no later one exceeds are kept."""

    def __init__(self, window_seconds: int) -> None:
        self._window_ns = window_seconds * NS_PER_SECOND
        self._falling: deque[Tick] = deque()

    def within(self, price: Tick) -> float:
        while self._falling and self._falling[-1].value <= price.value:
            self._falling.pop()
        self._falling.append(price)
        while self._falling[0].time_ns <= price.time_ns - self._window_ns:
            self._falling.popleft()
        return self._falling[0].value
