"""The sequencer: entries of ticks in, frames out. A pure state machine with one writer.

Its whole state is the memory of its board, the market clock and the frame sequence; the adapter writes it
together with the frames, so a killed oracle continues exactly here.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import NamedTuple

import msgspec

from app.domain.errors import InvalidTick
from app.domain.market import Change, Frame, Quality, Rejection, Tick, TickKind
from app.oracle.admission import LATEST_NS, check_time, check_word
from app.oracle.board import Board
from app.oracle.declared import SECOND_NS, Declared, Pair
from app.oracle.kinds import ladder_of, maximum_age_ns, standard_of
from app.oracle.memory import Memory
from app.oracle.signatures import Seal
from app.oracle.surfaces import SURFACE_NS, chains_of, read_off


class ClockMode(StrEnum):
    """`live`: wall time stamped by the oracle. `replay`: the publisher's event time."""

    LIVE = "live"
    REPLAY = "replay"


@dataclass(frozen=True, slots=True)
class Limits:
    """How far from the market clock a tick may be. Replays cross real gaps, so they may leap ahead.

    What changes slowly may be older (see `kinds`).
    """

    maximum_age_ns: int = 60 * SECOND_NS
    maximum_lead_ns: int = 5 * SECOND_NS
    maximum_replay_lead_ns: int = 30 * 86_400 * SECOND_NS


class Step(msgspec.Struct):
    """What one entry did: the ticks taken, the ticks refused."""

    quotes: list[Tick] = []
    rejected: list[tuple[Tick, InvalidTick]] = []


class _Changed(NamedTuple):
    """Where the changes of each settled entry end, rows of lines, and changes."""

    ends: list[int]
    rows: list[int]
    changes: list[Change]


