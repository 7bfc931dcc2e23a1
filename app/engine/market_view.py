"""The market as the decision core sees it: records of what became known, and which one stands where.

A *column* of the market is an instrument's price, an option's implied volatility, a perpetual's funding rate
or a series that somebody asked for (see `universe`). Each change appends a record; the market is the number
of the record that stands in every column. Consecutive frames are taken in together, as a block of such rows
(see `frame_block`).

News of an instrument are news of its row, whatever column they are in; those of a series are of its column.
Time is news as well: where the market clock comes to a funding boundary or an expiry, the instruments that
have it changed on that frame.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from itertools import pairwise
from math import isnan
from operator import itemgetter

import msgspec
import numpy as np
from numpy.typing import NDArray

from app.domain.market import ORIGIN, Change, Frame, Quality, StreamPosition, TickKind, marked_by
from app.engine.averages import Averages
from app.engine.columns import Columns
from app.engine.frame_block import ONE, UNKNOWN, FrameBlock, RecordNumbers, Records
from app.engine.market_health import Doubt, MarketHealth
from app.engine.price_followers import Estimated
from app.engine.series import Average, SeriesSpec, Told
from app.engine.told_series import ToldSeries
from app.engine.universe import NO_COLUMN, Universe
from app.engine.volatilities import MeasuredState, Volatilities
from app.quant.arrays import IntArray
from app.quant.compiled import compiled_in_place

_MOST_RECORDS = 1 << 18


class _Snapshot(msgspec.Struct, frozen=True, array_like=True):
    """Every last change with its frame; the series, with the frame of the estimate that stands and what it
    goes on from where they are measured here.
    """

    known: list[tuple[Change, int]]
    series: list[tuple[SeriesSpec, int, MeasuredState | bytes | None]]
    doubts: list[Doubt] = []


_Place = tuple[dict[str, tuple[Change, int]], Mapping[str, int], IntArray | None]
"""Of a kind: what was last told, the row of what it is told of, and that row's column if that is another."""

_decode = msgspec.msgpack.Decoder(_Snapshot).decode
_encode = msgspec.msgpack.Encoder().encode


