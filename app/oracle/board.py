"""The board: what every source last said, and what each line has come to.

Names become records here (see `records`), and what the loops found becomes changes again. What a successor
needs is its memory: last ticks, doubts, and estimates.
"""

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from app.domain.market import LENGTH_BYTES, Tick, TickKind, line_name
from app.oracle.admission import BOUNDS, MAXIMUM_STRANGERS, POSITIVE
from app.oracle.declared import SECOND_NS, Declared, Pair, Source, Spots, conversion, spots_of
from app.oracle.entries import Entries, Taken, Window
from app.oracle.kinds import ladder_of, quorum_of, standard_of, voting_age_ns
from app.oracle.memory import Doubt, Memory
from app.oracle.packing import (
    OF_NUMBERS,
    Names,
    array_of,
    write_changes,
    write_estimates,
    write_last_words,
    write_ticks,
)
from app.oracle.records import (
    ESTIMATE,
    LINE,
    NEVER,
    NOBODY,
    PLACE,
    UNKNOWN_LINE,
    VOTER,
    WEIGHT_ONE,
    Records,
    weight_units,
)
from app.oracle.settled import ENDS, FADES, Settled
from app.oracle.settling import settle
from app.oracle.unpacking import Places
from app.quant.arrays import BoolArray, ByteArray, FloatArray, IntArray, with_room

_PRICES = frozenset({TickKind.PRICE, TickKind.MARK})


class Line:
    """A kind of value of an instrument, who speaks of it, and what may be said of it at all."""

    __slots__ = ("above", "instrument", "kind", "most", "places", "row")

    def __init__(self, kind: TickKind, instrument: str, row: int) -> None:
        self.kind = kind
        self.instrument = instrument
        self.row = row
        self.places: dict[str, int] = {}
        self.above, self.most = BOUNDS[kind]


