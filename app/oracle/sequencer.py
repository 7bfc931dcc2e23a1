"""The sequencer: entries of ticks in, frames out. A pure state machine with one writer.

Its whole state is the last quote of every source, the market clock and the frame sequence; the adapter
writes what changed together with the frame, so a killed oracle continues exactly here.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from app.domain.errors import InvalidTick
from app.domain.market import Change, Frame, Rejection, Tick, TickKind
from app.oracle.admission import check_time, check_value
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


@dataclass(slots=True)
class Step:
    """What one entry did: at most one frame, the quotes to store, the ticks refused."""

    frame: Frame | None = None
    quotes: list[Tick] = field(default_factory=list)
    rejected: list[tuple[Tick, InvalidTick]] = field(default_factory=list)


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
        self._quotes: dict[tuple[TickKind, str], dict[str, Tick]] = {}
        for quote in quotes:
            self._quotes.setdefault((quote.kind, quote.instrument), {})[quote.source] = quote

    def step(self, *, entry: str, ticks: Iterable[Tick], wall_ns: int) -> Step:
        """Takes one entry of the tick stream."""
        step = Step()
        touched: dict[tuple[TickKind, str], None] = {}
        now_ns = self._now(wall_ns)
        heartbeat = False
        for tick in ticks:
            try:
                now_ns = self._admit(tick, now_ns)
            except InvalidTick as refusal:
                step.rejected.append((tick, refusal))
                continue
            if tick.kind is TickKind.HEARTBEAT:
                heartbeat = True
                continue
            key = (tick.kind, tick.instrument)
            self._quotes.setdefault(key, {})[tick.source] = tick
            step.quotes.append(tick)
            touched[key] = None
        if touched or heartbeat:
            step.frame = self._frame(entry, now_ns, wall_ns, tuple(self._change(k, now_ns) for k in touched))
        return step

    def heartbeat(self, *, wall_ns: int) -> Frame:
        """A frame that carries time alone (live clock)."""
        return self._frame("", self._now(wall_ns), wall_ns, ())

    def _now(self, wall_ns: int) -> int:
        return max(self.time_ns, wall_ns) if self.clock is ClockMode.LIVE else self.time_ns

    def _admit(self, tick: Tick, now_ns: int) -> int:
        """The market clock after this tick; raises InvalidTick when it is refused."""
        replay = self.clock is ClockMode.REPLAY
        limits = self.limits
        lead = limits.maximum_replay_lead_ns if replay else limits.maximum_lead_ns
        check_time(tick, now_ns=now_ns, maximum_age_ns=limits.maximum_age_ns, maximum_lead_ns=lead)
        if tick.kind is not TickKind.HEARTBEAT:
            if tick.instrument not in self.instruments:
                raise InvalidTick(Rejection.UNKNOWN_INSTRUMENT, f"no instrument {tick.instrument!r}")
            check_value(tick)
            last = self._quotes.get((tick.kind, tick.instrument), {}).get(tick.source)
            if last is not None and tick.sequence <= last.sequence:
                raise InvalidTick(
                    Rejection.OLD_SEQUENCE, f"sequence {tick.sequence} does not follow {last.sequence}"
                )
        return max(now_ns, tick.time_ns) if replay else now_ns

    def _change(self, key: tuple[TickKind, str], now_ns: int) -> Change:
        kind, instrument = key
        return consensus(
            kind=kind,
            instrument=instrument,
            quotes=self._quotes[key].values(),
            now_ns=now_ns,
            maximum_age_ns=self.limits.maximum_age_ns,
        )

    def _frame(self, entry: str, time_ns: int, wall_ns: int, changes: tuple[Change, ...]) -> Frame:
        self.time_ns = time_ns
        self.sequence += 1
        return Frame(
            generation=self.generation,
            sequence=self.sequence,
            time_ns=time_ns,
            entry=entry,
            stamp_ns=wall_ns,
            changes=changes,
        )
