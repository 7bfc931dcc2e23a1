"""Averages of prices over time, and of the confidences of these prices.

A price counts for as long as it stands. Time goes in steps, [n x length, (n + 1) x length) of the market
clock: 64 of them are the window of a time-weighted average, eight the half-life of an exponentially weighted
one, which looks back over 64 too and so leaves out 1/256 of the weight. A step is closed by the first frame
at or after its end, and an average changes only then. It is the weighted mean of what stood in each of the
closed steps, and depends on these alone: whoever follows it and since when, it is the same to the bit once
all 64 are there.

The confidence of an average is the same mean of the confidences, as Pyth makes that of its own (pyth-client,
`upd_ema` in upd_aggregate.h, for price and confidence alike). Pyth weighs every sample by one over its
confidence, too; here time alone weighs, so that nobody gains weight who understates his confidence.
"""

from collections.abc import Sequence
from math import nan
from typing import NamedTuple

import msgspec
import numpy as np

from app.domain.times import NS_PER_SECOND
from app.engine.columns import Columns
from app.engine.price_followers import NOBODY, Estimated, PriceFollowers
from app.engine.series import Average, Weighting
from app.engine.universe import NEVER_NS
from app.quant.arrays import BoolArray, FloatArray, IntArray
from app.quant.compiled import compiled_in_place, inlined_in_place

STEPS, STEPS_PER_HALF_LIFE = 64, 8
_UNOPENED = -1


class OpenSteps(NamedTuple):
    """Of every average: the next one of the same price, the length of its steps, how many must have been
    seen for it to be known, and the open one.

    `stands` is the price now, since `since_ns`; `first` stood when the step began (NaN: nothing did), and
    `above` is by how much prices were above it, times the nanoseconds that they stood. `seen` steps are
    closed, at most `STEPS`, the last of them at `last` in the ring; `mean` is what they come to.
    """

    following: IntArray
    step_ns: IntArray
    least: IntArray
    of_confidence: BoolArray
    opened_ns: IntArray
    since_ns: IntArray
    stands: FloatArray
    first: FloatArray
    above: FloatArray
    seen: IntArray
    last: IntArray
    mean: FloatArray


class Rings(NamedTuple):
    """Shape (averages, `STEPS`): the means of closed steps, and weights by how many steps ago one was."""

    means: FloatArray
    weights: FloatArray


class Found(NamedTuple):
    """Average `number` as of `time_ns`, the end of its last step, from frame k of the block on."""

    k: IntArray
    number: IntArray
    time_ns: IntArray
    value: FloatArray


class _State(msgspec.Struct, frozen=True, array_like=True):
    """Since when, the open step, what it comes to, and the means of the steps before, oldest first."""

    begun_ns: int
    opened_ns: int
    since_ns: int
    stands: float
    first: float
    above: float
    mean: float
    means: bytes


_decode = msgspec.msgpack.Decoder(_State).decode
_encode = msgspec.msgpack.Encoder().encode


class Averages(PriceFollowers):
    def __init__(self, prices: int) -> None:
        super().__init__(prices)
        self._steps = Columns(OpenSteps)
        self._rings = Rings._make(np.empty((2, 0, STEPS)))

    def follow(self, column: int, price: int, spec: Average, *, begun_ns: int) -> None:
        """From the next price on, in this column, the average of the price in that one."""
        by_half_life = spec.weighting is Weighting.EXPONENTIAL
        least = STEPS_PER_HALF_LIFE if by_half_life else STEPS
        step_ns = spec.seconds * NS_PER_SECOND // least
        row = (
            self._first_of[price],
            step_ns,
            least,
            spec.of_confidence,
            _UNOPENED,
            0,
            nan,
            nan,
            0.0,
            0,
            0,
            nan,
        )
        number, _ = self._steps.append([row])
        weights = np.exp2(-np.arange(STEPS) / STEPS_PER_HALF_LIFE) if by_half_life else np.ones(STEPS)
        new = Rings(np.full(STEPS, nan), weights)
        self._rings = Rings._make(np.vstack(both) for both in zip(self._rings, new, strict=True))
        self._number(number, column=column, price=price, begun_ns=begun_ns)

    def forget(self, now_ns: int) -> None:
        """All that was seen; what is followed begins anew."""
        self._steps.arrays.opened_ns[:] = _UNOPENED
        self._steps.arrays.seen[:] = 0
        self._steps.arrays.mean[:] = nan
        self._begin_anew(now_ns)

    def take(
        self,
        times_ns: IntArray,
        frames: IntArray,
        columns: Sequence[int],
        values: Sequence[float],
        confidences: Sequence[float],
    ) -> Sequence[Estimated]:
        """What follows from a block, in order: `values[i]`, with its confidence, came to stand in
        `columns[i]` in `frames[i]`.
        """
        some_end = self._ends_within(times_ns)
        if not (some_end or self._follow_any(columns)):
            return ()
        room = self._steps.length * times_ns.size if some_end else 0
        found = Found._make((*np.empty((3, room), dtype=np.int64), np.empty(room)))
        count = _pass_time(
            times_ns,
            frames,
            np.array(columns, dtype=np.int64),
            np.array(values, dtype=np.float64),
            np.array(confidences, dtype=np.float64),
            self._first_of,
            self._steps.arrays,
            self._steps.length,
            self._rings,
            self._due_ns,
            found,
        )
        k, number, time_ns, value = (column[:count].tolist() for column in found)
        return [
            Estimated(*each)
            for each in zip(k, (self._columns[at] for at in number), value, time_ns, strict=True)
        ]

    def state(self, column: int) -> bytes:
        """What is remembered of an average, packed."""
        number = self._numbers[column]
        steps = self._steps.arrays
        ring = np.roll(self._rings.means[number], STEPS - 1 - steps.last[number])
        state = _State(
            begun_ns=self._begun_ns[number],
            opened_ns=int(steps.opened_ns[number]),
            since_ns=int(steps.since_ns[number]),
            stands=float(steps.stands[number]),
            first=float(steps.first[number]),
            above=float(steps.above[number]),
            mean=float(steps.mean[number]),
            means=ring[STEPS - steps.seen[number] :].tobytes(),
        )
        return _encode(state)

    def restore(self, column: int, packed: bytes) -> Estimated | None:
        """Goes on from there; None where what is followed already has seen more."""
        number, state = self._numbers[column], _decode(packed)
        steps, means = self._steps.arrays, np.frombuffer(state.means)
        if not self._goes_on(number, state.begun_ns, state.opened_ns, int(steps.step_ns[number])):
            return None
        steps.opened_ns[number], steps.since_ns[number] = state.opened_ns, state.since_ns
        steps.stands[number], steps.first[number] = state.stands, state.first
        steps.above[number], steps.mean[number] = state.above, state.mean
        steps.seen[number], steps.last[number] = means.size, STEPS - 1
        self._rings.means[number, STEPS - means.size :] = means
        return Estimated(0, column, state.mean, state.opened_ns)


