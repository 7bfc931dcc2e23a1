"""The evaluator's work: observe → decide → commit, frame by frame, for the shards this process holds.

Shards taken over at the same position share a lane: one reader, one market view, one book. A lane reads a
run of frames, decides them in one pass and commits everything in one transaction; quiet frames only move a
position, which is committed at least once a second. What a commit left out because the portfolio had moved
is read again and decided again on the same frames.
"""

import asyncio
import gc
import heapq
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from uuid import UUID

import structlog

from app.domain.adjustments import AWAITING_STATES, Reason
from app.domain.errors import StreamReset
from app.domain.events import Event
from app.domain.identifiers import InstrumentId, PolicyId, PortfolioId, ShardId
from app.domain.market import Frame, StreamPosition
from app.domain.policies import DeltaNeutral
from app.domain.portfolios import Portfolio
from app.engine.book import Book, Todo
from app.engine.decide import affected, decide, only, whole_block
from app.engine.market_view import FrameBlock, MarketView
from app.engine.memory import NOTHING, PolicyMemory, unpacked
from app.engine.universe import Universe
from app.engine.verdicts import Verdict
from app.ports.clock import WallClock
from app.ports.evaluation import Commit, Committed, EvaluationStore, Loaded
from app.ports.leases import ShardGrant
from app.ports.market import MarketFeed

READ_COUNT = 1_000
BLOCK_MS = 250
FRAMES_PER_BLOCK = 256
CELLS_PER_BLOCK = 1 << 21
CHECKPOINT_NS = 1_000_000_000
CHECKPOINT_FRAMES = 5_000
SNAPSHOT_FRAMES = 2_000
SWEEP_NS = 1_000_000_000


