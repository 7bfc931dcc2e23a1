"""A block of consecutive frames: the market after each of them.

Every change of the market is a record, and the market is a row of numbers: of the record that stands in each
of its columns (see `market_view`). A block holds that row after each of its frames, so that many frames are
looked at in one pass. What is decided is the same as frame by frame: nothing is merged or skipped.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isnan, nan
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.domain.market import Frame, Quality
from app.engine.universe import NO_COLUMN, Path, Universe
from app.quant.arrays import FloatArray, IntArray

UNKNOWN, ONE = 0, 1
"""The records that are always there: of a value that is not known, and of what is worth itself."""

RecordNumbers = NDArray[np.int32]


class Records(NamedTuple):
    """A value, when and how well it was known, and the frame that brought it."""

    value: FloatArray
    time_ns: IntArray
    quality: IntArray
    frame: IntArray
    confidence: FloatArray
    sources: IntArray


class Turned(NamedTuple):
    """With frame k a market became degraded, or has recovered (see `market_health`)."""

    k: int
    instrument: str
    is_degraded: bool
    quality: Quality


@dataclass(frozen=True, slots=True)
class FrameBlock:
    """States after each of `frames`: row k of `standing` belongs to `frames[k]`. `turned`: in their order.

    The instrument or series `changed_rows[i]` had news in frame `changed_frames[i]`. `clock_ns` is the market
    time before the block and after each of its frames.
    """

    universe: Universe
    frames: Sequence[Frame]
    clock_ns: IntArray
    changed_frames: IntArray
    changed_rows: IntArray
    standing: RecordNumbers
    records: Records
    turned: Sequence[Turned] = ()

    @property
    def times_ns(self) -> IntArray:
        return self.clock_ns[1:]

    def lacks(self, universe: Universe) -> bool:
        """Whether it was made before something was listed, or a series was asked for."""
        width, had = self.standing.shape[1], self.universe.series_columns
        return self.universe.names != universe.names or any(
            not had.get(spec, width) < width for spec in universe.series_columns
        )

    def on(self, universe: Universe) -> "FrameBlock":
        """The same frames with other listings and series; what was not there is not known in them."""
        if universe is self.universe and self.standing.shape[1] == universe.width:
            return self
        standing = np.full((len(self.frames), universe.width), UNKNOWN, dtype=np.int32)
        standing[:, universe.one_row] = ONE
        old, row_of = self.universe, universe.index
        kept = [(row, row_of[name]) for name, row in old.index.items() if name in row_of]
        before, after = np.array(kept, dtype=np.int64).reshape(-1, 2).T
        standing[:, after] = self.standing[:, before]
        for now, then in (
            (universe.volatility_columns[after], old.volatility_columns[before]),
            (universe.funding_columns[after], old.funding_columns[before]),
        ):
            both = (now != NO_COLUMN) & (then != NO_COLUMN)
            standing[:, now[both]] = self.standing[:, then[both]]
        row_now = np.full(old.width, NO_COLUMN, dtype=np.int64)
        row_now[before] = after
        for spec, column in universe.series_columns.items():
            had = old.series_columns.get(spec, NO_COLUMN)
            if NO_COLUMN != had < self.standing.shape[1]:
                standing[:, column], row_now[had] = self.standing[:, had], column
        rows = row_now[self.changed_rows]
        listed = rows != NO_COLUMN
        return FrameBlock(
            universe,
            self.frames,
            self.clock_ns,
            self.changed_frames[listed],
            rows[listed],
            standing,
            self.records,
            self.turned,
        )

    def values(self, k: int | IntArray, columns: IntArray) -> FloatArray:
        """On one frame, or each on its own."""
        values: FloatArray = self.records.value[self.standing[k, columns]]
        return values

    def price(self, k: int, row: int) -> float:
        return float(self.records.value[self.standing[k, row]])

    def funding_rate(self, k: int, row: int) -> float:
        """Of a perpetual, for its interval; NaN where that is not known."""
        return self.price(k, self.universe.funding_columns[row])

    def path(self, k: int, conversion: int) -> Path | None:
        """The one that counts on a frame; None where the value is not known."""
        for path in self.universe.paths_of[conversion]:
            if not isnan(self.price(k, path.first) * self.price(k, path.second)):
                return path
        return None

    def value(self, k: int, conversion: int) -> float:
        """Of one unit, in the currency that it is converted to; NaN where that is not known."""
        path = self.path(k, conversion)
        if path is None:
            return nan
        first, second = self.price(k, path.first), self.price(k, path.second)
        return (first if path.first_power > 0 else 1.0 / first) * (
            second if path.second_power > 0 else 1.0 / second
        )

    def conversion_values(self, frames: IntArray, conversions: IntArray) -> FloatArray:
        """As `value`, for many: each on its own frame."""
        columns, paths = self.universe.conversions.arrays, self.universe.paths.arrays
        path, stop = columns.start[conversions], columns.stop[conversions]
        values: FloatArray = np.full(frames.size, nan)
        while (open_ := np.flatnonzero(np.isnan(values) & (path < stop))).size:
            at = path[open_]
            first = self.values(frames[open_], paths.first[at])
            second = self.values(frames[open_], paths.second[at])
            values[open_] = np.where(paths.first_power[at] > 0, first, 1.0 / first) * np.where(
                paths.second_power[at] > 0, second, 1.0 / second
            )
            path[open_] += 1
        return values

    def confidence_shares(self, frames: IntArray, columns: IntArray) -> FloatArray:
        """The confidence of each price, as a share of it, each on its own frame."""
        numbers = self.standing[frames, columns]
        value, confidence = self.records.value[numbers], self.records.confidence[numbers]
        shares: FloatArray = np.divide(confidence, value, out=np.zeros(value.size), where=value > 0.0)
        return shares

    def conversion_spreads(self, frames: IntArray, conversions: IntArray) -> FloatArray:
        """The confidences of the prices that a conversion leads over, added up as shares of them."""
        columns, paths = self.universe.conversions.arrays, self.universe.paths.arrays
        path, stop = columns.start[conversions], columns.stop[conversions]
        found: FloatArray = np.zeros(frames.size)
        while (open_ := np.flatnonzero(path < stop)).size:
            at, frame = path[open_], frames[open_]
            first, second = paths.first[at], paths.second[at]
            known = ~np.isnan(self.values(frame, first) * self.values(frame, second))
            shares = self.confidence_shares(frame, first) + self.confidence_shares(frame, second)
            found[open_] = np.where(known, shares, 0.0)
            path[open_] = np.where(known, stop[open_], at + 1)
        return found

    def price_rows(self, k: int, *, marks: Iterable[int], conversions: Iterable[int]) -> list[int]:
        """Instruments whose prices are used on a frame."""
        rows = set(marks)
        for path in (self.path(k, conversion) for conversion in conversions):
            rows |= {path.first, path.second} if path else set()
        return sorted(row for row in rows if row < self.universe.size)

    def frame_of(self, k: int, row: int) -> int:
        """The sequence of the frame that brought the price."""
        return int(self.records.frame[self.standing[k, row]])

    def fewest_sources(self, k: int, rows: Iterable[int]) -> int:
        """Of the prices that are known."""
        records = (int(self.standing[k, row]) for row in rows)
        known = (int(self.records.sources[at]) for at in records if self.records.time_ns[at] > 0)
        return min(known, default=1)

    def widest_confidence_bps(self, k: int, rows: Iterable[int]) -> float:
        """Half widths of the consensus, as shares of the prices that are known."""
        records = (int(self.standing[k, row]) for row in rows)
        shares = (
            float(self.records.confidence[at] / self.records.value[at])
            for at in records
            if self.records.time_ns[at] > 0 and self.records.value[at] > 0.0
        )
        return max(shares, default=0.0) * 1e4

    def worst_quality(self, k: int, rows: Iterable[int]) -> Quality:
        numbers = self.standing[k]
        return Quality(max((int(self.records.quality[numbers[row]]) for row in rows), default=0))

    def oldest_age_ns(self, k: int, rows: Iterable[int]) -> int:
        """Of the prices that are known: one that is not has made every figure unknown that needs it."""
        times = [int(self.records.time_ns[self.standing[k, row]]) for row in rows]
        known = [time_ns for time_ns in times if time_ns > 0]
        return self.frames[k].time_ns - min(known) if known else 0
