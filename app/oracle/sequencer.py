"""The sequencer: entries of ticks in, frames out. A pure state machine with one writer.

Its whole state is the memory of its board, the market clock and the frame sequence; the adapter writes it
together with the frames, so a killed oracle continues exactly here.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import inf

import msgspec
import numpy as np

from app.domain.errors import InvalidTick
from app.domain.market import Change, PackedFrame, Quality, Rejection, Tick, TickKind
from app.oracle.admission import LATEST_NS, check_time, check_word
from app.oracle.board import Board
from app.oracle.declared import SECOND_NS, Declared, Pair
from app.oracle.kinds import admitted_age_ns, standard_of
from app.oracle.memory import Memory
from app.oracle.packing import array_of
from app.oracle.records import NEVER
from app.oracle.settled import Settled
from app.oracle.signatures import Seal
from app.oracle.surfaces import SURFACE_NS, chains_of, read_off
from app.quant.arrays import FloatArray, IntArray

_pack = msgspec.msgpack.Encoder().encode


_NO_WHOLE, _NO_TOLD = np.empty((0, 2), dtype=np.int64), np.empty((0, 2))


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
    """What one entry did: the ticks taken, the ticks refused, and how many heartbeats are remembered."""

    quotes: list[Tick] = []
    rejected: list[tuple[Tick, InvalidTick]] = []
    heartbeats: int = 0


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
        # Of the entries taken since the last frame was closed: the last that served, how many did.
        self._entry = ""
        self._covers = 0
        # Entries since frames were last asked for, and the frames that are closed, without their changes:
        # sequence, time, entry, wall clock, how many entries are in it, and how many in it or before.
        self._entries = 0
        self._closed: list[tuple[int, int, str, int, int, int]] = []
        # The ticks of the unsettled entries, those taken one by one last and apart, where each ends (see
        # `Board.settle`), and the time of the last entry that is settled: a successor goes on from the same.
        self._ticks: list[tuple[IntArray, FloatArray]] = []
        self._whole: list[int] = []
        self._told: list[float] = []
        self._taken = 0
        self._ends: list[tuple[int, int]] = []
        self._settled_ns = time_ns
        # What settled entries changed, and what was read off surfaces, by frame; and the last word on each
        # line since somebody asked.
        self._settled: list[Settled] = []
        self._read_off: dict[int, list[Change]] = {}
        self._consensus: dict[tuple[TickKind, str], bytes] = {}
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
        lines, after, whole, told = self._board.lines, self._board.after, self._whole, self._told
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
                    step.heartbeats += self._board.beat(tick.source, tick.time_ns)
                    continue
                place = self._board.hear(tick)
                after = self._board.after
            whole += (place, tick.time_ns)
            told += (tick.value, tick.confidence)
            taken.append(tick)
        if served or taken:
            self._serve(entry, len(taken), now_ns)
        return step

    def take_packed(self, *, entry: str, packed: bytes, wall_ns: int) -> int | None:
        """How many ticks an entry had; None, and nothing is done, if it is to be looked at tick by tick."""
        now_ns = self._now(wall_ns)
        oldest_ns, newest_ns = self._near(now_ns)
        ticks = self._board.read(packed, oldest_ns=oldest_ns, newest_ns=newest_ns)
        if ticks is None:
            return None
        count = int(ticks[0].shape[0])
        if count:
            self._gather()
            self._ticks.append(ticks)
            self._serve(entry, count, now_ns)
        return count

    def _serve(self, entry: str, ticks: int, now_ns: int) -> None:
        self._taken += ticks
        self._ends.append((self._taken, now_ns))
        self._entries += 1
        self._entry = entry
        self._covers += 1
        if not self.is_live:
            self.time_ns = now_ns

    def _gather(self) -> None:
        """What was taken one by one joins what was taken packed."""
        if self._whole:
            whole, told = np.array(self._whole, dtype=np.int64), np.array(self._told)
            self._ticks.append((whole.reshape(-1, 2), told.reshape(-1, 2)))
            self._whole, self._told = [], []

    def close(self, *, wall_ns: int) -> None:
        """One frame of all that was taken since the last one, if that was anything."""
        if self._covers:
            self._close(self._now(wall_ns), wall_ns)

    def heartbeat(self, *, wall_ns: int) -> None:
        """A frame that carries time, and what changes with it alone (live clock)."""
        self._covers = 1
        now_ns = self._now(wall_ns)
        self._ends.append((self._taken, now_ns))
        self._entries += 1
        self._close(now_ns, wall_ns)

    def frames(self) -> list[PackedFrame]:
        """Those closed since this was last asked for: their entries are settled together, in order."""
        self._settle()
        settled = Settled.joined(self._settled)
        ends, frames, at, entries_before = settled.ends.tolist(), list[PackedFrame](), 0, 0
        for sequence, time_ns, entry, wall_ns, covers, entries in self._closed:
            count, packed = 0, b""
            if entries > entries_before:
                count, packed = settled.between(at, ends[entries - 1], merged=entries > entries_before + 1)
                at, entries_before = ends[entries - 1], entries
            if told := self._read_off.get(sequence):
                count, packed = count + len(told), packed + b"".join(map(_pack, told))
            changes = array_of(count, packed)
            frames.append(PackedFrame(self.generation, sequence, time_ns, entry, wall_ns, changes, covers))
        self._closed, self._settled, self._read_off, self._entries = [], [], {}, 0
        return frames

    def consensus(self) -> dict[tuple[TickKind, str], bytes]:
        """The last change of each line in the frames since this was last asked for, as msgpack."""
        told, self._consensus = self._consensus, {}
        return told

    def _settle(self) -> None:
        """The entries that are not settled yet."""
        if not self._ends:
            return
        self._gather()
        whole, told = self._ticks[0] if len(self._ticks) == 1 else _joined(self._ticks)
        settled = self._board.settle(whole, told, self._ends, clock_ns=self._settled_ns)
        self._settled.append(settled)
        self._consensus |= {self._board.name(row): packed for row, packed in settled.last().items()}
        self._settled_ns = self._ends[-1][1]
        self._ticks, self._ends, self._taken = [], [], 0

    def memory(self) -> Memory:
        """The whole of it: with position and clock, the state."""
        return self._board.memory()

    def news(self) -> Memory:
        """What was settled since this or the memory was last asked for."""
        return self._board.news()

    def _near(self, now_ns: int) -> tuple[int, int]:
        """Times that need no closer look. In a replay, a tick ahead of the clock has one: it moves it."""
        lead_ns = self.limits.maximum_lead_ns if self.is_live else 0
        return max(1, now_ns - self.limits.maximum_age_ns), min(now_ns + lead_ns, LATEST_NS - 1)

    def _now(self, wall_ns: int) -> int:
        return wall_ns if self.is_live and wall_ns > self.time_ns else self.time_ns

    def _admit(self, tick: Tick, now_ns: int, seal: Seal) -> int:
        """The market clock after this tick; raises InvalidTick when it is refused."""
        limits = self.limits
        lead = limits.maximum_lead_ns if self.is_live else limits.maximum_replay_lead_ns
        lines = self._board.lines
        source, heard = self._board.source(tick.source), lines[tick.kind]
        check_word(tick, self.declared, seal, instruments=self.instruments, heard=heard)
        age_ns = admitted_age_ns(tick.kind, source, self.declared, limits.maximum_age_ns)
        check_time(tick, now_ns=now_ns, maximum_age_ns=age_ns, maximum_lead_ns=lead)
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
        since_ns = self._closed_ns - self._closed_ns % SURFACE_NS
        if self._chains and time_ns - since_ns >= SURFACE_NS:
            self._settle()
            told = self._read_off[self.sequence] = list(self._surface_changes(time_ns, since_ns))
            self._consensus |= {(change.kind, change.instrument): _pack(change) for change in told}
        self._closed_ns = time_ns
        self._closed.append((self.sequence, time_ns, self._entry, wall_ns, self._covers, self._entries))
        self._entry, self._covers = "", 0

    def _surface_changes(self, now_ns: int, since_ns: int) -> Iterator[Change]:
        board = self._board
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


def _joined(ticks: Sequence[tuple[IntArray, FloatArray]]) -> tuple[IntArray, FloatArray]:
    whole = np.concatenate([_NO_WHOLE, *(whole for whole, _ in ticks)])
    return whole, np.concatenate([_NO_TOLD, *(told for _, told in ticks)])
