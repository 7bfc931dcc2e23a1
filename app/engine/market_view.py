"""The market as the decision core sees it: one row per instrument, and blocks of consecutive frames.

A block holds the state after each of its frames, so that many frames are looked at in one pass. What is
decided is the same as frame by frame: nothing is merged or skipped.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from app.domain.market import ORIGIN, Change, Frame, Quality, StreamPosition, TickKind
from app.engine.universe import Universe
from app.quant.arrays import FloatArray, IntArray

_changes = msgspec.msgpack.Decoder(list[tuple[Change, int]])
_encoder = msgspec.msgpack.Encoder()


class MarketView:
    """Last known values with their age, quality and the frame that brought them."""

    def __init__(self, universe: Universe) -> None:
        self.universe = universe
        self.position = ORIGIN
        self.time_ns = 0
        rows = universe.size + 2
        self.prices: FloatArray = np.full(rows, np.nan)
        self.prices[-1] = 1.0
        self.volatilities: FloatArray = np.full(rows, np.nan)
        self.price_times = np.zeros(rows, dtype=np.int64)
        self.price_qualities = np.zeros(rows, dtype=np.int8)
        self.price_frames = np.zeros(rows, dtype=np.int64)
        self._last: dict[tuple[TickKind, str], tuple[Change, int]] = {}

    def apply(self, frame: Frame) -> list[int]:
        """Takes the frame in; the rows that changed."""
        if frame.generation != self.position.generation:
            self._forget()
        self.position = frame.position
        self.time_ns = frame.time_ns
        return self._take(frame.changes, frame.sequence)

    def load(self, changes: Iterable[Change], *, position: StreamPosition, time_ns: int) -> None:
        """The state at a position, from the consensus values that stood then."""
        self.position = position
        self.time_ns = time_ns
        self._take(changes, position.sequence)

    def snapshot(self) -> bytes:
        return _encoder.encode(list(self._last.values()))

    def restore(self, packed: bytes, *, position: StreamPosition, time_ns: int) -> None:
        self.position = position
        self.time_ns = time_ns
        for change, sequence in _changes.decode(packed):
            self._take((change,), sequence)

    def on(self, universe: Universe) -> "MarketView":
        """The same market seen with other listings."""
        view = MarketView(universe)
        view.restore(self.snapshot(), position=self.position, time_ns=self.time_ns)
        return view

    def change(self, kind: TickKind, instrument: str) -> Change | None:
        known = self._last.get((kind, instrument))
        return known[0] if known else None

    def _take(self, changes: Iterable[Change], sequence: int) -> list[int]:
        rows = []
        for change in changes:
            self._last[change.kind, change.instrument] = (change, sequence)
            row = self.universe.index.get(change.instrument)  # type: ignore[call-overload]  # ids are text on the wire
            if row is None:
                continue
            if change.kind is TickKind.IMPLIED_VOL:
                self.volatilities[row] = change.value
            elif change.kind is TickKind.MARK or (
                change.kind is TickKind.PRICE and (TickKind.MARK, change.instrument) not in self._last
            ):
                self.prices[row] = change.value
                self.price_times[row] = change.time_ns
                self.price_qualities[row] = change.quality
                self.price_frames[row] = sequence
            rows.append(row)
        return rows

    def _forget(self) -> None:
        """A new generation knows nothing of the old one's prices."""
        fresh = MarketView(self.universe)
        self.__dict__.update(fresh.__dict__)


@dataclass(frozen=True, slots=True)
class FrameBlock:
    """States after each of `frames`: row k of every array belongs to `frames[k]`."""

    frames: Sequence[Frame]
    changed_rows: Sequence[Sequence[int]]
    prices: FloatArray
    volatilities: FloatArray
    price_times: IntArray
    price_qualities: np.ndarray[tuple[int, int], np.dtype[np.int8]]
    price_frames: IntArray

    @classmethod
    def advance(cls, market: MarketView, frames: Sequence[Frame]) -> "FrameBlock":
        """Applies the frames to `market` one by one and keeps every state on the way."""
        shape = (len(frames), market.universe.size + 2)
        changed: list[Sequence[int]] = []
        block = cls(
            frames=frames,
            changed_rows=changed,
            prices=np.empty(shape),
            volatilities=np.empty(shape),
            price_times=np.empty(shape, dtype=np.int64),
            price_qualities=np.empty(shape, dtype=np.int8),
            price_frames=np.empty(shape, dtype=np.int64),
        )
        for k, frame in enumerate(frames):
            changed.append(market.apply(frame))
            block.prices[k] = market.prices
            block.volatilities[k] = market.volatilities
            block.price_times[k] = market.price_times
            block.price_qualities[k] = market.price_qualities
            block.price_frames[k] = market.price_frames
        return block

    @classmethod
    def standing(cls, market: MarketView) -> "FrameBlock":
        """The last frame once more, for portfolios that changed since."""
        frame = Frame(
            generation=market.position.generation,
            sequence=market.position.sequence,
            time_ns=market.time_ns,
            entry="",
            stamp_ns=0,
        )
        return cls(
            frames=[frame],
            changed_rows=[()],
            prices=market.prices[None].copy(),
            volatilities=market.volatilities[None].copy(),
            price_times=market.price_times[None].copy(),
            price_qualities=market.price_qualities[None].copy(),
            price_frames=market.price_frames[None].copy(),
        )

    def worst_quality(self, k: int, rows: IntArray) -> Quality:
        return Quality(int(self.price_qualities[k, rows].max())) if len(rows) else Quality.VALID

    def oldest_age_ns(self, k: int, rows: IntArray) -> int:
        """Of the prices that are known: one that is not has made every figure unknown that needs it."""
        known = self.price_times[k, rows]
        known = known[known > 0]
        return int(self.frames[k].time_ns - known.min()) if len(known) else 0