class MarketView:
    """Last known values, with their age, quality and frame.

    `begun` says that a series was begun which no snapshot has: one has to be kept before its first bars are.
    """

    def __init__(self, universe: Universe) -> None:
        self.universe = universe
        self.position = ORIGIN
        self.time_ns = 0
        self.unlisted = False  # becomes true when a change names an instrument that is not known here
        self.begun = False
        self._listed_width = universe.width - len(universe.series_columns)
        self._followed = 0  # of the series that were asked for, the first so many
        self._told = ToldSeries()
        self._volatilities = Volatilities(universe.size + 1)
        self._averages = Averages(universe.size)
        self._health = MarketHealth(universe.names)
        self._forget(0)

    def _forget(self, now_ns: int) -> None:
        """A new generation knows nothing of the old one's prices."""
        self.records = Columns(Records)
        self.records.append([(np.nan, 0, 0, 0, 0.0, 0), (1.0, 0, 0, 0, 0.0, 0)])
        self.standing: RecordNumbers = np.zeros(self._listed_width + self._followed, dtype=np.int32)
        self.standing[self.universe.one_row] = ONE
        self._last: dict[TickKind, dict[str, tuple[Change, int]]] = {kind: {} for kind in TickKind}
        self._places = self._places_by_kind()
        self._volatilities.forget(now_ns)
        self._averages.forget(now_ns)

    def _places_by_kind(self) -> dict[TickKind, _Place]:
        universe = self.universe
        columns = {
            TickKind.IMPLIED_VOL: universe.volatility_columns,
            TickKind.FUNDING_RATE: universe.funding_columns,
        }
        return {
            kind: (last, self._told.columns.get(kind, universe.index), columns.get(kind))
            for kind, last in self._last.items()
        }

    def load(self, changes: Iterable[Change], *, position: StreamPosition, time_ns: int) -> None:
        """The state at a position, from the consensus values that stood then."""
        self._follow_series(time_ns)
        self._stand(((change, position.sequence) for change in changes), time_ns)
        self.position, self.time_ns = position, time_ns

    def snapshot(self, kept: Container[int] = ()) -> bytes:
        """What is known, and the series in the columns that are `kept`: nobody reads the others any more."""
        self.begun = False
        return self._packed(kept)

    def restore(self, packed: bytes, *, position: StreamPosition, time_ns: int) -> None:
        """The state at a position. Of a series that is in several snapshots the one begun first counts."""
        snapshot = _decode(packed)
        self._follow_series(time_ns)
        begun = self.begun
        columns = [self.universe.series(spec) for spec, _, _ in snapshot.series]
        self._follow_series(time_ns)
        self.begun = begun
        self._health.recall(snapshot.doubts, self.universe.index)
        self._stand(snapshot.known, time_ns)
        for column, (_, sequence, state) in zip(columns, snapshot.series, strict=True):
            estimated = self._go_on(column, state)
            if estimated is not None:
                self.standing[column] = self._estimate_record(estimated, sequence)
        self.position, self.time_ns = position, time_ns

    def _go_on(self, column: int, state: MeasuredState | bytes | None) -> Estimated | None:
        """From what is remembered of a volatility, or (packed) of an average."""
        if isinstance(state, MeasuredState) and column in self._volatilities:
            return self._volatilities.restore(column, state)
        if isinstance(state, bytes) and column in self._averages:
            return self._averages.restore(column, state)
        return None

    def on(self, universe: Universe) -> "MarketView":
        """The same market seen with other listings."""
        view = MarketView(universe)
        view.restore(self._packed(range(self.universe.width)), position=self.position, time_ns=self.time_ns)
        view.begun = self.begun
        return view

    def _packed(self, kept: Container[int]) -> bytes:
        self._follow_series(self.time_ns)
        known = [known for kind in self._last.values() for known in kind.values()]
        measured = (self._volatilities, self._averages)
        series = [
            (
                spec,
                int(self.records.arrays.frame[self.standing[column]]),
                next((of.state(column) for of in measured if column in of), None),
            )
            for spec, column in self.universe.series_columns.items()
            if column in kept
        ]
        return _encode(_Snapshot(known, series, self._health.doubts()))

    def advance(self, frames: Sequence[Frame]) -> FrameBlock:
        """Takes frames of one generation in, one after the other; the states on the way."""
        self._follow_series(self.time_ns)
        if frames[0].generation != self.position.generation:
            self._forget(frames[0].time_ns)
        if self.records.length > _MOST_RECORDS + 4 * self.universe.width:
            self._compact()
        news = _News()
        counts = [self._take(frame.changes, frame.sequence, news) for frame in frames]
        changed_frames = np.repeat(np.arange(len(frames)), counts)
        clock_ns = np.array([self.time_ns, *(frame.time_ns for frame in frames)], dtype=np.int64)
        sequences = np.array([frame.sequence for frame in frames], dtype=np.int64)[changed_frames]
        states = self._states(news, changed_frames, sequences, frames=len(frames))
        times_ns, told = clock_ns[1:], news.columns
        ceased = self._told.withhold(times_ns, told, self.standing, states, self.records.arrays)
        estimated: Sequence[Estimated] = ()
        if self._volatilities or self._averages:
            estimated = self._estimate(frames, times_ns, news, changed_frames, states)
        self.standing = states[-1].copy()
        self.position, self.time_ns = frames[-1].position, frames[-1].time_ns
        changed_rows = np.array(news.rows, dtype=np.int64)
        of_series = [*ceased, *((each.k, each.column) for each in estimated)]
        changed = _with_time(self.universe, clock_ns, changed_frames, changed_rows, of_series)
        return FrameBlock(
            universe=self.universe,
            frames=frames,
            clock_ns=clock_ns,
            changed_frames=changed[0],
            changed_rows=changed[1],
            standing=states,
            records=self.records.arrays,
            turned=self._health.take(times_ns, *changed, states, self.records.arrays),
        )

    def block(self) -> FrameBlock:
        """The last frame once more, for portfolios that changed since."""
        self._follow_series(self.time_ns)
        generation, sequence = self.position
        nothing = np.zeros(0, dtype=np.int64)
        return FrameBlock(
            universe=self.universe,
            frames=[Frame(generation, sequence, self.time_ns, "", 0)],
            clock_ns=np.full(2, self.time_ns),
            changed_frames=nothing,
            changed_rows=nothing,
            standing=self.standing[None].copy(),
            records=self.records.arrays,
        )

    def _follow_series(self, time_ns: int) -> None:
        """From now on those too that were asked for since the last time."""
        columns = self.universe.series_columns
        if len(columns) == self._followed:
            return
        new = list(columns.items())[self._followed :]
        self._followed = len(columns)
        self.standing = np.concatenate((self.standing, np.zeros(len(new), dtype=np.int32)))
        for spec, column in new:
            if isinstance(spec, Told):
                self._told.follow(spec, column)
                if known := self._last[spec.kind].get(spec.name):
                    self._stand([known], time_ns)
            elif (row := self.universe.index.get(spec.instrument)) is not None:
                self.begun = True
                if isinstance(spec, Average):
                    self._averages.follow(column, row, spec, begun_ns=time_ns)
                    continue
                price = int(self.universe.terms.price_row[row])
                self._volatilities.follow(column, price, spec.measure, begun_ns=time_ns)

    def _stand(self, known: Iterable[tuple[Change, int]], time_ns: int) -> None:
        """In the order of their frames: a record has the frame with which it came to stand."""
        news, sequences = _News(), list[int]()
        for change, sequence in sorted(known, key=itemgetter(1)):
            sequences += [sequence] * self._take((change,), sequence, news)
        at_once = np.zeros(len(sequences), dtype=np.int64)
        states = self._states(news, at_once, np.array(sequences, dtype=np.int64), frames=1)
        records = self.records.arrays
        self._told.withhold(np.array([time_ns]), news.columns, self.standing, states, records)
        self.standing = states[0]

    def _take(self, changes: Sequence[Change], sequence: int, news: "_News") -> int:
        """How many of them are of listed instruments or of series."""
        places, index = self._places, self.universe.index
        marks, prices = self._last[TickKind.MARK], self._last[TickKind.PRICE]
        before = len(news.rows)
        for change in changes:
            kind, name = change.kind, change.instrument
            last, rows, columns = places[kind]
            last[name] = (change, sequence)
            row = rows.get(name)
            if row is None:
                self.unlisted |= rows is index
                continue
            column, standing = row if columns is None else columns[row], change
            if (kind is TickKind.PRICE or kind is TickKind.MARK) and name in marks:
                mark = marks[name][0]
                if mark.is_forsaken:
                    standing = marked_by(mark, prices[name][0]) if name in prices else mark
                elif kind is TickKind.PRICE:
                    column = NO_COLUMN
            news.rows.append(row)
            news.columns.append(column)
            news.changes.append(standing)
        return len(news.rows) - before

    def _estimate(
        self,
        frames: Sequence[Frame],
        times_ns: IntArray,
        news: "_News",
        changed_frames: IntArray,
        states: RecordNumbers,
    ) -> Sequence[Estimated]:
        """Volatilities whose bars were closed and averages whose steps were, put into the states."""
        values = [change.value for change in news.changes]
        confidences = [change.confidence for change in news.changes]
        found = [
            *self._volatilities.take(times_ns, changed_frames, news.columns, values),
            *self._averages.take(times_ns, changed_frames, news.columns, values, confidences),
        ]
        for estimated in found:
            record = self._estimate_record(estimated, frames[estimated.k].sequence)
            states[estimated.k :, estimated.column] = record
        return found

    def _estimate_record(self, estimated: Estimated, sequence: int) -> int:
        if isnan(estimated.value):
            return UNKNOWN
        known = (estimated.value, estimated.time_ns, Quality.VALID, sequence, 0.0, 1)
        record, _ = self.records.append([known])
        return record

    def _states(
        self, news: "_News", changed_frames: IntArray, sequences: IntArray, *, frames: int
    ) -> NDArray[np.int32]:
        """What stands after each frame."""
        changes = news.changes
        qualities = [change.quality for change in changes]
        first, _ = self.records.extend(
            (
                [change.value for change in changes],
                [change.time_ns for change in changes],
                # Members of an enumeration convert slowly, and nearly always there is nothing to say.
                qualities if any(qualities) else np.zeros(len(changes), dtype=np.int64),
                sequences,
                [change.confidence for change in changes],
                [change.sources for change in changes],
            )
        )
        states = np.empty((frames, self.standing.size), dtype=np.int32)
        columns = np.array(news.columns, dtype=np.int64)
        _fill_states(self.standing, changed_frames, columns, first, states)
        return states

    def _compact(self) -> None:
        """Only what stands is kept. Blocks that are still in use have the old arrays."""
        kept = self.standing
        old = self.records.arrays
        self.records = Columns(Records)
        self.records.append([(np.nan, 0, 0, 0, 0.0, 0), (1.0, 0, 0, 0, 0.0, 0)])
        first, stop = self.records.extend(column[kept] for column in old)
        self.standing = np.arange(first, stop, dtype=np.int32)
        self.standing[kept == UNKNOWN] = UNKNOWN
        self.standing[kept == ONE] = ONE