class Board:
    """`after` has the sequence of the last word of each place: one above it is let in without a closer look;
    of a signer, none.
    """

    def __init__(
        self, *, instruments: Mapping[str, Pair], declared: Declared, maximum_age_ns: int, memory: Memory
    ) -> None:
        self.lines: dict[TickKind, dict[str, Line]] = {kind: {} for kind in TickKind}
        self.sources = 0
        self._instruments = instruments
        self._declared = declared
        self._maximum_age_ns = maximum_age_ns
        self._rows: list[Line] = []
        self._place_records: Records = np.zeros(64, dtype=PLACE)
        self._line_records: Records = np.zeros(16, dtype=LINE)
        self._estimates: Records = np.zeros(16, dtype=ESTIMATE)
        self._sequences: IntArray = np.zeros(64, dtype=np.int64)  # where `after` says never
        self._names: list[tuple[Line, str]] = []  # of places
        self._names_of_places, self._names_of_lines, self._fields = Names(), Names(), Names()
        self._places = Places(self._names_of_places)
        self._heard: set[str] = set()
        self._spoke: BoolArray = np.zeros(64, dtype=np.bool_)  # of places
        self._moved: BoolArray = np.zeros(16, dtype=np.bool_)  # of lines
        self._seen: BoolArray = np.zeros(16, dtype=np.bool_)  # lines, while last words are written
        self._spoken = 0  # ticks since the news was last told
        self._doubted: set[int] = set()
        self._heartbeats: dict[str, int] = {}
        self._beaten: set[str] = set()
        self._strangers = 0
        self._spots: Spots = {}
        self._set_after(np.zeros(64, dtype=np.int64))
        self._changed_whole: IntArray = np.empty((0, 4), dtype=np.int64)
        self._changed: FloatArray = np.empty((0, 2))
        self._doubted_places: IntArray = np.empty(0, dtype=np.int64)
        self._make_room_for_changes(1_000)
        self._out: ByteArray = np.empty(0, dtype=np.uint8)
        self._number = np.empty(1)
        self._number_bits: IntArray = self._number.view(np.int64)
        self._make_room()
        self._restore(memory)
        self.declare(instruments, declared)

    def declare(self, instruments: Mapping[str, Pair], declared: Declared) -> None:
        """Holds for what comes from now on; nobody's last word is forgotten for it."""
        self._instruments, self._declared, self._spots = instruments, declared, spots_of(instruments)
        self._strangers = len(self._heard - declared.sources.keys())
        for line in tuple(self._rows):
            self._declare_line(line)
            for source in line.places:
                self._declare_place(line, source)

    def source(self, name: str) -> Source:
        return self._declared.source(name)

    def line(self, kind: TickKind, instrument: str) -> Line:
        lines = self.lines[kind]
        if (line := lines.get(instrument)) is None:
            line = lines[instrument] = Line(kind, instrument, len(self._rows))
            self._rows.append(line)
            self._names_of_lines.add(kind.value, instrument)
            self._fields.add_packed(line_name(kind, instrument).encode())
            if line.row == self._line_records.size:
                self._line_records = _doubled(self._line_records)
                self._estimates = _doubled(self._estimates)
                self._moved, self._seen = _doubled(self._moved), _doubled(self._seen)
                self._make_room()
            self._declare_line(line)
        return line

    def hear(self, tick: Tick) -> int:
        """Of whom a line has not heard yet, or who is to be looked at closely: its place."""
        line = self.line(tick.kind, tick.instrument)
        if (place := line.places.get(tick.source)) is None:
            place = self._new_place(line, tick)
            self._declare_place(line, tick.source)
        self._sequences[place] = tick.sequence
        self.after[place] = NEVER if self.source(tick.source).public_key is not None else tick.sequence
        return place

    def beat(self, source: str, time_ns: int) -> bool:
        """A heartbeat tick, remembered of whom the board knows: he is there. Whether it is."""
        if not self.knows(source):
            return False
        self._heartbeats[source] = max(time_ns, self._heartbeats.get(source, 0))
        self._beaten.add(source)
        return True

    def last_sequence(self, place: int) -> int:
        after = self.after[place]
        return int(self._sequences[place]) if after == NEVER else after

    def read(self, entries: Entries, start: int, end: int, window: Window, taken: Taken) -> int:
        """See `unpacking.Places.read`."""
        return self._places.read(
            entries, start, end, self._place_records, self._line_records, self._after, window, taken
        )

    def settle(self, taken: Taken, settled: Settled, *, clock_ns: int) -> None:
        """What was taken changes what is settled. `clock_ns` is the market time of the entry before."""
        # With time alone a line falls through three rungs at most between two of its ticks.
        fades = taken.time_ns // SECOND_NS > clock_ns // SECOND_NS
        room = taken.ticks + (3 * (taken.ticks + len(self._rows)) if fades else 0)
        settled.claim(taken.entries, room, OF_NUMBERS + self._names_of_lines.longest)
        self._make_room_for_changes(room)
        count, found = settle(
            self._place_records,
            self._line_records,
            self._estimates,
            taken.whole,
            taken.told,
            taken.ends,
            taken.entries,
            self._voters,
            self._votes,
            self._marks,
            self._touched,
            self._spoke,
            self._moved,
            self._doubted_places,
            self._changed_whole,
            self._changed,
            settled.ends,
            settled.entries,
            settled.changes,
            clock_ns,
        )
        if found:
            self._doubted.update(self._doubted_places[:found].tolist())
        if fades:
            self._order_faded(settled, taken.entries)
        names = self._names_of_lines
        write_changes(
            names.packed, names.ends, self._changed_whole, self._changed_bits, count,
            settled.lines, settled.starts, settled.packed, settled.changes,
        )  # fmt: skip
        settled.entries += taken.entries
        settled.changes += count
        self._spoken += taken.ticks

    def _order_faded(self, settled: Settled, entries: int) -> None:
        """What fades has an order that every successor has."""
        ends = settled.ends[settled.entries : settled.entries + entries] - settled.changes
        for end, _, first in ends[ends[:, FADES] < ends[:, ENDS]].tolist():
            rows = [self._rows[row] for row in self._changed_whole[first:end, 0].tolist()]
            order = sorted(
                range(first, end), key=lambda i: (rows[i - first].instrument, rows[i - first].kind)
            )
            self._changed_whole[first:end] = self._changed_whole[order]
            self._changed[first:end] = self._changed[order]

    def last_words(self, settled: Settled, first: int) -> bytes:
        """Of each line that changed, from change `first` on, its name and the last change, each behind its
        length.
        """
        each = 2 * LENGTH_BYTES + self._fields.longest + OF_NUMBERS + self._names_of_lines.longest
        self._out = with_room(self._out, each * min(settled.changes - first, len(self._rows)))
        fields = self._fields
        written = write_last_words(
            fields.packed, fields.ends, settled.lines, settled.starts, settled.packed,
            first, settled.changes, self._seen, self._out,
        )  # fmt: skip
        return self._out[:written].tobytes()

    def knows(self, name: str) -> bool:
        """Whether it is declared, or was heard."""
        return name in self._heard or name in self._declared.sources

    def has_room_for(self, name: str) -> bool:
        """Every name that is heard is kept for good: of those that nobody declared there are only so many."""
        return self._strangers < MAXIMUM_STRANGERS or self.knows(name)

    def estimates(self, kind: TickKind, names: Sequence[str]) -> Records:
        """What each has come to: records of `ESTIMATE`, without samples of whom nobody has spoken."""
        lines = self.lines[kind]
        rows = [line.row if (line := lines.get(name)) is not None else NOBODY for name in names]
        found: Records = self._estimates[rows]
        found["samples"][np.array(rows) == NOBODY] = 0
        return found

    def memory(self) -> Memory:
        """The whole of it."""
        self._spoke[: self.sources] = True
        self._spoken = self.sources
        self._moved[:] = self._estimates["samples"] > 0
        self._beaten = set(self._heartbeats)
        self._doubted = set(np.flatnonzero(self._place_records["doubt"][: self.sources]).tolist())
        return self.news()

    def news(self) -> Memory:
        """What is settled and was said since this or the whole was last asked for, and what it moved."""
        doubts = []
        for index in sorted(self._doubted):
            (line, source), record = self._names[index], self._place_records[index]
            doubts.append(
                Doubt(line.kind, line.instrument, source, int(record["doubt"]), int(record["doubted_ns"]))
            )
        heartbeats = {source: self._heartbeats[source] for source in sorted(self._beaten)}
        self._doubted.clear()
        self._beaten.clear()
        return Memory(self._last_ticks(), doubts, self._moved_estimates(), heartbeats)

    def _last_ticks(self) -> msgspec.Raw:
        names = self._names_of_places
        spoken, self._spoken = min(self._spoken, self.sources), 0
        self._out = with_room(self._out, spoken * (OF_NUMBERS + names.longest))
        count, written = write_ticks(
            names.packed, names.ends, self._spoke, self._spoke.view(np.int64), self._after, self._sequences,
            self._place_records, self._number, self._number_bits, self._out,
        )  # fmt: skip
        return array_of(count, self._out[:written].tobytes())

    def _moved_estimates(self) -> msgspec.Raw:
        names, size = self._names_of_lines, ESTIMATE.itemsize
        self._out = with_room(self._out, len(self._rows) * (3 + names.longest + size))
        records = self._estimates.view(np.uint8).reshape(-1, size)
        moved = self._moved.view(np.int64)
        count, written = write_estimates(names.packed, names.ends, self._moved, moved, records, self._out)
        return array_of(count, self._out[:written].tobytes())

    def _set_after(self, after: IntArray) -> None:
        """The same numbers, as loops read them and as Python does fastest."""
        self._after, self.after = after, memoryview(after.data)

    def _restore(self, memory: Memory) -> None:
        self._heartbeats = dict(memory.heartbeats)
        for tick in memory.quotes:
            heard = self.hear(tick)  # which may make room: the records are another array then
            record = self._place_records[heard]
            record["value"], record["confidence"] = tick.value, tick.confidence
            record["time_ns"] = tick.time_ns
        for doubt in memory.doubts:
            place = self.line(doubt.kind, doubt.instrument).places.get(doubt.source)
            if place is not None:
                record = self._place_records[place]
                record["doubt"], record["doubted_ns"] = doubt.halvings, doubt.since_ns
        for estimate in memory.estimates:
            if len(estimate.packed) == ESTIMATE.itemsize:
                row = self.line(estimate.kind, estimate.instrument).row
                self._estimates[row] = np.frombuffer(estimate.packed, dtype=ESTIMATE)[0]

    def _new_place(self, line: Line, tick: Tick) -> int:
        place = line.places[tick.source] = self.sources
        self.sources += 1
        self._names.append((line, tick.source))
        self._names_of_places.add(tick.kind.value, tick.source, tick.instrument)
        self._places.add_last()
        if not self.knows(tick.source):
            self._strangers += 1
        self._heard.add(tick.source)
        if place == self._place_records.size:
            self._place_records = _doubled(self._place_records)
            self._sequences, self._spoke = _doubled(self._sequences), _doubled(self._spoke)
            self._set_after(_doubled(self._after))
        record = self._line_records[line.row]
        if len(line.places) == 1:
            record["first"] = place
        else:
            self._place_records[record["last"]]["next"] = place
        record["last"] = place
        self._place_records[place]["line"] = line.row
        self._place_records[place]["next"] = NOBODY
        if len(line.places) > self._voters.size:
            self._make_room()
        return place

    def _make_room(self) -> None:
        """For the loops' own use."""
        voters = max([16, *(2 * len(line.places) for line in self._rows)])
        self._voters: Records = np.zeros(voters, dtype=VOTER)
        self._votes = np.zeros(3 * voters)
        self._marks = np.zeros(3 * voters, dtype=np.int64)
        self._touched = np.zeros(self._line_records.size, dtype=np.int64)

    def _make_room_for_changes(self, count: int) -> None:
        if len(self._changed) < count:
            self._changed_whole = with_room(self._changed_whole, count)
            self._changed = with_room(self._changed, count)
            self._changed_bits: IntArray = self._changed.view(np.int64)
            self._doubted_places = with_room(self._doubted_places, count)

    def _declare_line(self, line: Line) -> None:
        ladder = ladder_of(line.kind, line.instrument, self._declared)
        quorum = quorum_of(line.kind, line.instrument, self._declared)
        record = self._line_records[line.row]
        if not line.places:
            record["first"] = record["last"] = NOBODY
        record["above"], record["most"] = line.above, line.most
        record["is_price"] = line.kind in _PRICES
        # A volatility of which nobody speaks any more is left to its surface (`surfaces`).
        record["fades"] = line.kind is not TickKind.IMPLIED_VOL
        record["is_positive"] = line.kind in POSITIVE
        record["tolerance"] = standard_of(line.kind, self._declared).tolerance
        record["least_sources"] = quorum.sources
        record["least_weight"] = round(quorum.weight * WEIGHT_ONE)
        record["volatile_ratio"] = ladder.volatile_ratio
        record["uncertain"] = ladder.uncertain_fraction
        record["dispersed"] = ladder.dispersed_fraction
        record["diverging"] = ladder.diverging_fraction
        record["margin_age_ns"] = ladder.stale_for_margin_ns
        record["trading_age_ns"] = ladder.stale_for_trading_ns

    def _declare_place(self, line: Line, name: str) -> None:
        source, place = self.source(name), line.places[name]
        # Whoever is declared is looked at closely once more, and let in or refused by `check_source` there.
        self._sequences[place], self.after[place] = self.last_sequence(place), NEVER
        converter, divides = self._converter(line, source) if source.enabled else (UNKNOWN_LINE, False)
        record = self._place_records[place]
        record["weight"] = weight_units(source.weight)
        record["maximum_age_ns"] = voting_age_ns(line.kind, source, self._declared, self._maximum_age_ns)
        record["heartbeat_ns"] = source.heartbeat_ns
        record["converter"], record["divides"] = converter, divides

    def _converter(self, line: Line, source: Source) -> tuple[int, bool]:
        """The line by which a source's currency becomes the line's own, and whether by dividing."""
        found = conversion(
            line.kind, line.instrument, source, instruments=self._instruments, spots=self._spots
        )
        if found is None:
            return NOBODY, False
        if found.spot is None:
            return UNKNOWN_LINE, False
        converter = self.line(TickKind.PRICE, found.spot).row
        self._line_records[converter]["converts"] = 1
        return converter, found.divides


def _doubled(records: Records) -> Records:
    return np.concatenate([records, np.zeros_like(records)])
