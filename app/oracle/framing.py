"""Frames: closed one after the other, and written once it is known what their entries changed.

Those of one entry, of which nothing else is told, are written by a loop: byte for byte what msgspec makes of
a `Frame`, as it does of the others.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from app.domain.market import LENGTH_BYTES, Change, PackedFrames, StreamPosition
from app.oracle.entries import ID_END, ID_START, Entries
from app.oracle.packing import array_of, put_array, put_bytes, put_integer, put_string
from app.oracle.settled import ENDS, TIME, Settled
from app.quant.arrays import ByteArray, IntArray, with_room
from app.quant.compiled import compiled_in_place

_OF_HEADERS = LENGTH_BYTES + 5 * 9 + 8
"""More bytes than a frame has that are neither its entry's id nor its changes."""

_pack = msgspec.msgpack.Encoder().encode


class _Frame(msgspec.Struct, array_like=True, gc=False):
    """A `Frame` whose changes are msgpack already."""

    generation: int
    sequence: int
    time_ns: int
    entry: str
    stamp_ns: int
    changes: msgspec.Raw
    covers: int


class _One(NamedTuple):
    """A frame of so many entries, the last of them, and what is told beside their changes."""

    time_ns: int
    wall_ns: int
    covers: int
    entry: str
    told: Sequence[Change]


class _Each(NamedTuple):
    """A frame of each entry from `start` to before `end`."""

    entries: Entries
    start: int
    end: int
    wall_ns: int


class Closed:
    """Frames without the changes of their entries."""

    def __init__(self) -> None:
        self._runs: list[_One | _Each] = []
        self._out: ByteArray = np.empty(0, dtype=np.uint8)

    def add(
        self, *, time_ns: int, wall_ns: int, covers: int, entry: str, told: Sequence[Change] = ()
    ) -> None:
        self._runs.append(_One(time_ns, wall_ns, covers, entry, told))

    def add_each(self, entries: Entries, start: int, end: int, wall_ns: int) -> None:
        self._runs.append(_Each(entries, start, end, wall_ns))

    def frames(self, before: StreamPosition, settled: Settled) -> PackedFrames:
        """All of them, the first one after `before`; of the entries that are settled."""
        runs, self._runs = self._runs, []
        (generation, sequence), entries, parts, merged = before, 0, list[bytes](), list[int]()
        time_ns = 0
        for run in runs:
            if isinstance(run, _Each):
                parts.append(self._written(run, generation, sequence, settled, entries))
                entries += run.end - run.start
                sequence += run.end - run.start
                time_ns = int(settled.ends[entries - 1, TIME])
            else:
                sequence += 1
                parts.append(_packed(run, generation, sequence, settled, entries))
                entries += run.covers
                time_ns = run.time_ns
                if run.covers > 1:
                    merged.append(run.covers)
        return PackedFrames(
            b"".join(parts),
            sequence - before.sequence,
            StreamPosition(generation, sequence),
            time_ns,
            stamp_ns=runs[-1].wall_ns if runs else 0,
            merged=len(merged),
            entries=sum(merged),
        )

    def _written(
        self, frames: _Each, generation: int, sequence: int, settled: Settled, entries: int
    ) -> bytes:
        """The first frame, after `sequence`, is of the entry after the first so many `entries`."""
        read, start, end, wall_ns = frames
        first, last = settled.span(entries, entries + end - start)
        rows = read.rows
        most = int(
            rows[end - 1, ID_END] - rows[start, ID_START] + settled.starts[last] - settled.starts[first]
        )
        self._out = with_room(self._out, most + (end - start) * _OF_HEADERS)
        written = _write(
            generation,
            sequence,
            wall_ns,
            rows,
            start,
            end,
            read.ids,
            settled.ends,
            entries,
            first,
            settled.starts,
            settled.packed,
            self._out,
        )
        return self._out[:written].tobytes()


def _packed(frame: _One, generation: int, sequence: int, settled: Settled, entries: int) -> bytes:
    """It is made of those after the first so many `entries`."""
    start, end = settled.span(entries, entries + frame.covers)
    count, changes = settled.between(start, end, merged=frame.covers > 1)
    changes += b"".join(map(_pack, frame.told))
    packed = _pack(
        _Frame(
            generation, sequence, frame.time_ns, frame.entry, frame.wall_ns,
            array_of(count + len(frame.told), changes), frame.covers,
        )
    )  # fmt: skip
    return len(packed).to_bytes(LENGTH_BYTES, "big") + packed


@compiled_in_place
def _write(
    generation: int,
    sequence: int,
    wall_ns: int,
    rows: IntArray,
    first: int,
    last: int,
    ids: ByteArray,
    ends: IntArray,
    entry: int,
    change: int,
    starts: IntArray,
    changes: ByteArray,
    out: ByteArray,
) -> int:
    at = 0
    for row in range(first, last):
        start, at = at, at + LENGTH_BYTES
        sequence += 1
        out[at] = 0x97
        at = put_integer(out, at + 1, generation)
        at = put_integer(out, at, sequence)
        at = put_integer(out, at, ends[entry, TIME])
        at = put_string(out, at, ids, rows[row, ID_START], rows[row, ID_END])
        at = put_integer(out, at, wall_ns)
        at = put_array(out, at, ends[entry, ENDS] - change)
        for i in range(starts[change], starts[ends[entry, ENDS]]):
            out[at] = changes[i]
            at += 1
        at = put_integer(out, at, 1)
        put_bytes(out, start, at - start - LENGTH_BYTES, LENGTH_BYTES)
        change = ends[entry, ENDS]
        entry += 1
    return at
