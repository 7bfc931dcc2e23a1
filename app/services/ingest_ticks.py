"""The oracle's work: ticks in, one ordered sequence of frames out.

One writer at a time holds the market's lease. Frames, the tick cursor, what is behind the consensus and the
epoch are written in one step, so being killed anywhere only means that the next writer goes on.
"""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import structlog

from app.domain.errors import Fenced, StreamReset
from app.domain.market import PackedFrames, StreamPosition
from app.oracle.entries import Entries
from app.oracle.memory import Memory
from app.oracle.overload import Overload
from app.oracle.sequencer import ClockMode, Limits, Sequencer
from app.ports.clock import WallClock
from app.ports.leases import OracleGrant, OracleLease
from app.ports.market import MarketLog, OracleState, UnderWay
from app.ports.sources import Listings
from app.ports.ticks import RejectedTick, TickBatch, TickLog
from app.services.pacing import pause
from app.services.take_entries import READ_TICKS, TakeEntries, parts

HEARTBEAT_NS = 1_000_000_000
HOUSEKEEPING_SECONDS = 2.0
READ_COUNT = 1_000
LISTENING_SECONDS = 0.1
MERGING_SECONDS = 0.05
_PATIENCE_MS = 1_000


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
    frames: PackedFrames
    consensus: bytes
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
        self._take = TakeEntries(sequencer, service.clock, self._learn_instruments)
        self._reading: UnderWay[TickBatch]
        self._writing: UnderWay[None] | None = None
        self._cursor = state.cursor  # of what is being written
        # Ticks before the snapshot: what a predecessor left after his is replaced at once.
        self._remembered = -len(state.memory.quotes)

    async def run(self, stop: asyncio.Event) -> None:
        self._reading = self._read(self.cursor, block_ms=self._patience_ms())
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
            read = await self._reading
            if more := len(read) >= self._count:
                self._resize(read.entries)
                # It waits for nothing: the frames of this one are written behind it.
                self._reading = self._read(read.id(len(read) - 1), block_ms=None)
            pauses = False
            for start, end in parts(read.entries):
                cursor = read.id(end - 1) if end else cursor
                batch = await self._frames_of(read, start, end, cursor)
                await self._written()
                if batch is not None and batch.rejected:
                    await self._service.ticks.reject(batch.rejected)
                with self._service.market.together():
                    if batch is not None:
                        self._write(batch)
                    if end == len(read) and not more and not (pauses := self._merging):
                        self._reading = self._read(cursor, block_ms=self._patience_ms())
            if pauses:
                await asyncio.sleep(MERGING_SECONDS)
                self._reading = self._read(cursor, block_ms=self._patience_ms())

    @property
    def _merging(self) -> bool:
        return self.live and self.overload.merging

    def _read(self, after: str, *, block_ms: int | None) -> UnderWay[TickBatch]:
        return self._service.ticks.read(after, count=self._count, block_ms=block_ms)

    async def _frames_of(self, read: TickBatch, start: int, end: int, cursor: str) -> _Batch | None:
        sequencer = self.sequencer
        previous = StreamPosition(sequencer.generation, sequencer.sequence)
        if start == end:
            if not self.live or self._patience_ms() > 1:
                return None
            sequencer.heartbeat(wall_ns=self._service.clock.now_ns())
            frames = sequencer.frames()
            return _Batch(previous, cursor, frames, sequencer.consensus(), sequencer.news())
        rejected = await self._take(read, start, end, merging=self._merging)
        frames = sequencer.frames()
        # A snapshot is no longer than the log that it ends.
        if whole := sequencer.taken - self._remembered >= sequencer.sources:
            self._remembered = sequencer.taken
        memory = sequencer.memory() if whole else sequencer.news()
        return _Batch(previous, cursor, frames, sequencer.consensus(), memory, whole, rejected)

    def _write(self, batch: _Batch) -> None:
        """It is under way then: the next read is worth more than to wait for it."""
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
            self.overload.wrote(batch.frames.position, wall_ns=batch.frames.stamp_ns)

    async def _written(self) -> None:
        """What is under way arrived; or why it did not."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            await writing
            self.cursor = self._cursor

    def _resize(self, entries: Entries) -> None:
        """The next read's: few enough ticks that evaluators have the first of them early."""
        self._count = max(1, min(READ_COUNT, READ_TICKS * len(entries) // max(1, entries.ticks)))

    def _patience_ms(self) -> int:
        """How long to wait for ticks: until the next heartbeat is due, on a live clock.

        A wall clock that was set back is behind the market's, which waits for it: that may take long.
        """
        if not self.live:
            return _PATIENCE_MS
        due = self.sequencer.time_ns + HEARTBEAT_NS - self._service.clock.now_ns()
        return min(max(1, due // 1_000_000), _PATIENCE_MS)

    async def _learn_instruments(self, named: Collection[str]) -> None:
        """Looks again, at most once a second, when a tick names an instrument nobody knows."""
        if set(named) <= self.sequencer.instruments.keys():
            return
        now_ns = self._service.clock.now_ns()
        if now_ns - self._instruments_seen_ns > HEARTBEAT_NS:
            self._instruments_seen_ns = now_ns
            await self._service.declare(self.sequencer)
