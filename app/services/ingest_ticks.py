"""The oracle's work: ticks in, one ordered sequence of frames out.

One writer at a time holds the market's lease. Frames, the tick cursor, what is behind the consensus and the
epoch are written in one step, so being killed anywhere only means that the next writer goes on.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import msgspec
import structlog

from app.domain.errors import Fenced, InvalidTick, StreamReset
from app.domain.market import UNLISTED, PackedFrame, StreamPosition, Tick, TickKind
from app.oracle.memory import Memory
from app.oracle.overload import Overload
from app.oracle.sequencer import ClockMode, Limits, Sequencer
from app.oracle.unpacking import stated_count
from app.ports.clock import WallClock
from app.ports.leases import OracleGrant, OracleLease
from app.ports.market import MarketLog, OracleState, RejectedTick, TickEntry, TickLog, UnderWay
from app.ports.sources import Listings
from app.services.pacing import pause

HEARTBEAT_NS = 1_000_000_000
HOUSEKEEPING_SECONDS = 2.0
READ_COUNT = 1_000
READ_TICKS = 8_000
LISTENING_SECONDS = 0.1
MERGING_SECONDS = 0.05
MAXIMUM_PAYLOAD = 512
_PATIENCE_MS = 1_000
_OF_NO_INSTRUMENT = frozenset({TickKind.HEARTBEAT, *UNLISTED})

_encoder = msgspec.json.Encoder()


class IngestTicks:
    def __init__(
        self,
        *,
        ticks: TickLog,
        market: MarketLog,
        lease: OracleLease,
        listings: Listings,
        clock: WallClock,
        limits: Limits | None = None,
    ) -> None:
        self.ticks = ticks
        self.market = market
        self.lease = lease
        self.listings = listings
        self.clock = clock
        self.limits = limits
        self._log = structlog.get_logger("oracle")

    async def run(self, stop: asyncio.Event) -> None:
        """Holds the lease when it can and writes while it holds it, until told to stop."""
        while not stop.is_set():
            grant = await self.lease.acquire()
            if grant is None:
                await pause(stop, HOUSEKEEPING_SECONDS)
                continue
            try:
                await self._write(grant, stop)
            except* Fenced as fenced:
                self._log.warning("fenced", reason=str(fenced.exceptions[0]))
            except* StreamReset as reset:
                self._log.warning("market_reset", reason=str(reset.exceptions[0]))
            else:
                await self.lease.release(grant)

    async def _write(self, grant: OracleGrant, stop: asyncio.Event) -> None:
        grant, state = await self._open(grant)
        listed = await self.listings.read()
        sequencer = Sequencer(
            generation=state.position.generation,
            sequence=state.position.sequence,
            time_ns=state.time_ns,
            clock=ClockMode(grant.clock),
            instruments=listed.instruments,
            declared=listed.declared,
            memory=state.memory,
            limits=self.limits,
        )
        self._log.info("writing", position=state.position.entry_id, epoch=grant.epoch, clock=grant.clock)
        writer = _Writer(self, sequencer, state, grant)
        async with asyncio.TaskGroup() as tasks:
            beside = [tasks.create_task(self._keep_house(writer)), tasks.create_task(self._listen(writer))]
            try:
                await writer.run(stop)
            finally:
                writer.over = True  # a cancellation that a client swallows keeps nobody alive
                for task in beside:
                    task.cancel()

    async def _open(self, grant: OracleGrant) -> tuple[OracleGrant, OracleState]:
        at_least = max(StreamPosition(grant.generation, 0), grant.checkpoint)
        state = await self.market.open(epoch=grant.epoch, at_least=at_least)
        if state is None:
            grant = await self.lease.next_generation(grant, reason="the market stream was empty or behind")
            state = await self.market.start_generation(epoch=grant.epoch, generation=grant.generation)
            self._log.warning("new_generation", generation=grant.generation)
        return grant, state

    async def _keep_house(self, writer: "_Writer") -> None:
        """Renews the lease, learns what is listed and declared, trims what everybody has handled."""
        while not writer.over:
            await asyncio.sleep(HOUSEKEEPING_SECONDS)
            renewed = await self.lease.renew(writer.grant)
            if renewed.generation > writer.grant.generation:
                raise StreamReset("a reader found the stream behind its checkpoint")
            await self.declare(writer.sequencer)
            await self.ticks.trim(writer.cursor)
            await self.market.trim(await self.lease.oldest_snapshot())

    async def declare(self, sequencer: Sequencer) -> None:
        """What is listed and declared holds from the next entry on."""
        listed = await self.listings.read()
        sequencer.declare(instruments=listed.instruments, declared=listed.declared)

    async def _listen(self, writer: "_Writer") -> None:
        """Hears how far the shards have come, and has entries merged while one of them is late."""
        overload = writer.overload
        while writer.live and not writer.over:
            await asyncio.sleep(LISTENING_SECONDS)
            merged_before = overload.merging
            late_ns = overload.heard(await self.market.progress(), wall_ns=self.clock.now_ns())
            if overload.merging != merged_before:
                event = "merging_begins" if overload.merging else "merging_ends"
                self._log.warning(event, late_ms=late_ns // 1_000_000)


@dataclass(frozen=True, slots=True)
class _Batch:
    """What one read came to, to be written in one step."""

    previous: StreamPosition
    cursor: str
    frames: Sequence[PackedFrame]
    consensus: Mapping[tuple[TickKind, str], bytes]
    memory: Memory
    whole: bool = False
    rejected: Sequence[RejectedTick] = ()


class _Writer:
    """The hot loop and its state.

    While there is more to read, the next read is under way during the work on the one before, and so is the
    write of what came before that.
    """

    def __init__(
        self, service: IngestTicks, sequencer: Sequencer, state: OracleState, grant: OracleGrant
    ) -> None:
        self.sequencer = sequencer
        self.cursor = state.cursor  # of what is written
        self.grant = grant
        self.overload = Overload()
        self.live = sequencer.is_live
        self.over = False
        self._service = service
        self._instruments_seen_ns = 0
        self._count = READ_COUNT
        self._reading: UnderWay[Sequence[TickEntry]]
        self._writing: UnderWay[None] | None = None
        self._cursor = state.cursor  # of what is being written
        # Since the snapshot; what a predecessor left is replaced at once.
        self._logged = len(state.memory.quotes)

    async def run(self, stop: asyncio.Event) -> None:
        self._reading = self._read(self.cursor)
        try:
            await self._go_on(stop)
            await self._written()
        finally:
            self._reading.cancel()
            if self._writing is not None:
                self._writing.cancel()

    async def _go_on(self, stop: asyncio.Event) -> None:
        cursor = self.cursor
        while not stop.is_set():
            entries = await self._reading
            if more := len(entries) >= self._count:
                self._resize(entries)
                self._reading = self._read(entries[-1].id)
            for i, part in enumerate(parts(entries)):
                if i:
                    await asyncio.sleep(0)  # what is written is sent before the work goes on
                cursor = part[-1].id if part else cursor
                batch = await self._frames_of(part, cursor)
                await self._written()
                if batch is not None:
                    await self._write(batch)
            if not more:
                if self._merging:
                    await asyncio.sleep(MERGING_SECONDS)
                self._reading = self._read(cursor)

    @property
    def _merging(self) -> bool:
        return self.live and self.overload.merging

    def _read(self, after: str) -> UnderWay[Sequence[TickEntry]]:
        return self._service.ticks.read(after, count=self._count, block_ms=self._patience_ms())

    async def _frames_of(self, entries: Sequence[TickEntry], cursor: str) -> _Batch | None:
        service, sequencer = self._service, self.sequencer
        previous = StreamPosition(sequencer.generation, sequencer.sequence)
        if not entries:
            if not self.live or self._patience_ms() > 1:
                return None
            sequencer.heartbeat(wall_ns=service.clock.now_ns())
            frames = sequencer.frames()
            return _Batch(previous, cursor, frames, sequencer.consensus(), sequencer.news())
        await self._learn_instruments(entries)
        rejected: list[RejectedTick] = []
        for run in runs(entries, merging=self._merging):
            wall_ns = service.clock.now_ns()
            for entry in run:
                if entry.packed is None or not self._take_packed(entry.id, entry.packed, wall_ns):
                    rejected += await self._take(entry, wall_ns)
            sequencer.close(wall_ns=wall_ns)
        frames = sequencer.frames()
        if whole := self._logged >= sequencer.sources:  # a snapshot is no longer than the log that it ends
            self._logged = 0
        memory = sequencer.memory() if whole else sequencer.news()
        return _Batch(previous, cursor, frames, sequencer.consensus(), memory, whole, rejected)

    def _take_packed(self, entry: str, packed: bytes, wall_ns: int) -> bool:
        """Whether its ticks were as nearly all are; if not, nothing is done."""
        taken = self.sequencer.take_packed(entry=entry, packed=packed, wall_ns=wall_ns)
        self._logged += taken or 0
        return taken is not None

    async def _take(self, entry: TickEntry, wall_ns: int) -> list[RejectedTick]:
        """What of it is refused."""
        if entry.packed is not None:
            entry = self._service.ticks.unpacked(entry)
            await self._learn_instruments([entry])
        step = self.sequencer.take(
            entry=entry.id, ticks=entry.ticks, wall_ns=wall_ns, signature=entry.signature
        )
        self._logged += len(step.quotes) + step.heartbeats
        if not step.rejected:
            return entry.rejected
        return [*entry.rejected, *(self._refused(entry.id, tick, refusal) for tick, refusal in step.rejected)]

    def _refused(self, entry: str, tick: Tick, refusal: InvalidTick) -> RejectedTick:
        """Counted by source only where that is known: anybody may think up a name."""
        source = tick.source if self.sequencer.knows(tick.source) else ""
        payload = _encoder.encode(tick)[:MAXIMUM_PAYLOAD]
        return RejectedTick(entry, refusal.reason, str(refusal), payload, source)

    async def _write(self, batch: _Batch) -> None:
        """It is under way then: the next read is worth more than to wait for it."""
        if batch.rejected:
            await self._service.ticks.reject(batch.rejected)
        self._writing = self._service.market.append(
            epoch=self.grant.epoch,
            previous=batch.previous,
            cursor=batch.cursor,
            frames=batch.frames,
            consensus=batch.consensus,
            memory=batch.memory,
            whole=batch.whole,
        )
        self._cursor = batch.cursor
        if batch.frames:
            newest = batch.frames[-1]
            self.overload.wrote(newest.position, wall_ns=newest.stamp_ns)

    async def _written(self) -> None:
        """What is under way arrived; or why it did not."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            await writing
            self.cursor = self._cursor

    def _resize(self, entries: Sequence[TickEntry]) -> None:
        """The next read's: few enough ticks that evaluators have the first of them early."""
        ticks = sum(map(_stated, entries))
        self._count = max(1, min(READ_COUNT, READ_TICKS * len(entries) // max(1, ticks)))

    def _patience_ms(self) -> int:
        """How long to wait for ticks: until the next heartbeat is due, on a live clock.

        A wall clock that was set back is behind the market's, which waits for it: that may take long.
        """
        if not self.live:
            return _PATIENCE_MS
        due = self.sequencer.time_ns + HEARTBEAT_NS - self._service.clock.now_ns()
        return min(max(1, due // 1_000_000), _PATIENCE_MS)

    async def _learn_instruments(self, entries: Sequence[TickEntry]) -> None:
        """Looks again, at most once a second, when a tick names an instrument nobody knows."""
        named = {
            tick.instrument for entry in entries for tick in entry.ticks if tick.kind not in _OF_NO_INSTRUMENT
        }
        if named <= self.sequencer.instruments.keys():
            return
        now_ns = self._service.clock.now_ns()
        if now_ns - self._instruments_seen_ns > HEARTBEAT_NS:
            self._instruments_seen_ns = now_ns
            await self._service.declare(self.sequencer)


def parts(entries: Sequence[TickEntry]) -> list[Sequence[TickEntry]]:
    """What is worked on and written in one step: of large entries a read may have many times as much."""
    found: list[Sequence[TickEntry]] = []
    start, ticks = 0, 0
    for i, entry in enumerate(entries):
        count = _stated(entry)
        if i > start and ticks + count > READ_TICKS:
            found.append(entries[start:i])
            start, ticks = i, 0
        ticks += count
    return [*found, entries[start:]]


def _stated(entry: TickEntry) -> int:
    """How many ticks it has, or says that it has."""
    return len(entry.ticks) + stated_count(entry.packed or b"")


def runs(entries: Sequence[TickEntry], *, merging: bool) -> Iterator[Sequence[TickEntry]]:
    """What makes one frame each: an entry or, when merging, all that a read has between two heartbeats."""
    if not merging:
        yield from ((entry,) for entry in entries)
        return
    for apart, group in groupby(entries, key=_beats):
        run = tuple(group)
        yield from ((entry,) for entry in run) if apart else (run,)


def _beats(entry: TickEntry) -> bool:
    """Of ticks that nobody has looked at: whether one may be a heartbeat."""
    return TickKind.HEARTBEAT.encode() in (entry.packed or b"") or any(
        tick.kind is TickKind.HEARTBEAT for tick in entry.ticks
    )
