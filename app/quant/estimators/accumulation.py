"""The states, and the compiled loops that take bars and ticks into them, in the order given.

Everything compiled of this package is in this one file, because the cache of machine code notices a change in
the file of a loop and not in the files of what the loop calls.
"""

import math
from enum import IntEnum
from typing import Generic, NamedTuple, TypeVar

from app.quant.arrays import FloatArray, IntArray, StatusArray
from app.quant.compiled import compiled
from app.quant.estimators.windows import Window

# Of one observation a number, of a state a column.
Figure = TypeVar("Figure", float, FloatArray)

NS_PER_YEAR = 365 * 86_400 * 1_000_000_000
# Within these, differences of instants (1823 to 2116) fit into an int64 and ratios of prices into a float64.
_LATEST_NS = 2**62
_LARGEST_PRICE = 1e150


class Observation(IntEnum):
    """What became of one bar or tick. From `NOT_FINITE` on it was refused and left the state as it was."""

    VALID = 0
    FIRST = 1  # nothing before it to measure from: it gives the price at which the next begins
    NOT_FINITE = 2
    NOT_POSITIVE = 3
    INCONSISTENT = 4  # an open, high or close below the low, or above the high
    NO_DURATION = 5  # a bar that closes before or as it opens
    OUT_OF_ORDER = 6  # begins before the last one ended: late, repeated or overlapping
    OUT_OF_RANGE = 7  # a price outside 1e-150 to 1e150, an instant outside ±2**62 ns


class BarSums(NamedTuple, Generic[Figure]):
    """Sums over bars with their weights w; the last ones, over the same bars, with w².

    Of one bar, in logarithms: r from the previous close to the close over t years; c from the open to the
    close over d years, with the extremes h and l; o from the previous close to the open. r′ and t′ are those
    of the bar before.
    """

    bars: Figure  # Σ w
    years: Figure  # Σ w t
    returns: Figure  # Σ w r
    squared_returns: Figure  # Σ w r²
    adjacent_years: Figure  # Σ w √(t t′)
    adjacent_products: Figure  # Σ w |r r′|
    traded_years: Figure  # Σ w d
    moves: Figure  # Σ w c
    squared_moves: Figure  # Σ w c²
    squared_ranges: Figure  # Σ w (h - l)²
    rogers_satchell: Figure  # Σ w (h (h - c) + l (l - c)), h and l seen from the open
    jumps: Figure  # Σ w o
    squared_jumps: Figure  # Σ w o²
    squared_weights: Figure  # Σ w²
    years_of_squared_weights: Figure  # Σ w² t
    traded_years_of_squared_weights: Figure  # Σ w² d


class TickSums(NamedTuple, Generic[Figure]):
    """Sums over ticks that have K ticks before them; the last with w².

    Of one tick: the slow return is from K ticks before, the fast one from the tick before.
    """

    ticks: Figure
    slow_years: Figure
    slow_squares: Figure
    fast_years: Figure
    fast_squares: Figure
    squared_weights: Figure


class BarState(NamedTuple):
    """What is kept of the bars of some instruments, instruments on the leading axis."""

    window: Window
    closes: FloatArray  # of the last bar; 0 before the first
    closed_ns: IntArray
    returns: FloatArray  # of the last bar, from the close before it; 0 before the first return
    return_years: FloatArray  # the time of that return; likewise
    sums: FloatArray  # instruments x buckets x `BarSums`


class TickState(NamedTuple):
    """What is kept of the ticks of some instruments, instruments on the leading axis."""

    window: Window
    prices: FloatArray  # instruments x K: a ring, the oldest at ``counts % K``
    times_ns: IntArray
    counts: IntArray  # ticks ever taken
    sums: FloatArray  # instruments x buckets x `TickSums`


_LINEAR_BAR_SUMS = BarSums._fields.index("squared_weights")
_LINEAR_TICK_SUMS = TickSums._fields.index("squared_weights")


@compiled
def aged(window: Window, sums: FloatArray, linear: int, last_ns: int, now_ns: int) -> int:
    """Forget what one instrument has to forget by now; the answer is the bucket to add to."""
    if window.half_life_years < math.inf:
        half_lives = (now_ns - last_ns) / NS_PER_YEAR / window.half_life_years
        decay = math.exp(-math.log(2.0) * half_lives)
        for bucket in range(sums.shape[0]):
            for each in range(sums.shape[1]):
                sums[bucket, each] *= decay if each < linear else decay * decay
    if window.bucket_ns == 0:
        return 0
    # What ends as a bucket ends belongs to it, hence the nanosecond.
    last, now = (last_ns - 1) // window.bucket_ns, (now_ns - 1) // window.bucket_ns
    for passed in range(min(now - last, window.buckets)):
        sums[(now - passed) % window.buckets] = 0.0
    return now % window.buckets


@compiled
def is_in_range(price: float) -> bool:
    """A positive price, no ratio of which to another overflows."""
    return 1.0 / _LARGEST_PRICE <= price <= _LARGEST_PRICE