class Sequencer:
    def __init__(
        self,
        *,
        generation: int,
        sequence: int,
        time_ns: int,
        clock: ClockMode,
        instruments: Mapping[str, Pair],
        declared: Declared | None = None,
        memory: Memory | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.generation = generation
        self.sequence = sequence
        self.time_ns = self._closed_ns = time_ns  # the market clock, and that of the last frame
        self.clock = clock
        self.instruments = instruments
        self.declared = declared or Declared()
        self.limits = limits or Limits()
        self._board = Board(
            instruments=instruments,
            declared=self.declared,
            maximum_age_ns=self.limits.maximum_age_ns,
            memory=memory or Memory(),
        )
        # Of the entries taken since the last frame was closed: the last that served, how many did.
        self._entry = ""
        self._covers = 0
        # Frames that are closed, without their changes: sequence, time, entry, wall clock, how many entries
        # are in it, and how many unsettled ones are in it or before.
        self._closed: list[tuple[int, int, str, int, int, int]] = []
        # The ticks of the unsettled entries, where each ends (see `Board.settle`), and the time of the
        # last entry that is settled: a successor goes on from the same.
        self._whole: list[int] = []
        self._told: list[float] = []
        self._ends: list[tuple[int, int]] = []
        self._settled_ns = time_ns
        # What settled entries changed (see `Board.settle`), and what was read off surfaces, by frame.
        self._changed = _Changed([], [], [])
        self._read_off: dict[int, tuple[Change, ...]] = {}
        self._chains = chains_of(instruments)

    @property
    def sources(self) -> int:
        """In all lines."""
        return self._board.sources

    def knows(self, source: str) -> bool:
        """Whether it is declared, or was heard."""
        return self._board.knows(source)

    def declare(self, *, instruments: Mapping[str, Pair], declared: Declared | None = None) -> None:
        """What is listed and declared from now on."""
        declared = declared or self.declared
        if instruments != self.instruments or declared != self.declared:
            self.instruments, self.declared = instruments, declared
            self._board.declare(instruments, declared)
            self._chains = chains_of(instruments)

    def take(self, *, entry: str, ticks: Sequence[Tick], wall_ns: int, signature: bytes = b"") -> Step:
        """Admits or refuses an entry's ticks. Entries taken before the same `close` are told together."""
        step, seal = Step(), None
        taken, served = step.quotes, False
        lines, whole, told = self._board.lines, self._whole, self._told
        now_ns = self._now(wall_ns)
        oldest_ns, newest_ns = self._near(now_ns)
        for tick in ticks:
            line = lines[tick.kind].get(tick.instrument)
            # A tick as nearly all are is let in by one comparison; any other is looked at closely.
            if (
                line is not None
                and (place := line.places.get(tick.source)) is not None
                and place.after < tick.sequence
                and oldest_ns <= tick.time_ns <= newest_ns
                and line.above < tick.value <= line.most
                and 0.0 <= tick.confidence < inf
            ):
                place.tick, place.after = tick, tick.sequence
            else:
                try:
                    seal = seal or Seal(ticks, signature)
                    now_ns = self._admit(tick, now_ns, seal)
                except InvalidTick as refusal:
                    step.rejected.append((tick, refusal))
                    continue
                served = True
                oldest_ns, newest_ns = self._near(now_ns)
                if tick.kind is TickKind.HEARTBEAT:
                    continue
                place = self._board.hear(tick)
            whole += (place.index, tick.time_ns)
            told += (tick.value, tick.confidence)
            taken.append(tick)
        if served or taken:
            self._ends.append((len(whole) // 2, now_ns))
            self._entry = entry
            self._covers += 1
            if self.clock is ClockMode.REPLAY:
                self.time_ns = now_ns
        return step

    def close(self, *, wall_ns: int) -> None:
        """One frame of all that was taken since the last one, if that was anything."""
        if self._covers:
            self._close(self._now(wall_ns), wall_ns)

    def heartbeat(self, *, wall_ns: int) -> None:
        """A frame that carries time, and what changes with it alone (live clock)."""
        self._covers = 1
        now_ns = self._now(wall_ns)
        self._ends.append((len(self._whole) // 2, now_ns))
        self._close(now_ns, wall_ns)

    def frames(self) -> list[Frame]:
        """Those closed since this was last asked for: their entries are settled together, in order."""
        self._settle()
        ends, rows, changes = self._changed
        frames, at, entries_before = list[Frame](), 0, 0
        for sequence, time_ns, entry, wall_ns, covers, entries in self._closed:
            told: tuple[Change, ...] = ()
            if entries > entries_before:
                upto = ends[entries - 1]
                if entries == entries_before + 1:
                    told = tuple(changes[at:upto])
                else:  # merged: the last word on each line, in the order of the first
                    told = tuple(dict(zip(rows[at:upto], changes[at:upto], strict=True)).values())
                at, entries_before = upto, entries
            told += self._read_off.get(sequence, ())
            frames.append(Frame(self.generation, sequence, time_ns, entry, wall_ns, told, covers))
        self._closed, self._changed, self._read_off = [], _Changed([], [], []), {}
        return frames

    def _settle(self) -> None:
        """The entries that are not settled yet."""
        if not self._ends:
            return
        before = len(self._changed.changes)
        ends, rows, changes = self._board.settle(
            self._whole, self._told, self._ends, clock_ns=self._settled_ns
        )
        self._settled_ns = self._ends[-1][1]
        self._changed.ends.extend(before + end for end in ends)
        self._changed.rows.extend(rows)
        self._changed.changes.extend(changes)
        self._whole, self._told, self._ends = [], [], []

    def memory(self) -> Memory:
        """The whole of it: with position and clock, the state."""
        return self._board.memory()

    def news(self, quotes: list[Tick]) -> Memory:
        """The quotes of the entries since this or the memory was last asked for, and what they moved."""
        return self._board.news(quotes)

    def _near(self, now_ns: int) -> tuple[int, int]:
        """Times that need no closer look. In a replay, a tick ahead of the clock has one: it moves it."""
        lead_ns = self.limits.maximum_lead_ns if self.clock is ClockMode.LIVE else 0
        return max(1, now_ns - self.limits.maximum_age_ns), min(now_ns + lead_ns, LATEST_NS - 1)

    def _now(self, wall_ns: int) -> int:
        return max(self.time_ns, wall_ns) if self.clock is ClockMode.LIVE else self.time_ns

    def _admit(self, tick: Tick, now_ns: int, seal: Seal) -> int:
        """The market clock after this tick; raises InvalidTick when it is refused."""
        replay = self.clock is ClockMode.REPLAY
        limits = self.limits
        lead = limits.maximum_replay_lead_ns if replay else limits.maximum_lead_ns
        lines = self._board.lines
        source, heard = self._board.source(tick.source), lines[tick.kind]
        check_word(tick, source, seal, instruments=self.instruments, heard=heard)
        age_ns = maximum_age_ns(tick.kind, self.declared, limits.maximum_age_ns)
        check_time(tick, now_ns=now_ns, maximum_age_ns=age_ns, maximum_lead_ns=lead)
        if tick.kind is not TickKind.HEARTBEAT:
            line = lines[tick.kind].get(tick.instrument)
            place = line.places.get(tick.source) if line is not None else None
            if place is not None and tick.sequence <= place.tick.sequence:
                raise InvalidTick(
                    Rejection.OLD_SEQUENCE, f"sequence {tick.sequence} does not follow {place.tick.sequence}"
                )
        return max(now_ns, tick.time_ns) if replay else now_ns

    def _close(self, time_ns: int, wall_ns: int) -> None:
        self.time_ns = time_ns
        self.sequence += 1
        since_ns = self._closed_ns - self._closed_ns % SURFACE_NS
        if self._chains and time_ns - since_ns >= SURFACE_NS:
            self._settle()
            self._read_off[self.sequence] = tuple(self._surface_changes(time_ns, since_ns))
        self._closed_ns = time_ns
        entries = len(self._changed.ends) + len(self._ends)
        self._closed.append((self.sequence, time_ns, self._entry, wall_ns, self._covers, entries))
        self._entry, self._covers = "", 0

    def _surface_changes(self, now_ns: int, since_ns: int) -> Iterator[Change]:
        board = self._board
        ladder = standard_of(TickKind.IMPLIED_VOL, self.declared).ladder
        for chain in self._chains:
            forward = self._forward(chain.forward, now_ns)
            if forward is not None:
                quotes = board.estimates(TickKind.IMPLIED_VOL, chain.names)
                yield from read_off(
                    chain, quotes, forward=forward, now_ns=now_ns, since_ns=since_ns, ladder=ladder
                )

    def _forward(self, name: str, now_ns: int) -> float | None:
        """The mark or else the last price, unless it is too old or in doubt."""
        for kind in (TickKind.MARK, TickKind.PRICE):
            (price,) = self._board.estimates(kind, [name])
            age_ns = ladder_of(kind, name, self.declared).stale_for_margin_ns
            good = price["samples"] > 0 and price["quality"] <= Quality.STALE_FOR_TRADING
            if good and now_ns - price["time_ns"] <= age_ns:
                return float(price["value"])
        return None
