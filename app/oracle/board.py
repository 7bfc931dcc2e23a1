"""The board: what every source last said, and what each line has come to.

Names become records here (see `records`), and what the loops found becomes changes again. What a successor
needs is its memory: last ticks, doubts, and estimates.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from app.domain.market import Tick, TickKind
from app.oracle.admission import BOUNDS, MAXIMUM_STRANGERS, POSITIVE
from app.oracle.declared import SECOND_NS, Declared, Pair, Source, Spots, conversion, spots_of
from app.oracle.kinds import ladder_of, quorum_of, standard_of, voting_age_ns
from app.oracle.memory import Doubt, Estimate, Memory
from app.oracle.packing import Names, array_of, packed_changes, packed_ticks
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
from app.oracle.settled import Settled
from app.oracle.settling import settle
from app.oracle.unpacking import Places
from app.quant.arrays import BoolArray, FloatArray, IntArray

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
        self._names_of_places, self._names_of_lines = Names(), Names()
        self._places = Places(self._names_of_places)
        self._heard: set[str] = set()
        self._spoke: BoolArray = np.zeros(64, dtype=np.bool_)  # of places
        self._moved: BoolArray = np.zeros(16, dtype=np.bool_)  # of lines
        self._doubted: set[int] = set()
        self._heartbeats: dict[str, int] = {}
        self._beaten: set[str] = set()
        self._strangers = 0
        self._spots: Spots = {}
        self._set_after(np.zeros(64, dtype=np.int64))
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
            if line.row == self._line_records.size:
                self._line_records = _doubled(self._line_records)
                self._estimates = _doubled(self._estimates)
                self._moved = _doubled(self._moved)
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

    def read(self, packed: bytes, *, oldest_ns: int, newest_ns: int) -> tuple[IntArray, FloatArray] | None:
        """See `unpacking.Places.read`."""
        return self._places.read(
            packed,
            self._place_records,
            self._line_records,
            self._after,
            oldest_ns=oldest_ns,
            newest_ns=newest_ns,
        )

    def settle(
        self, whole: IntArray, told: FloatArray, entries: Sequence[tuple[int, int]], *, clock_ns: int
    ) -> Settled:
        """What entries of ticks changed.

        Of each tick place and time, and value and confidence; of an entry the end of its ticks, and the
        market time. `clock_ns` is that of the entry before.
        """
        ends = np.array([(end, now_ns, 0, 0) for end, now_ns in entries], dtype=np.int64)
        ticks = entries[-1][0]
        doubted = np.empty(ticks, dtype=np.int64)
        # With time alone a line falls through three rungs at most between two of its ticks.
        fading = 3 * (ticks + len(self._rows)) if entries[-1][1] // SECOND_NS > clock_ns // SECOND_NS else 0
        changed_whole, changed = np.empty((ticks + fading, 4), dtype=np.int64), np.empty((ticks + fading, 2))
        found = settle(
            self._place_records,
            self._line_records,
            self._estimates,
            whole,
            told,
            ends,
            self._voters,
            self._votes,
            self._marks,
            self._touched,
            doubted,
            changed_whole,
            changed,
            clock_ns,
        )
        self._spoke[whole[:, 0]] = True
        self._doubted.update(doubted[:found].tolist())
        count = ends[-1, 2]
        changed_whole, changed = changed_whole[:count], changed[:count]
        if fading:
            for end, first in ends[:, 2:].tolist():  # what fades has an order that every successor has
                order = first + self._by_name(changed_whole[first:end, 0])
                changed_whole[first:end], changed[first:end] = changed_whole[order], changed[order]
        rows = changed_whole[:, 0].copy()
        self._moved[rows] = True
        return Settled(
            ends[:, 2].copy(),
            rows,
            *packed_changes(self._names_of_lines, changed_whole, changed.view(np.int64)),
        )

    def _by_name(self, rows: IntArray) -> IntArray:
        names = [(line.instrument, line.kind) for line in map(self._rows.__getitem__, rows.tolist())]
        return np.array(sorted(range(len(names)), key=names.__getitem__), dtype=np.int64)

    def name(self, row: int) -> tuple[TickKind, str]:
        line = self._rows[row]
        return line.kind, line.instrument

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
        self._moved = self._estimates["samples"] > 0
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
        estimates = [
            Estimate(line.kind, line.instrument, self._estimates[line.row].tobytes())
            for line in map(self._rows.__getitem__, self._moved.nonzero()[0].tolist())
        ]
        spoke = self._spoke.nonzero()[0]
        quotes = array_of(spoke.size, self._last_words(spoke))
        self._spoke[:] = self._moved[:] = False
        heartbeats = {source: self._heartbeats[source] for source in sorted(self._beaten)}
        self._doubted.clear()
        self._beaten.clear()
        return Memory(quotes, doubts, estimates, heartbeats)

    def _last_words(self, places: IntArray) -> bytes:
        return packed_ticks(self._names_of_places, self._place_records, places, self._after, self._sequences)

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
