"""The sequencer: entries of ticks in, frames out. A pure state machine with one writer.

Its whole state is the memory of its board, the market clock and the frame sequence; the adapter writes it
together with the frames, so a killed oracle continues exactly here.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import inf

import msgspec

from app.domain.errors import InvalidTick
from app.domain.market import (
    LENGTH_BYTES,
    Change,
    PackedFrames,
    Quality,
    Rejection,
    StreamPosition,
    Tick,
    TickKind,
    line_name,
)
from app.oracle.admission import LATEST_NS, check_time, check_word
from app.oracle.board import Board
from app.oracle.declared import SECOND_NS, Declared, Pair
from app.oracle.entries import Entries, Taken, Window
from app.oracle.framing import Closed
from app.oracle.kinds import admitted_age_ns, standard_of
from app.oracle.memory import Memory
from app.oracle.records import NEVER
from app.oracle.settled import Settled
from app.oracle.signatures import Seal
from app.oracle.surfaces import SURFACE_NS, chains_of, read_off

_pack = msgspec.msgpack.Encoder().encode


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
    """What one entry did: the ticks taken, and the ticks refused."""

    quotes: list[Tick] = []
    rejected: list[tuple[Tick, InvalidTick]] = []


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
        self.is_live = clock is ClockMode.LIVE
        self.instruments = instruments
        self.declared = declared or Declared()
        self.limits = limits or Limits()
        self._board = Board(
            instruments=instruments,
            declared=self.declared,
            maximum_age_ns=self.limits.maximum_age_ns,
            memory=memory or Memory(),
        )
        self.taken = 0  # ticks, and heartbeats that are remembered
        # Of the entries taken since the last frame was closed: the last that served, how many did.
        self._entry = ""
        self._covers = 0
        self._closed = Closed()
        # What is not settled yet, and the time of the last entry that is: a successor goes on from the same.
        self._taken = Taken()
        self._settled_ns = time_ns
        # Where frames were last asked for, and what entries settled since changed; how many of these changes
        # are among the last words on lines, which are kept until somebody asks.
        self._told = sequence
        self._settled = Settled()
        self._noted = 0
        self._last_words: list[bytes] = []
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
            self._settle()
            self.instruments, self.declared = instruments, declared
            self._board.declare(instruments, declared)
            self._chains = chains_of(instruments)

    def take(self, *, entry: str, ticks: Sequence[Tick], wall_ns: int, signature: bytes = b"") -> Step:
        """Admits or refuses an entry's ticks. Entries taken before the same `close` are told together."""
        step, seal = Step(), None
        taken, served = step.quotes, False
        lines, after = self._board.lines, self._board.after
        whole: list[tuple[int, int]] = []
        told: list[tuple[float, float]] = []
        now_ns = self._now(wall_ns)
        oldest_ns, newest_ns = self._near(now_ns)
        for tick in ticks:
            line = lines[tick.kind].get(tick.instrument)
            # A tick as nearly all are is let in by one comparison; any other is looked at closely.
            if (
                line is not None
                and (place := line.places.get(tick.source)) is not None
                and after[place] < tick.sequence < NEVER
                and oldest_ns <= tick.time_ns <= newest_ns
                and line.above < tick.value <= line.most
                and 0.0 <= tick.confidence < inf
            ):
                after[place] = tick.sequence
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
                    self.taken += self._board.beat(tick.source, tick.time_ns)
                    continue
                place = self._board.hear(tick)
                after = self._board.after
            whole.append((place, tick.time_ns))
            told.append((tick.value, tick.confidence))
            taken.append(tick)
        self.taken += len(taken)
        if served or taken:
            self._taken.add(whole, told, now_ns)
            self._entry = entry
            self._covers += 1
            if not self.is_live:
                self.time_ns = now_ns
        return step

    def take_packed(
        self, entries: Entries, start: int, end: int, *, wall_ns: int, together: bool = False
    ) -> int:
        """Entries from `start` on, before the first that is to be looked at tick by tick, which is returned.

        Each is a frame, unless they are taken `together` for the next `close`.
        """
        if not together:
            self.close(wall_ns=wall_ns)
        taken = self._taken
        while start < end:
            window = Window(
                self._now(wall_ns),
                self.limits.maximum_age_ns,
                self._lead_ns,
                not self.is_live,
                LATEST_NS if together else self._due_ns,
            )
            before, count = taken.ticks, self._board.read(entries, start, end, window, taken)
            if not count:
                break
            self.taken += taken.ticks - before
            start += count
            if not self.is_live:
                self.time_ns = taken.time_ns
            if together:
                self._entry = entries.id(start - 1)
                self._covers += count
            else:
                self._close_each(entries, start - count, start, wall_ns)
        return start

    def _close_each(self, entries: Entries, start: int, end: int, wall_ns: int) -> None:
        """Those that were just taken, a frame each; surfaces are read off with the last one, if any are."""
        last_ns = self._taken.time_ns
        is_due = last_ns >= self._due_ns
        if end - is_due > start:
            self._closed.add_each(entries, start, end - is_due, wall_ns)
            self.sequence += end - is_due - start
        if is_due:
            self._entry, self._covers = entries.id(end - 1), 1
            self._close(last_ns, wall_ns)
        self.time_ns = self._closed_ns = last_ns

    def close(self, *, wall_ns: int) -> None:
        """One frame of all that was taken since the last one, if that was anything."""
        if self._covers:
            self._close(self._now(wall_ns), wall_ns)

    def heartbeat(self, *, wall_ns: int) -> None:
        """A frame that carries time, and what changes with it alone (live clock)."""
        now_ns = self._now(wall_ns)
        self._taken.add((), (), now_ns)
        self._covers += 1
        self._close(now_ns, wall_ns)

    def frames(self) -> PackedFrames:
        """Those closed since this was last asked for: their entries are settled together, in order."""
        self._settle()
        before, self._told = StreamPosition(self.generation, self._told), self.sequence
        frames = self._closed.frames(before, self._settled)
        self._note()
        self._settled.clear()
        self._noted = 0
        return frames

    def consensus(self) -> bytes:
        """The last words on lines in the frames since this was last asked for: name and change, packed, each
        behind its length. Of two on the same line the later one counts.
        """
        words, self._last_words = self._last_words, []
        return b"".join(words)

    def _note(self) -> None:
        """The last words on lines up to here."""
        if self._settled.changes > self._noted:
            self._last_words.append(self._board.last_words(self._settled, self._noted))
            self._noted = self._settled.changes

    def _settle(self) -> None:
        """The entries that are not settled yet."""
        if self._taken.entries:
            self._board.settle(self._taken, self._settled, clock_ns=self._settled_ns)
            self._settled_ns = self._taken.time_ns
            self._taken.clear()

    def memory(self) -> Memory:
        """The whole of it: with position and clock, the state."""
        return self._board.memory()

    def news(self) -> Memory:
        """What was settled since this or the memory was last asked for."""
        return self._board.news()

    def _near(self, now_ns: int) -> tuple[int, int]:
        """Times that need no closer look. In a replay, a tick ahead of the clock has one: it moves it."""
        lead_ns = self._lead_ns if self.is_live else 0
        return max(1, now_ns - self.limits.maximum_age_ns), min(now_ns + lead_ns, LATEST_NS - 1)

    @property
    def _lead_ns(self) -> int:
        return self.limits.maximum_lead_ns if self.is_live else self.limits.maximum_replay_lead_ns

    @property
    def _due_ns(self) -> int:
        """When surfaces are next read off."""
        return self._closed_ns - self._closed_ns % SURFACE_NS + SURFACE_NS if self._chains else LATEST_NS

    def _now(self, wall_ns: int) -> int:
        return wall_ns if self.is_live and wall_ns > self.time_ns else self.time_ns

    def _admit(self, tick: Tick, now_ns: int, seal: Seal) -> int:
        """The market clock after this tick; raises InvalidTick when it is refused."""
        lines = self._board.lines
        source, heard = self._board.source(tick.source), lines[tick.kind]
        check_word(tick, self.declared, seal, instruments=self.instruments, heard=heard)
        age_ns = admitted_age_ns(tick.kind, source, self.declared, self.limits.maximum_age_ns)
        check_time(tick, now_ns=now_ns, maximum_age_ns=age_ns, maximum_lead_ns=self._lead_ns)
        if tick.kind is not TickKind.HEARTBEAT:
            line = lines[tick.kind].get(tick.instrument)
            place = line.places.get(tick.source) if line is not None else None
            last = self._board.last_sequence(place) if place is not None else None
            if last is not None and tick.sequence <= last:
                raise InvalidTick(Rejection.OLD_SEQUENCE, f"sequence {tick.sequence} does not follow {last}")
            if not self._board.has_room_for(tick.source):
                raise InvalidTick(Rejection.UNDECLARED, "too many sources are heard that nobody declared")
        return now_ns if self.is_live else max(now_ns, tick.time_ns)

    def _close(self, time_ns: int, wall_ns: int) -> None:
        self.time_ns = time_ns
        self.sequence += 1
        told: list[Change] = []
        if time_ns >= self._due_ns:
            self._settle()
            told = list(self._surface_changes(time_ns))
            self._note()
            self._last_words += [word for change in told for word in _named(change)]
        self._closed_ns = time_ns
        self._closed.add(time_ns=time_ns, wall_ns=wall_ns, covers=self._covers, entry=self._entry, told=told)
        self._entry, self._covers = "", 0

    def _surface_changes(self, now_ns: int) -> Iterator[Change]:
        board, since_ns = self._board, self._due_ns - SURFACE_NS
        ladder = standard_of(TickKind.IMPLIED_VOL, self.declared).ladder
        for chain in self._chains:
            forward = self._forward(chain.forward)
            if forward is not None:
                quotes = board.estimates(TickKind.IMPLIED_VOL, chain.names)
                yield from read_off(
                    chain, quotes, forward=forward, now_ns=now_ns, since_ns=since_ns, ladder=ladder
                )

    def _forward(self, name: str) -> float | None:
        """The mark or else the last price, unless it is stale for margin or in doubt.

        By its quality, which has fallen with the time up to this frame.
        """
        for kind in (TickKind.MARK, TickKind.PRICE):
            (price,) = self._board.estimates(kind, [name])
            if price["samples"] > 0 and price["quality"] <= Quality.STALE_FOR_TRADING:
                return float(price["value"])
        return None


def _named(change: Change) -> Iterator[bytes]:
    for word in (line_name(change.kind, change.instrument).encode(), _pack(change)):
        yield len(word).to_bytes(LENGTH_BYTES, "big") + word