class _News:
    """What a run of frames brought for listed instruments, in order."""

    __slots__ = ("changes", "columns", "rows")

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.columns: list[int] = []
        self.changes: list[Change] = []


def _with_time(
    universe: Universe,
    clock_ns: IntArray,
    changed_frames: IntArray,
    changed_rows: IntArray,
    of_series: Sequence[tuple[int, int]],
) -> tuple[IntArray, IntArray]:
    """What changed in which frame, in the order of the frames, with what the clock came to."""
    frames, rows = [changed_frames], [changed_rows]
    if of_series:
        frames.append(np.array([k for k, _ in of_series]))
        rows.append(np.array([column for _, column in of_series]))
    for k, (before_ns, now_ns) in enumerate(pairwise(clock_ns.tolist())):
        due = universe.due_by_the_clock(before_ns, now_ns)
        if due.size:
            frames.append(np.full(due.size, k))
            rows.append(due)
    if len(frames) == 1:
        return changed_frames, changed_rows
    every_frame = np.concatenate(frames)
    order = np.argsort(every_frame, kind="stable")
    return every_frame[order], np.concatenate(rows)[order]


@compiled_in_place
def _fill_states(
    standing: RecordNumbers, frames: IntArray, columns: IntArray, first: int, states: RecordNumbers
) -> None:
    """Record `first + i` stands in `columns[i]` from frame `frames[i]` on."""
    at = 0
    for k in range(states.shape[0]):
        before = standing if k == 0 else states[k - 1]
        for column in range(states.shape[1]):
            states[k, column] = before[column]
        while at < frames.size and frames[at] == k:
            if columns[at] >= 0:
                states[k, columns[at]] = first + at
            at += 1
