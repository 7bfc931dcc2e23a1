"""Series that the oracle tells of no instrument: their columns, and for how long what was told is known.

A value that is older than its kind may be, or too uncertain, is not known from then on: no condition is true
of it, so that nothing is built up again because an index has fallen silent. It follows from the frames alone.
"""

from collections.abc import Collection, Sequence

import numpy as np

from app.domain.market import UNLISTED, Quality, TickKind
from app.engine.frame_block import UNKNOWN, RecordNumbers, Records
from app.engine.series import Told
from app.engine.universe import NEVER_NS
from app.oracle.kinds import STANDARDS
from app.quant.arrays import IntArray

_UNCERTAIN = int(Quality.TOO_UNCERTAIN)


class ToldSeries:
    def __init__(self) -> None:
        self.columns: dict[TickKind, dict[str, int]] = {kind: {} for kind in UNLISTED}
        self._followed: set[int] = set()
        self._every: IntArray = np.zeros(0, dtype=np.int64)
        self._ages_ns: IntArray = np.zeros(0, dtype=np.int64)
        self._due_ns = NEVER_NS  # nothing that stands is too old until then

    def follow(self, spec: Told, column: int) -> None:
        self.columns[spec.kind][spec.name] = column
        self._followed.add(column)
        self._every = np.append(self._every, column)
        self._ages_ns = np.append(self._ages_ns, STANDARDS[spec.kind].ladder.stale_for_margin_ns)

    def withhold(
        self,
        times_ns: IntArray,
        news: Collection[int],
        before: RecordNumbers,
        states: RecordNumbers,
        records: Records,
    ) -> Sequence[tuple[int, int]]:
        """Takes out of the states after frames at these times what is not known in them any more.

        `news` are columns that something was told of, `before` is the state that the frames found. Returns
        the frames and columns in which something ceased to be known.
        """
        if times_ns[-1] <= self._due_ns and self._followed.isdisjoint(news):
            return ()
        every = self._every
        told = states[:, every]
        ends_ns = records.time_ns[told] + self._ages_ns
        known = (told != UNKNOWN) & (times_ns[:, None] <= ends_ns) & (records.quality[told] < _UNCERTAIN)
        states[:, every] = np.where(known, told, UNKNOWN)
        self._due_ns = int(ends_ns[-1][known[-1]].min(initial=NEVER_NS))
        was_known = np.concatenate(((before[every] != UNKNOWN)[None], known[:-1]))
        frames, places = np.nonzero(was_known & ~known)
        return list(zip(frames.tolist(), every[places].tolist(), strict=True))
