"""The sequencer: entries of ticks in, frames out. A pure state machine with one writer.

Its whole state is the last quote of every source, the market clock and the frame sequence; the adapter
writes it together with the frames, so a killed oracle continues exactly here.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from math import inf

import msgspec

from app.domain.errors import InvalidTick
from app.domain.market import Change, Frame, Rejection, Tick, TickKind
from app.oracle.admission import BOUNDS, LATEST_NS, check_name, check_time, check_value
from app.oracle.consensus import DEFAULT_MAXIMUM_AGE_NS, consensus


class ClockMode(StrEnum):
    """`live`: wall time stamped by the oracle. `replay`: the publisher's event time."""

    LIVE = "live"
    REPLAY = "replay"


@dataclass(frozen=True, slots=True)
class Limits:
    """How far from the market clock a tick may be. Replays cross real gaps, so they may leap ahead."""

    maximum_age_ns: int = DEFAULT_MAXIMUM_AGE_NS
    maximum_lead_ns: int = 5 * 1_000_000_000
    maximum_replay_lead_ns: int = 30 * 86_400 * 1_000_000_000


class Step(msgspec.Struct):
    """What one entry did: the ticks taken, the ticks refused."""

    quotes: list[Tick] = []
    rejected: list[tuple[Tick, InvalidTick]] = []


class _Line:
    """What every source last said of one kind of one instrument, and what may be said of it at all."""

    __slots__ = ("above", "instrument", "kind", "most", "quotes")

    def __init__(self, kind: TickKind, instrument: str) -> None:
        self.kind = kind
        self.instrument = instrument
        self.quotes: dict[str, Tick] = {}
        self.above, self.most = BOUNDS[kind]


class Sequencer:
    def __init__(
        self,
        *,
        generation: int,
        sequence: int,
        time_ns: int,
        clock: ClockMode,
        instruments: frozenset[str],
        quotes: Iterable[Tick] = (),
        limits: Limits | None = None,
    ) -> None:
        self.generation = generation
        self.sequence = sequence
        self.time_ns = time_ns
        self.clock = clock
        self.instruments = instruments
        self.limits = limits or Limits()
        self.sources = 0
        self._lines: dict[TickKind, dict[str, _Line]] = {kind: {} for kind in TickKind}
        for quote in quotes:
            self._hear(self._line(quote), quote)
        # Of the entries taken since the last frame: the lines that moved, the last that served, how many did.
        self._touched: dict[_Line, None] = {}
        self._entry = ""
        self._covers = 0

    def take(self, *, entry: str, ticks: Iterable[Tick], wall_ns: int) -> Step:
        """Admits or refuses an entry's ticks. Entries taken before the same `close` are merged by it."""
        step = Step()
        taken, touched, served = step.quotes, self._touched, False
        lines, instruments = self._lines, self.instruments
        now_ns = self._now(wall_ns)
        oldest_ns, newest_ns = self._near(now_ns)
        for tick in ticks:
            line = lines[tick.kind].get(tick.instrument)
            # A tick as nearly all are is let in by one comparison; any other is looked at closely.
            if (
                line is not None
                and (last := line.quotes.get(tick.source)) is not None
                and last.sequence < tick.sequence
                and oldest_ns <= tick.time_ns <= newest_ns
                and line.above < tick.value <= line.most
                and 0.0 <= tick.confidence < inf
                and tick.instrument in instruments
            ):
                line.quotes[tick.source] = tick
            else:
                try:
                    now_ns = self._admit(tick, now_ns)
                except InvalidTick as refusal:
                    step.rejected.append((tick, refusal))
                    continue
                served = True
                oldest_ns, newest_ns = self._near(now_ns)
                if tick.kind is TickKind.HEARTBEAT:
                    continue
                line = self._line(tick)
                self._hear(line, tick)
            touched[line] = None
            taken.append(tick)
        if served or taken:
            self._entry = entry
            self._covers += 1
            if self.clock is ClockMode.REPLAY:
                self.time_ns = now_ns
        return step

    def close(self, *, wall_ns: int) -> Frame | None:
        """One frame of all that was taken since the last one, if that was anything."""
        if not self._covers:
            return None
        now_ns = self._now(wall_ns)
        maximum_age_ns = self.limits.maximum_age_ns
        changes = [
            consensus(
                line.kind,
                line.instrument,
                line.quotes.values(),
                now_ns=now_ns,
                maximum_age_ns=maximum_age_ns,
            )
            for line in self._touched
        ]
        self._touched.clear()
        return self._frame(now_ns, wall_ns, tuple(changes))

    def heartbeat(self, *, wall_ns: int) -> Frame:
        """A frame that carries time alone (live clock)."""
        self._covers = 1
        return self._frame(self._now(wall_ns), wall_ns, ())

    def quotes(self) -> list[Tick]:
        """Every source's last one: with position and clock, the whole state."""
        return [
            quote
            for lines in self._lines.values()
            for line in lines.values()
            for quote in line.quotes.values()
        ]

    def _line(self, tick: Tick) -> _Line:
        lines = self._lines[tick.kind]
        if (line := lines.get(tick.instrument)) is None:
            line = lines[tick.instrument] = _Line(tick.kind, tick.instrument)
        return line

    def _hear(self, line: _Line, tick: Tick) -> None:
        self.sources += tick.source not in line.quotes
        line.quotes[tick.source] = tick

    def _near(self, now_ns: int) -> tuple[int, int]:
        """Times that need no closer look. In a replay, a tick ahead of the clock has one: it moves it."""
        lead_ns = self.limits.maximum_lead_ns if self.clock is ClockMode.LIVE else 0
        return max(1, now_ns - self.limits.maximum_age_ns), min(now_ns + lead_ns, LATEST_NS - 1)

    def _now(self, wall_ns: int) -> int:
        return max(self.time_ns, wall_ns) if self.clock is ClockMode.LIVE else self.time_ns

    def _admit(self, tick: Tick, now_ns: int) -> int:
        """The market clock after this tick; raises InvalidTick when it is refused."""
        replay = self.clock is ClockMode.REPLAY
        limits = self.limits
        lead = limits.maximum_replay_lead_ns if replay else limits.maximum_lead_ns
        check_time(tick, now_ns=now_ns, maximum_age_ns=limits.maximum_age_ns, maximum_lead_ns=lead)
        if tick.kind is not TickKind.HEARTBEAT:
            check_name(tick, instruments=self.instruments, indices=self._lines[TickKind.STRESS])
            check_value(tick)
            line = self._lines[tick.kind].get(tick.instrument)
            last = line.quotes.get(tick.source) if line is not None else None
            if last is not None and tick.sequence <= last.sequence:
                raise InvalidTick(
                    Rejection.OLD_SEQUENCE, f"sequence {tick.sequence} does not follow {last.sequence}"
                )
        return max(now_ns, tick.time_ns) if replay else now_ns

    def _frame(self, time_ns: int, wall_ns: int, changes: tuple[Change, ...]) -> Frame:
        entry, covers = self._entry, self._covers
        self._entry, self._covers = "", 0
        self.time_ns = time_ns
        self.sequence += 1
        return Frame(self.generation, self.sequence, time_ns, entry, wall_ns, changes, covers)
