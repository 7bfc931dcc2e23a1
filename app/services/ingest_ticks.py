"""The oracle's work: ticks in, one ordered sequence of frames out.

One writer at a time holds the market's lease. Frames, the tick cursor, the quotes behind the consensus and
the epoch are written in one step, so being killed anywhere only means that the next writer goes on.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import msgspec
import structlog

from app.domain.errors import Fenced, StreamReset
from app.domain.market import Frame, StreamPosition, Tick
from app.oracle.sequencer import ClockMode, Limits, Sequencer
from app.ports.clock import WallClock
from app.ports.leases import OracleGrant, OracleLease
from app.ports.market import MarketLog, OracleState, RejectedTick, TickEntry, TickLog
from app.services.pacing import pause

HEARTBEAT_NS = 1_000_000_000
HOUSEKEEPING_SECONDS = 2.0
READ_COUNT = 1_000
MAXIMUM_PAYLOAD = 512

_encoder = msgspec.json.Encoder()


class IngestTicks:
    def __init__(
        self,
        *,
        ticks: TickLog,
        market: MarketLog,
        lease: OracleLease,
        known_instruments: Callable[[], Awaitable[frozenset[str]]],
        clock: WallClock,
        limits: Limits | None = None,
    ) -> None:
        self.ticks = ticks
        self.market = market
        self.lease = lease
        self.known_instruments = known_instruments
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
            except Fenced as fenced:
                self._log.warning("fenced", reason=str(fenced))
            except StreamReset as reset:
                self._log.warning("market_reset", reason=str(reset))
            else:
                await self.lease.release(grant)

    async def _write(self, grant: OracleGrant, stop: asyncio.Event) -> None:
        grant, state = await self._open(grant)
        sequencer = Sequencer(
            generation=state.position.generation,
            sequence=state.position.sequence,
            time_ns=state.time_ns,
            clock=ClockMode(grant.clock),
            instruments=await self.known_instruments(),
            quotes=state.quotes,
            limits=self.limits,
        )
        self._log.info("writing", position=state.position.entry_id, epoch=grant.epoch, clock=grant.clock)
        writer = _Writer(self, sequencer, state.cursor, grant)
        async with asyncio.TaskGroup() as tasks:
            keeper = tasks.create_task(self._keep_house(writer))
            try:
                while not stop.is_set():
                    await writer.advance()
            finally:
                keeper.cancel()

    async def _open(self, grant: OracleGrant) -> tuple[OracleGrant, OracleState]:
        at_least = max(StreamPosition(grant.generation, 0), grant.checkpoint)
        state = await self.market.open(epoch=grant.epoch, at_least=at_least)
        if state is None:
            grant = await self.lease.next_generation(grant, reason="the market stream was empty or behind")
            state = await self.market.start_generation(epoch=grant.epoch, generation=grant.generation)
            self._log.warning("new_generation", generation=grant.generation)
        return grant, state

    async def _keep_house(self, writer: "_Writer") -> None:
        """Renews the lease, learns new instruments, trims what everybody has handled."""
        while True:
            await asyncio.sleep(HOUSEKEEPING_SECONDS)
            renewed = await self.lease.renew(writer.grant)
            if renewed.generation > writer.grant.generation:
                raise StreamReset("a reader found the stream behind its checkpoint")
            writer.sequencer.instruments = await self.known_instruments()
            await self.ticks.trim(writer.cursor)
            await self.market.trim(await self.lease.oldest_snapshot())


class _Writer:
    """The hot loop and its state."""

    def __init__(self, service: IngestTicks, sequencer: Sequencer, cursor: str, grant: OracleGrant) -> None:
        self.sequencer = sequencer
        self.cursor = cursor
        self.grant = grant
        self._service = service
        self._live = sequencer.clock is ClockMode.LIVE
        self._instruments_seen_ns = 0

    async def advance(self) -> None:
        """One read, its frames, one write."""
        service = self._service
        entries = await service.ticks.read(self.cursor, count=READ_COUNT, block_ms=self._patience_ms())
        sequencer = self.sequencer
        previous = StreamPosition(sequencer.generation, sequencer.sequence)
        if not entries:
            if self._live and self._patience_ms() <= 1:
                await self._append(previous, [sequencer.heartbeat(wall_ns=service.clock.now_ns())], [])
            return
        await self._learn_instruments(entries)
        frames: list[Frame] = []
        quotes: list[Tick] = []
        rejected: list[RejectedTick] = []
        for entry in entries:
            step = sequencer.step(entry=entry.id, ticks=entry.ticks, wall_ns=service.clock.now_ns())
            if step.frame is not None:
                frames.append(step.frame)
            quotes += step.quotes
            rejected += entry.rejected
            rejected += (
                RejectedTick(entry.id, refusal.reason, str(refusal), _encoder.encode(tick)[:MAXIMUM_PAYLOAD])
                for tick, refusal in step.rejected
            )
        if rejected:
            await service.ticks.reject(rejected)
        self.cursor = entries[-1].id
        await self._append(previous, frames, quotes)

    async def _append(self, previous: StreamPosition, frames: list[Frame], quotes: list[Tick]) -> None:
        await self._service.market.append(
            epoch=self.grant.epoch, previous=previous, cursor=self.cursor, frames=frames, quotes=quotes
        )

    def _patience_ms(self) -> int:
        """How long to wait for ticks: until the next heartbeat is due, on a live clock."""
        if not self._live:
            return 1_000
        due = self.sequencer.time_ns + HEARTBEAT_NS - self._service.clock.now_ns()
        return max(1, due // 1_000_000)

    async def _learn_instruments(self, entries: Sequence[TickEntry]) -> None:
        """Looks again, at most once a second, when a tick names an instrument nobody knows."""
        known = self.sequencer.instruments
        if all(t.instrument in known or not t.instrument for e in entries for t in e.ticks):
            return
        now_ns = self._service.clock.now_ns()
        if now_ns - self._instruments_seen_ns > HEARTBEAT_NS:
            self._instruments_seen_ns = now_ns
            self.sequencer.instruments = await self._service.known_instruments()
