"""Volatilities of prices, measured on bars that the frames fill.

A bar is [n x length, (n + 1) x length) of the market clock, from the price that comes first in it to the one
that comes last. It is closed by the first frame at or after its end, one without a price included, and a bar
that saw no price does not exist. A volatility changes only when a bar closes: until then a price costs a
comparison for each series that follows it. Once the window is full, the estimate depends on the bars in it
alone, whoever follows the series and since when.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from math import nan
from typing import NamedTuple

import msgspec
import numpy as np

from app.domain.families.volatility_target import Estimator
from app.domain.times import NS_PER_SECOND
from app.engine.columns import Columns
from app.engine.price_followers import NOBODY, Estimated, PriceFollowers
from app.engine.series import Measure
from app.engine.universe import NEVER_NS
from app.quant.arrays import FloatArray, IntArray
from app.quant.compiled import compiled_in_place, inlined_in_place
from app.quant.estimators import bar_volatilities, bars
from app.quant.estimators.accumulation import BarState, fold_bars
from app.quant.estimators.windows import Window

_NO_BAR = -1
_BUCKETS = 24
_ESTIMATORS = {
    Estimator.CLOSE_TO_CLOSE: bar_volatilities.close_to_close,
    Estimator.EWMA: bar_volatilities.ewma,
    Estimator.PARKINSON: bar_volatilities.parkinson,
    Estimator.GARMAN_KLASS: bar_volatilities.garman_klass,
    Estimator.ROGERS_SATCHELL: bar_volatilities.rogers_satchell,
    Estimator.YANG_ZHANG: bar_volatilities.yang_zhang,
    Estimator.BIPOWER: bar_volatilities.bipower,
}


class OpenBars(NamedTuple):
    """Of every series: the bar that is being filled, or `_NO_BAR`, and the next series of the same price."""

    following: IntArray
    bar_ns: IntArray
    opened_ns: IntArray
    first: FloatArray
    high: FloatArray
    low: FloatArray
    last: FloatArray


class ClosedBars(NamedTuple):
    """Of series `number`, closed in frame k of the block."""

    k: IntArray
    number: IntArray
    opened_ns: IntArray
    closed_ns: IntArray
    first: FloatArray
    high: FloatArray
    low: FloatArray
    last: FloatArray


def _room_for(count: int) -> ClosedBars:
    return ClosedBars(*np.empty((4, count), dtype=np.int64), *np.empty((4, count)))


_NONE_CLOSED = _room_for(0)


class MeasuredState(msgspec.Struct, frozen=True, array_like=True):
    """What is remembered of a series: since when, the open bar, and a row of the estimator's state."""

    begun_ns: int
    opened_ns: int
    prices: tuple[float, ...]
    close: float
    closed_ns: int
    last_return: float
    return_years: float
    sums: bytes


class Volatilities(PriceFollowers):
    def __init__(self, prices: int) -> None:
        super().__init__(prices)
        self._bars = Columns(OpenBars)
        self._alike: dict[Measure, _Alike] = {}
        self._places: list[tuple[_Alike, int]] = []

    def follow(self, column: int, price: int, measure: Measure, *, begun_ns: int) -> None:
        """From the next frame on, in this column, the volatility of the price in that one."""
        bar_ns = measure.bar_seconds * NS_PER_SECOND
        number, _ = self._bars.append([(self._first_of[price], bar_ns, _NO_BAR, nan, nan, nan, nan)])
        self._number(number, column=column, price=price, begun_ns=begun_ns)
        alike = self._alike.setdefault(measure, _Alike(measure, len(self._alike)))
        self._places.append((alike, alike.add()))

    def forget(self, now_ns: int) -> None:
        """All that was seen; what is followed begins anew."""
        self._bars.arrays.opened_ns[:] = _NO_BAR
        self._begin_anew(now_ns)
        for alike in self._alike.values():
            alike.forget()

    def take(
        self, times_ns: IntArray, frames: IntArray, columns: Sequence[int], values: Sequence[float]
    ) -> Sequence[Estimated]:
        """What follows from a block, in order: `values[i]` came to stand in `columns[i]` in `frames[i]`."""
        some_end = self._ends_within(times_ns)
        if not (some_end or self._follow_any(columns)):
            return ()
        closed = _room_for(self._bars.length * times_ns.size) if some_end else _NONE_CLOSED
        found = _fill_bars(
            times_ns,
            frames,
            np.array(columns, dtype=np.int64),
            np.array(values, dtype=np.float64),
            self._first_of,
            self._bars.arrays,
            self._bars.length,
            self._due_ns,
            closed,
        )
        return list(self._estimated(closed, found)) if found else ()

    def _estimated(self, closed: ClosedBars, found: int) -> Iterator[Estimated]:
        """Those that are measured alike take in what was closed in one frame together."""
        places = [self._places[number] for number in closed.number[:found].tolist()]
        keys = [(k, alike.ordinal) for k, (alike, _) in zip(closed.k[:found].tolist(), places, strict=True)]
        for (k, _), group in groupby(sorted(range(found), key=keys.__getitem__), key=keys.__getitem__):
            same = list(group)
            alike, rows = places[same[0]][0], np.array([places[at][1] for at in same], dtype=np.int64)
            values = alike.close(rows, ClosedBars._make(column[same] for column in closed))
            for at, value in zip(same, values, strict=True):
                yield Estimated(k, self._columns[closed.number[at]], value, int(closed.closed_ns[at]))

    def state(self, column: int) -> MeasuredState:
        number = self._numbers[column]
        alike, row = self._places[number]
        bar, kept = self._bars.arrays, alike.state
        return MeasuredState(
            begun_ns=self._begun_ns[number],
            opened_ns=int(bar.opened_ns[number]),
            prices=tuple(float(column[number]) for column in (bar.first, bar.high, bar.low, bar.last)),
            close=float(kept.closes[row]),
            closed_ns=int(kept.closed_ns[row]),
            last_return=float(kept.returns[row]),
            return_years=float(kept.return_years[row]),
            sums=kept.sums[row].tobytes(),
        )

    def restore(self, column: int, state: MeasuredState) -> Estimated | None:
        """Goes on from there; None where what is followed already has seen more."""
        number = self._numbers[column]
        alike, row = self._places[number]
        kept, bar = alike.state, self._bars.arrays
        if not self._goes_on(number, state.begun_ns, state.opened_ns, int(bar.bar_ns[number])):
            return None
        bar.opened_ns[number] = state.opened_ns
        bar.first[number], bar.high[number], bar.low[number], bar.last[number] = state.prices
        kept.closes[row], kept.closed_ns[row] = state.close, state.closed_ns
        kept.returns[row], kept.return_years[row] = state.last_return, state.return_years
        kept.sums[row] = np.frombuffer(state.sums).reshape(kept.sums[row].shape)
        (value,) = alike.estimates(np.array([row]))
        return Estimated(0, column, value, state.closed_ns)