class Lane:
    """Shards that stand at the same position."""

    def __init__(
        self, *, store: EvaluationStore, feed: MarketFeed, clock: WallClock, grants: Sequence[ShardGrant]
    ) -> None:
        self.epochs: dict[ShardId, int] = {grant.shard: grant.epoch for grant in grants}
        self._store = store
        self._feed = feed
        self._clock = clock
        self._grant = grants[0]
        self._book = Book(Universe(()))
        self._market = MarketView(self._book.universe)
        self._unsettled: set[PortfolioId] = set()
        self._publishing: asyncio.Task[None] | None = None
        self._memories: dict[PolicyId, PolicyMemory] = {}
        self._unsaved: dict[PolicyId, PortfolioId] = {}
        self._wakes: list[tuple[int, PortfolioId]] = []
        self._saved = self._grant.position
        self._saved_ns = self._swept_ns = self._listed_ns = clock.now_ns()
        self._snapshot = StreamPosition(self._grant.position.generation, self._grant.snapshot_sequence)
        self._log = structlog.get_logger("evaluator").bind(shards=sorted(self.epochs))

    async def run(self, stop: asyncio.Event) -> None:
        """Until told to stop, or until every shard is gone; leaves at a checkpoint."""
        try:
            await self._open()
            while self.epochs and not stop.is_set():
                await self._advance()
            if self.epochs and self._market.position != self._saved:
                await self._commit(())
        finally:
            await self._published()
            await self._feed.close()

    def drop(self, shards: Collection[ShardId]) -> None:
        """They belong to others now, or shall: from here on nothing is decided for them."""
        for shard in shards:
            self.epochs.pop(shard, None)

    async def _open(self) -> None:
        """Market as at the checkpoint, book as stored now, and a look at what changed in between."""
        position, grant = self._grant.position, self._grant
        await self._list_instruments()
        if grant.snapshot is not None:
            self._market.restore(grant.snapshot, position=self._snapshot, time_ns=grant.time_ns)
        for frames in self._blocks(await self._feed.between(self._snapshot, position)):
            self._market.advance(frames)
        self._market.position, self._market.time_ns = position, grant.time_ns
        await self._feed.seek(position)
        loaded = await self._store.load_shards(self.epochs)
        await self._take_in(loaded)
        await self._settle(loaded.unevaluated)
        await self._publish(())
        gc.collect()
        gc.freeze()  # the book stays: the collector need not walk through it in the middle of a tick
        self._log.info("opened", position=position.entry_id, portfolios=len(self._book))

    async def _advance(self) -> None:
        """One read and everything that follows from it."""
        news = await self._feed.read(count=READ_COUNT, block_ms=BLOCK_MS)
        changed = {PortfolioId(UUID(bytes=packed)) for packed in news.changed} | self._unsettled
        self._unsettled = set()
        if self._elapsed_ns(self._swept_ns) > SWEEP_NS:
            self._swept_ns = self._clock.now_ns()
            changed |= set(await self._store.changed(self.epochs))
        if changed:
            await self._reload(changed)
            await self._settle(changed)
            await self._publish(())
        for frames in self._blocks(news.frames):
            self._check_order(frames)
            block = self._market.advance(frames)
            due = self._due(frames[-1].time_ns)
            await self._publish(await self._conclude(block, affected(self._book, block, due)))
        if self._market.unlisted:
            await self._learn_instruments()
        if not news.frames:
            await self._check_stream()
        if self._checkpoint_is_due():
            await self._commit(())

    async def _settle(self, portfolio_ids: Iterable[PortfolioId]) -> None:
        """Changed portfolios are decided at once, on the last frame, which evaluates their revision."""
        changed = sorted(key for key in portfolio_ids if key in self._book)
        block = self._market.block()
        todo = whole_block(self._book, block, changed)
        await self._publish(await self._conclude(block, todo, must=changed), progress=False)

    async def _conclude(
        self, block: FrameBlock, todo: Todo, must: Collection[PortfolioId] = ()
    ) -> list[Event]:
        """Decides and commits; whoever moved meanwhile is read again and decided again.

        What `must` be committed is, though nothing was decided: its revision has been evaluated.
        """
        events: list[Event] = []
        while todo:
            verdicts = decide(self._book, self._memories, block, todo)
            for key in must:
                if key not in verdicts and key in self._book:
                    verdicts[key] = Verdict.of_nothing(self._book.portfolio(key))
            firm = [v for key, v in verdicts.items() if v.must_commit or key in must]
            for key, verdict in verdicts.items():
                if not (verdict.must_commit or key in must):
                    self._remember(verdict, saved=False)
            if not firm:
                break
            committed = await self._commit(firm)
            events += committed.events
            must = {v.before.id for v in firm} - committed.portfolios
            if must:
                self._log.info("moved", portfolios=len(must))
                await self._reload(must)
                if block.universe is not self._book.universe:
                    block = block.on(self._book.universe)
                    self._unsettled |= must  # what was just listed had no price in this block
            todo = only(self._book, todo, must)
        return events

    async def _commit(self, verdicts: Sequence[Verdict]) -> Committed:
        """Everything up to the market's position, in one transaction."""
        deciding = {verdict.before.id for verdict in verdicts}
        memories = [
            (portfolio_id, policy_id, self._memories[policy_id].packed())
            for policy_id, portfolio_id in self._unsaved.items()
            if portfolio_id not in deciding
        ]
        position = self._market.position
        snapshot_is_due = (
            position.generation != self._snapshot.generation
            or position.sequence - self._snapshot.sequence >= SNAPSHOT_FRAMES
        )
        commit = Commit(
            epochs=dict(self.epochs),
            position=position,
            time_ns=self._market.time_ns,
            verdicts=verdicts,
            memories=memories,
            snapshot=self._market.snapshot() if snapshot_is_due else None,
        )
        committed = await self._store.commit(commit)
        if lost := commit.epochs.keys() - committed.shards:
            self._log.warning("fenced", lost=sorted(lost))
            self.drop(lost)
        if committed.shards:
            self._saved, self._saved_ns = position, self._clock.now_ns()
            if snapshot_is_due:
                self._snapshot = position
        for _, policy_id, _ in memories:
            del self._unsaved[policy_id]
        for verdict in verdicts:
            if verdict.before.id in committed.portfolios:
                self._remember(verdict, saved=True)
        return committed

    async def _reload(self, portfolio_ids: Collection[PortfolioId]) -> None:
        loaded = await self._store.load(portfolio_ids, self.epochs)
        found = {portfolio.id for portfolio in loaded.portfolios}
        for gone in set(portfolio_ids) - found:
            self._book.remove(gone)
        await self._take_in(loaded)

    async def _take_in(self, loaded: Loaded) -> None:
        """What is remembered here is newer than what is stored."""
        if any(self._needs_listing(portfolio) for portfolio in loaded.portfolios):
            await self._list_instruments()
        for policy_id, packed in loaded.memories.items():
            self._memories.setdefault(policy_id, unpacked(packed))
        for portfolio in loaded.portfolios:
            self._book.put(portfolio)
            memories = (self._memories.get(stored.id, NOTHING) for stored in portfolio.policies)
            self._book.watch(portfolio.id, suppressed=any(m.suppressed is not None for m in memories))
            self._schedule(portfolio)

    def _needs_listing(self, portfolio: Portfolio) -> bool:
        known = self._book.universe.index
        held = (p.instrument for account in portfolio.accounts for p in account.positions)
        hedges = (
            InstrumentId(stored.policy.hedge_instrument)
            for stored in portfolio.policies
            if isinstance(stored.policy, DeltaNeutral)
        )
        return any(name not in known for name in (*held, *hedges))

    async def _learn_instruments(self) -> None:
        """New listings: looked for when a frame named one, at most once a second. Nobody holds it yet."""
        if self._elapsed_ns(self._listed_ns) > SWEEP_NS:
            await self._list_instruments()

    async def _list_instruments(self) -> None:
        self._listed_ns = self._clock.now_ns()
        universe = Universe(await self._store.instruments())
        self._market = self._market.on(universe)
        self._book.rebuild(universe)

    def _remember(self, verdict: Verdict, *, saved: bool) -> None:
        for policy_id, memory in verdict.memories.items():
            self._memories[policy_id] = memory
            if saved:
                self._unsaved.pop(policy_id, None)
            else:
                self._unsaved[policy_id] = verdict.before.id
        if verdict.before.id in self._book:
            self._schedule(self._book.portfolio(verdict.before.id))

    def _schedule(self, portfolio: Portfolio) -> None:
        """When time alone may change what is decided: an expiry, or the end of a cooldown that held back."""
        times = [work.expires_at_ns for work in portfolio.in_flight if work.state in AWAITING_STATES]
        for stored in portfolio.policies:
            memory = self._memories.get(stored.id, NOTHING)
            if memory.suppressed is Reason.COOLDOWN or memory.cooldown_until_ns > self._market.time_ns:
                times.append(memory.cooldown_until_ns)
        for time_ns in times:
            heapq.heappush(self._wakes, (time_ns, portfolio.id))

    def _due(self, until_ns: int) -> list[tuple[int, PortfolioId]]:
        due = []
        while self._wakes and self._wakes[0][0] <= until_ns:
            due.append(heapq.heappop(self._wakes))
        return due

    async def _publish(self, events: Sequence[Event], *, progress: bool = True) -> None:
        """Under way while the next frames are read; in the order of the commits."""
        await self._published()
        position = self._market.position
        reached: dict[int, StreamPosition] = dict.fromkeys(self.epochs, position) if progress else {}
        self._publishing = asyncio.create_task(self._feed.publish(events, reached))

    async def _published(self) -> None:
        if self._publishing is not None:
            publishing, self._publishing = self._publishing, None
            await publishing

    def _blocks(self, frames: Sequence[Frame]) -> Iterator[Sequence[Frame]]:
        """Consecutive frames of one generation, not more than fit into a block."""
        size = max(1, min(FRAMES_PER_BLOCK, CELLS_PER_BLOCK // self._book.universe.width))
        for _, generation in groupby(frames, key=attrgetter("generation")):
            same = list(generation)
            for start in range(0, len(same), size):
                yield same[start : start + size]

    def _check_order(self, frames: Sequence[Frame]) -> None:
        """Frames that were trimmed before they were read are gone: that is said, not hidden."""
        expected = self._market.position
        for frame in frames:
            same = frame.generation == expected.generation
            if (same and frame.sequence != expected.sequence + 1) or (not same and frame.sequence != 1):
                self._log.error("gap", after=expected.entry_id, before=frame.position.entry_id)
            expected = frame.position

    async def _check_stream(self) -> None:
        """A stream that went back has lost what was read of it: this lane begins again at its checkpoint.

        One that stands behind even the checkpoint cannot be gone on with: the oracle has to start another.
        """
        newest = await self._feed.newest()
        if newest >= self._market.position:
            return
        if newest < self._saved:
            await self._store.report_lost_market(self._saved.generation)
        raise StreamReset(f"the market ends at {newest.entry_id}, {self._market.position.entry_id} was read")

    def _checkpoint_is_due(self) -> bool:
        position = self._market.position
        if position == self._saved:
            return False
        frames = position.sequence - self._saved.sequence
        return frames >= CHECKPOINT_FRAMES or self._elapsed_ns(self._saved_ns) > CHECKPOINT_NS

    def _elapsed_ns(self, since_ns: int) -> int:
        return self._clock.now_ns() - since_ns