@compiled_in_place
def _pass_time(
    times_ns: IntArray,
    frames: IntArray,
    columns: IntArray,
    values: FloatArray,
    confidences: FloatArray,
    first_of: IntArray,
    steps: OpenSteps,
    count: int,
    rings: Rings,
    due_ns: IntArray,
    found: Found,
) -> int:
    """How many averages changed. Before `due_ns[0]`, when a step ends, prices alone do anything."""
    at = changed = 0
    for k in range(times_ns.size):
        now_ns = times_ns[k]
        if now_ns >= due_ns[0]:
            changed = _close_steps(k, now_ns, steps, count, rings, due_ns, found, changed)
        while at < frames.size and frames[at] == k:
            column, value, confidence = columns[at], values[at], confidences[at]
            at += 1
            if not 0 <= column < first_of.size:
                continue
            number = first_of[column]
            while number != NOBODY:
                stands = confidence if steps.of_confidence[number] else value
                if steps.opened_ns[number] == _UNOPENED:
                    steps.opened_ns[number] = now_ns - now_ns % steps.step_ns[number]
                    steps.first[number], steps.above[number] = np.nan, 0.0
                    due_ns[0] = min(due_ns[0], steps.opened_ns[number] + steps.step_ns[number])
                else:
                    _count_what_stood(number, now_ns, steps)
                steps.stands[number], steps.since_ns[number] = stands, now_ns
                number = steps.following[number]
    return changed


@inlined_in_place
def _count_what_stood(number: int, until_ns: int, steps: OpenSteps) -> None:
    stood_ns = float(until_ns - steps.since_ns[number])
    steps.above[number] += (steps.stands[number] - steps.first[number]) * stood_ns


@inlined_in_place
def _close_steps(
    k: int,
    now_ns: int,
    steps: OpenSteps,
    count: int,
    rings: Rings,
    due_ns: IntArray,
    found: Found,
    changed: int,
) -> int:
    """Those that have ended by now; when the next one does. Of a silence no more than `STEPS` count."""
    due_ns[0] = NEVER_NS
    for number in range(count):
        step_ns = steps.step_ns[number]
        ends_ns = steps.opened_ns[number] + step_ns
        if steps.opened_ns[number] == _UNOPENED:
            continue
        if ends_ns <= now_ns:
            _count_what_stood(number, ends_ns, steps)
            _remember(number, steps.first[number] + steps.above[number] / float(step_ns), steps, rings)
            steps.opened_ns[number] = now_ns - now_ns % step_ns
            for _ in range(min((steps.opened_ns[number] - ends_ns) // step_ns, STEPS)):
                _remember(number, steps.stands[number], steps, rings)
            steps.first[number], steps.above[number] = steps.stands[number], 0.0
            steps.since_ns[number] = ends_ns = steps.opened_ns[number]
            if steps.seen[number] >= steps.least[number]:
                found.k[changed], found.number[changed], found.time_ns[changed] = k, number, ends_ns
                found.value[changed] = steps.mean[number] = _mean(number, steps, rings)
                changed += 1
            ends_ns += step_ns
        due_ns[0] = min(due_ns[0], ends_ns)
    return changed


@inlined_in_place
def _remember(number: int, mean: float, steps: OpenSteps, rings: Rings) -> None:
    """Of a step in which nothing stood at first there is no mean."""
    if not np.isnan(mean):
        steps.last[number] = (steps.last[number] + 1) % STEPS
        steps.seen[number] = min(steps.seen[number] + 1, STEPS)
        rings.means[number, steps.last[number]] = mean


@inlined_in_place
def _mean(number: int, steps: OpenSteps, rings: Rings) -> float:
    """Of the closed steps, seen from the last one: what never moved has the mean that it is."""
    last, above, weight = rings.means[number, steps.last[number]], 0.0, 0.0
    for age in range(steps.seen[number]):
        mean = rings.means[number, (steps.last[number] - age) % STEPS]
        above += rings.weights[number, age] * (mean - last)
        weight += rings.weights[number, age]
    return float(last + above / weight)