class _Alike:
    """Series that are measured alike: one state of the estimators, a row of it for each."""

    def __init__(self, measure: Measure, ordinal: int) -> None:
        self.ordinal = ordinal
        self.state = bars.start(
            instruments=0,
            window=Window.rolling(
                measure.window, buckets=min(_BUCKETS, measure.window_bars), half_life=measure.half_life
            ),
        )
        self._estimator = _ESTIMATORS[measure.estimator]
        self._minimum_bars = measure.minimum_bars

    def add(self) -> int:
        row = len(self.state.closes)
        new = bars.start(instruments=1, window=self.state.window)
        grown = (np.concatenate(both) for both in zip(self.state[1:], new[1:], strict=True))
        self.state = BarState(self.state.window, *grown)
        return row

    def forget(self) -> None:
        self.state = bars.start(instruments=len(self.state.closes), window=self.state.window)

    def close(self, rows: IntArray, closed: ClosedBars) -> list[float]:
        """The volatilities of these rows, once they have taken in a bar each."""
        statuses = np.empty(rows.size, dtype=np.int8)
        fold_bars(self.state, rows, *closed[2:], statuses)
        return self.estimates(rows)

    def estimates(self, rows: IntArray) -> list[float]:
        """NaN where the bars of the window say too little."""
        found = self._estimator(
            BarState._make((self.state.window, *(column[rows] for column in self.state[1:])))
        )
        known = found.usable & (found.effective_observations >= self._minimum_bars)
        values: list[float] = np.where(known, found.volatilities, nan).tolist()
        return values


@compiled_in_place
def _fill_bars(
    times_ns: IntArray,
    frames: IntArray,
    columns: IntArray,
    values: FloatArray,
    first_of: IntArray,
    bars: OpenBars,
    count: int,
    due_ns: IntArray,
    closed: ClosedBars,
) -> int:
    """How many bars were closed. Nothing happens before `due_ns[0]`, when the first of the open ones ends."""
    at = found = 0
    for k in range(times_ns.size):
        now_ns = times_ns[k]
        if now_ns >= due_ns[0]:
            found = _close_bars(k, now_ns, bars, count, due_ns, closed, found)
        while at < frames.size and frames[at] == k:
            column, value = columns[at], values[at]
            at += 1
            if not 0 <= column < first_of.size:
                continue
            number = first_of[column]
            while number != NOBODY:
                if bars.opened_ns[number] == _NO_BAR:
                    bar_ns = bars.bar_ns[number]
                    bars.opened_ns[number] = now_ns - now_ns % bar_ns
                    bars.first[number] = bars.high[number] = bars.low[number] = value
                    due_ns[0] = min(due_ns[0], bars.opened_ns[number] + bar_ns)
                bars.high[number] = max(bars.high[number], value)
                bars.low[number] = min(bars.low[number], value)
                bars.last[number] = value
                number = bars.following[number]
    return found


@inlined_in_place
def _close_bars(
    k: int, now_ns: int, bars: OpenBars, count: int, due_ns: IntArray, closed: ClosedBars, found: int
) -> int:
    """Those that have ended by now; when the next one does."""
    due_ns[0] = NEVER_NS
    for number in range(count):
        opened_ns = bars.opened_ns[number]
        ends_ns = opened_ns + bars.bar_ns[number]
        if opened_ns == _NO_BAR:
            continue
        if ends_ns > now_ns:
            due_ns[0] = min(due_ns[0], ends_ns)
            continue
        closed.k[found], closed.number[found] = k, number
        closed.opened_ns[found], closed.closed_ns[found] = opened_ns, ends_ns
        closed.first[found], closed.last[found] = bars.first[number], bars.last[number]
        closed.high[found], closed.low[found] = bars.high[number], bars.low[number]
        bars.opened_ns[number] = _NO_BAR
        found += 1
    return found