@compiled
def bar_status(
    last_close: float,
    last_closed_ns: int,
    opened_ns: int,
    closed_ns: int,
    first: float,
    high: float,
    low: float,
    last: float,
) -> int:
    """The first thing that is wrong with a bar."""
    if not (math.isfinite(first) and math.isfinite(high) and math.isfinite(low) and math.isfinite(last)):
        return Observation.NOT_FINITE.value
    if min(first, high, low, last) <= 0.0:
        return Observation.NOT_POSITIVE.value
    if low > min(first, last) or high < max(first, last):
        return Observation.INCONSISTENT.value
    if not (opened_ns >= -_LATEST_NS and closed_ns <= _LATEST_NS and is_in_range(low) and is_in_range(high)):
        return Observation.OUT_OF_RANGE.value
    if closed_ns <= opened_ns:
        return Observation.NO_DURATION.value
    if last_close == 0.0:
        return Observation.FIRST.value
    if opened_ns < last_closed_ns:
        return Observation.OUT_OF_ORDER.value
    return Observation.VALID.value


@compiled
def bar_terms(
    jump: float, move: float, up: float, down: float, years: float, traded: float, other: float, others: float
) -> BarSums[float]:
    """What one bar of weight 1 adds; ``other`` and ``others`` are the return and the years before it."""
    change = jump + move
    return BarSums(  # with more names than these the call becomes one that numba does not compile
        1.0,
        years,
        returns=change,
        squared_returns=change * change,
        adjacent_years=math.sqrt(years * others),
        adjacent_products=abs(change * other),
        traded_years=traded,
        moves=move,
        squared_moves=move * move,
        squared_ranges=(up - down) * (up - down),
        rogers_satchell=up * (up - move) + down * (down - move),
        jumps=jump,
        squared_jumps=jump * jump,
        squared_weights=1.0,
        years_of_squared_weights=years,
        traded_years_of_squared_weights=traded,
    )


@compiled
def fold_bars(
    state: BarState,
    rows: IntArray,
    starts: IntArray,
    ends: IntArray,
    firsts: FloatArray,
    highs: FloatArray,
    lows: FloatArray,
    lasts: FloatArray,
    statuses: StatusArray,
) -> None:
    """Take the bars into the columns of a state, in place."""
    for bar in range(len(rows)):
        row, first, last, end = rows[bar], firsts[bar], lasts[bar], ends[bar]
        last_close, last_ns = state.closes[row], state.closed_ns[row]
        status = bar_status(last_close, last_ns, starts[bar], end, first, highs[bar], lows[bar], last)
        statuses[bar] = status
        if status > Observation.FIRST.value:
            continue
        if status == Observation.VALID.value:
            bucket = aged(state.window, state.sums[row], _LINEAR_BAR_SUMS, last_ns, end)
            years, traded = (end - last_ns) / NS_PER_YEAR, (end - starts[bar]) / NS_PER_YEAR
            jump, move = math.log(first / last_close), math.log(last / first)
            up, down = math.log(highs[bar] / first), math.log(lows[bar] / first)
            before, years_before = state.returns[row], state.return_years[row]
            terms = bar_terms(jump, move, up, down, years, traded, before, years_before)
            for each in range(len(terms)):
                state.sums[row, bucket, each] += terms[each]
            state.returns[row] = jump + move
            state.return_years[row] = years
        state.closes[row] = last
        state.closed_ns[row] = end


@compiled
def tick_status(count: int, last_ns: int, price: float, now_ns: int) -> int:
    """The first thing that is wrong with a tick. Two at one instant are in order."""
    if not math.isfinite(price):
        return Observation.NOT_FINITE.value
    if price <= 0.0:
        return Observation.NOT_POSITIVE.value
    if not (-_LATEST_NS <= now_ns <= _LATEST_NS and is_in_range(price)):
        return Observation.OUT_OF_RANGE.value
    if count == 0:
        return Observation.FIRST.value
    if now_ns < last_ns:
        return Observation.OUT_OF_ORDER.value
    return Observation.VALID.value


@compiled
def tick_terms(slow_years: float, slow: float, fast_years: float, fast: float) -> TickSums[float]:
    """What one tick of weight 1 adds."""
    return TickSums(
        ticks=1.0,
        slow_years=slow_years,
        slow_squares=slow * slow,
        fast_years=fast_years,
        fast_squares=fast * fast,
        squared_weights=1.0,
    )


@compiled
def fold_ticks(
    state: TickState, rows: IntArray, times: IntArray, prices: FloatArray, statuses: StatusArray
) -> None:
    """Take the ticks into the columns of a state, in place."""
    slow = state.prices.shape[1]
    for tick in range(len(rows)):
        row, price, now = rows[tick], prices[tick], times[tick]
        count = state.counts[row]
        oldest, newest = count % slow, (count - 1) % slow
        last_ns = state.times_ns[row, newest]
        status = tick_status(count, last_ns, price, now)
        statuses[tick] = status
        if status > Observation.FIRST.value:
            continue
        if count >= slow:
            bucket = aged(state.window, state.sums[row], _LINEAR_TICK_SUMS, last_ns, now)
            slow_return = math.log(price / state.prices[row, oldest])
            fast_return = math.log(price / state.prices[row, newest])
            slow_years = (now - state.times_ns[row, oldest]) / NS_PER_YEAR
            fast_years = (now - last_ns) / NS_PER_YEAR
            terms = tick_terms(slow_years, slow_return, fast_years, fast_return)
            for each in range(len(terms)):
                state.sums[row, bucket, each] += terms[each]
        state.prices[row, oldest] = price
        state.times_ns[row, oldest] = now
        state.counts[row] += 1
