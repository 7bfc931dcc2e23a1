"""The evaluator's work: observe → decide → commit, frame by frame, for the shards this process holds.

Shards taken over at the same position share a lane: one reader, one market view, one book. A lane reads a
run of frames, decides them in one pass and commits everything in one transaction; quiet frames only move a
position, which is committed at least once a second. What a commit left out because the portfolio had moved
is read again and decided again on the same frames.

While a block is being committed the next one is read and decided, for portfolios that are not in that commit;
one that is waits for its outcome. Blocks are committed in their order, so nothing is decided differently.
"""

import asyncio
import gc
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

import structlog

from app.domain.errors import StreamReset
from app.domain.events import Event
from app.domain.identifiers import PortfolioId, ShardId
from app.domain.market import Frame, StreamPosition
from app.engine.book import Book, Todo
from app.engine.census import Census, census_of
from app.engine.decide import affected, anew, decide, joined, only, portfolios_of, whole_block
from app.engine.frame_block import FrameBlock
from app.engine.margin_levels import level_of, memory_id
from app.engine.market_view import MarketView
from app.engine.universe import Universe
from app.engine.verdicts import Verdict
from app.ports.clock import WallClock
from app.ports.evaluation import Commit, Committed, EvaluationStore, Loaded
from app.ports.figures import EvaluatorFigures
from app.ports.leases import ShardGrant
from app.ports.market import MarketFeed
from app.services.cut_blocks import blocks_of
from app.services.load_book import load_rows
from app.services.remember_policies import Remembered, Unsaved
from app.services.set_aside import SetAside
from app.services.wake_times import WakeTimes

READ_COUNT = 1_000
BLOCK_MS = 250
CHECKPOINT_NS = 1_000_000_000
CHECKPOINT_FRAMES = 5_000
SNAPSHOT_FRAMES = 10_000  # what is read again at a restart, which takes less than a second
SWEEP_NS = 1_000_000_000
REPORT_NS = 2_000_000_000

Verdicts = dict[PortfolioId, Verdict]


@dataclass(frozen=True, slots=True)
class _Mark:
    """How far a commit brings the shards: what stood when its block had been taken in."""

    position: StreamPosition
    time_ns: int
    snapshot: bytes | None


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
        self._snapshots = {grant.snapshot for grant in grants if grant.snapshot is not None}
        self._book = Book(Universe(()), tells_margins=True)
        self._market = MarketView(self._book.universe)
        self._unsettled: set[PortfolioId] = set()
        self._concluding: asyncio.Task[set[PortfolioId]] | None = None
        self._undecided: frozenset[PortfolioId] = frozenset()  # in the commit that is under way
        self._remembered = Remembered()
        self._wakes = WakeTimes()
        self._set_aside = SetAside()
        self._saved = self._grant.position
        self._saved_ns = self._swept_ns = self._listed_ns = self._reported_ns = clock.now_ns()
        self._frames = self._woken = 0
        self._snapshot = StreamPosition(self._grant.position.generation, self._grant.snapshot_sequence)
        self._log = structlog.get_logger("evaluator").bind(shards=sorted(self.epochs))

    async def run(self, stop: asyncio.Event) -> None:
        """Until told to stop, or until every shard is gone; leaves at a checkpoint."""
        try:
            await self._open()
            while self.epochs and not stop.is_set():
                await self._advance()
            await self._concluded()
            if self.epochs and self._market.position != self._saved:
                await self._commit((), self._mark(commits=True), self._remembered.unsaved())
        finally:
            if self._concluding is not None:
                # Something failed meanwhile: that commit is made anew, or was made.
                self._concluding.cancel()
                await asyncio.gather(self._concluding, return_exceptions=True)
            await self._feed.close()

    def drop(self, shards: Collection[ShardId]) -> None:
        """They belong to others now, or shall: from here on nothing is decided for them."""
        for shard in shards:
            self.epochs.pop(shard, None)

    async def _open(self) -> None:
        """Market as at the checkpoint, book as stored now, and a look at what changed in between."""
        position, grant = self._grant.position, self._grant
        await self._list_instruments()
        for packed in self._snapshots:
            self._market.restore(packed, position=self._snapshot, time_ns=grant.time_ns)
        self._market.begun = len(self._snapshots) > 1  # none of them has the series of all
        self._snapshots.clear()
        for frames in self._blocks(await self._feed.between(self._snapshot, position)):
            self._market.advance(frames)
        self._market.position, self._market.time_ns = position, grant.time_ns
        await self._feed.seek(position)
        loaded = await self._store.load_shards(self.epochs)
        await self._take_in(loaded)
        await self._settle(loaded.unevaluated)
        gc.collect()
        gc.freeze()  # the book stays: the collector need not walk through it in the middle of a tick
        held = await self._report()
        self._log.info(
            "loaded",
            position=position.entry_id,
            portfolios=held.portfolios,
            positions=held.positions,
            policies=held.policies,
            mib=round(held.allocated_bytes / (1 << 20), 1),
        )

    async def _advance(self) -> None:
        """One read and everything that follows from it."""
        news = await self._feed.read(count=READ_COUNT, block_ms=BLOCK_MS)
        unsettled, self._unsettled = self._unsettled, set()
        changed = {PortfolioId(UUID(bytes=packed)) for packed in news.changed} | unsettled
        changed |= self._set_aside.due(self._market.time_ns)
        if self._elapsed_ns(self._swept_ns) > SWEEP_NS:
            await self._concluded()
            self._swept_ns = self._clock.now_ns()
            changed |= set(await self._store.changed(self.epochs))
        if changed:
            await self._concluded()
            await self._settle(await self._reload(changed) | unsettled)
        for frames in self._blocks(news.frames):
            self._check_order(frames)
            await self._take_block(self._market.advance(frames))
        if self._market.unlisted:
            await self._concluded()
            await self._learn_instruments()
        if not news.frames:
            await self._concluded()
            await self._check_stream()
        if self._checkpoint_is_due():
            await self._concluded()
            if self._checkpoint_is_due():
                await self._commit((), self._mark(commits=True), self._remembered.unsaved())
        if self._elapsed_ns(self._reported_ns) > REPORT_NS:
            await self._report()

    async def _take_block(self, block: FrameBlock) -> None:
        """Decides it, and has it concluded once the one before is."""
        until_ns = block.frames[-1].time_ns
        due = self._wakes.due(until_ns)
        todo = affected(self._book, block, due)
        if self._undecided and not self._undecided.isdisjoint(portfolios_of(self._book, todo)):
            await self._concluded()
            block = block.on(self._book.universe)
            todo = affected(self._book, block, [*due, *self._wakes.due(until_ns)])
        self._frames += len(block.frames)
        self._woken += todo.slots.size
        verdicts = self._decided(block, todo)
        if moved := await self._concluded():
            block = block.on(self._book.universe)
            again = only(self._book, affected(self._book, block, self._wakes.due(until_ns)), moved)
            verdicts |= self._decided(block, again)
            todo = joined(todo, again)
        self._begin(block, todo, verdicts)
        await asyncio.sleep(0)  # the commit leaves before more is read or decided

    async def _settle(self, portfolio_ids: Iterable[PortfolioId]) -> None:
        """Changed portfolios are decided at once, on the last frame, which evaluates their revision."""
        changed = sorted(key for key in portfolio_ids if key in self._book)
        block = self._market.block()
        todo = whole_block(self._book, block, changed)
        verdicts = self._decided(block, todo, must=changed)
        self._begin(block, todo, verdicts)
        await self._concluded()

    def _decided(self, block: FrameBlock, todo: Todo, must: Collection[PortfolioId] = ()) -> Verdicts:
        """What has to be committed; the rest is only remembered.

        What `must` be committed is, though nothing was decided: its revision has been evaluated.
        """
        defects: dict[PortfolioId, Exception] = {}
        verdicts = decide(self._book, self._remembered.memories, block, todo, defects)
        newest = block.frames[-1]
        self._set_aside.take(defects, time_ns=newest.time_ns, frame=newest.position.entry_id)
        for key in must:
            if key not in verdicts and key in self._book:
                verdicts[key] = Verdict.of_nothing(self._book.portfolio(key))
        for key, verdict in list(verdicts.items()):
            self._wakes.schedule(self._book.portfolio(key), verdict.memories, newest.time_ns)
            if not (verdict.must_commit or key in must):
                self._remembered.keep(verdict)
                del verdicts[key]
        return verdicts

    def _begin(self, block: FrameBlock, todo: Todo, verdicts: Verdicts) -> None:
        """Market and memory are taken as they stand: the next block may be decided before they are saved."""
        self._undecided = frozenset(verdicts)
        mark = self._mark(commits=bool(verdicts))
        memories = self._remembered.unsaved(verdicts.values())
        self._concluding = asyncio.create_task(self._conclude(block, todo, verdicts, mark, memories))

    async def _concluded(self) -> set[PortfolioId]:
        """Once the last block is committed and published: who moved meanwhile, and was decided again."""
        if self._concluding is None:
            return set()
        concluding, self._concluding = self._concluding, None
        moved = await concluding
        self._undecided = frozenset()
        return moved

    async def _conclude(
        self, block: FrameBlock, todo: Todo, verdicts: Verdicts, mark: _Mark, memories: Unsaved
    ) -> set[PortfolioId]:
        """Commits and publishes; whoever moved meanwhile is read again and decided again."""
        events: list[Event] = []
        moved: set[PortfolioId] = set()
        while verdicts:
            committed = await self._commit(list(verdicts.values()), mark, memories)
            memories = {}
            events += committed.events
            left_out = verdicts.keys() - committed.portfolios
            if left_out:
                self._log.info("moved", portfolios=len(left_out))
                moved |= left_out
                await self._reload(left_out)
                if block.lacks(self._book.universe):
                    self._unsettled |= left_out  # what was just listed or asked for is not in this block
                block = block.on(self._book.universe)
            verdicts = self._decided(block, anew(self._book, block, todo, left_out), must=left_out)
        await self._feed.publish(events, dict.fromkeys(self.epochs, mark.position))
        return moved

    def _mark(self, *, commits: bool) -> _Mark:
        """A snapshot costs as much as there is to say of the market: only what is committed has one."""
        position = self._market.position
        snapshot_is_due = commits and (
            position.generation != self._snapshot.generation
            or position.sequence - self._snapshot.sequence >= SNAPSHOT_FRAMES
            or self._market.begun
        )
        snapshot = self._market.snapshot(self._book.series_read) if snapshot_is_due else None
        return _Mark(position, self._market.time_ns, snapshot)

    async def _commit(self, verdicts: Sequence[Verdict], mark: _Mark, memories: Unsaved) -> Committed:
        """Everything up to the mark, in one transaction."""
        commit = Commit(
            epochs=dict(self.epochs),
            position=mark.position,
            time_ns=mark.time_ns,
            verdicts=verdicts,
            memories=[(owner, policy_id, memory.packed()) for policy_id, (owner, memory) in memories.items()],
            snapshot=mark.snapshot,
        )
        committed = await self._store.commit(commit)
        if lost := commit.epochs.keys() - committed.shards:
            self._log.warning("fenced", lost=sorted(lost))
            self.drop(lost)
        if committed.shards:
            self._saved, self._saved_ns = mark.position, self._clock.now_ns()
            if mark.snapshot is not None:
                self._snapshot = mark.position
        self._remembered.saved(memories)
        for verdict in verdicts:
            if verdict.before.id in committed.portfolios:
                self._remembered.committed(verdict)
        return committed

    async def _reload(self, portfolio_ids: Collection[PortfolioId]) -> frozenset[PortfolioId]:
        """Answers whose revision has not been evaluated yet; a hint may come after it has been."""
        loaded = await self._store.load(portfolio_ids, self.epochs)
        found = {portfolio.id for portfolio in loaded.portfolios}
        for gone in set(portfolio_ids) - found:
            self._book.remove(gone)
            self._set_aside.returned(gone)
        await self._take_in(loaded)
        return loaded.unevaluated

    async def _take_in(self, loaded: Loaded) -> None:
        listed = self._book.universe.instruments
        if any(listed.get(now.instrument_id) != now for now in loaded.instruments):
            await self._list_instruments()
        self._remembered.load(loaded.memories)
        memories = self._remembered.memories
        for portfolio in await load_rows(self._book, loaded, memories, self._market.time_ns):
            for stored in portfolio.policies:
                self._book.recall(stored.id, self._remembered.of(stored.id).registers_for(stored.version))
            for account in portfolio.accounts:
                self._book.levels.recall(account.id, level_of(self._remembered.of(memory_id(account.id))))
            self._book.put(portfolio)
            self._set_aside.returned(portfolio.id)
            own = (self._remembered.of(stored.id) for stored in portfolio.policies)
            self._book.watch(portfolio.id, suppressed=any(m.suppressed is not None for m in own))
            self._wakes.schedule(portfolio, memories, self._market.time_ns)

    async def _learn_instruments(self) -> None:
        """New listings: looked for when a frame named one, at most once a second. Nobody holds it yet."""
        if self._elapsed_ns(self._listed_ns) > SWEEP_NS:
            await self._list_instruments()

    async def _list_instruments(self) -> None:
        self._listed_ns = self._clock.now_ns()
        universe = Universe(await self._store.instruments())
        self._market = self._market.on(universe)
        self._book.rebuild(universe)

    def _blocks(self, frames: Sequence[Frame]) -> Iterator[Sequence[Frame]]:
        return blocks_of(frames, self._book.universe.width)

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

    async def _report(self) -> Census:
        """Who is awake, how loose the bounds are, and what the book takes."""
        self._reported_ns = self._clock.now_ns()
        figures = EvaluatorFigures(
            shards=tuple(sorted(self.epochs)),
            frames=self._frames,
            woken=self._woken,
            looks=self._book.looks,
            idle_looks=self._book.idle_looks,
            set_aside=len(self._set_aside),
            book=census_of(self._book),
        )
        if figures.shards:
            await self._feed.report(figures.shards[0], figures.packed())
        return figures.book

    def _checkpoint_is_due(self) -> bool:
        position = self._market.position
        if position == self._saved:
            return False
        frames = position.sequence - self._saved.sequence
        return frames >= CHECKPOINT_FRAMES or self._elapsed_ns(self._saved_ns) > CHECKPOINT_NS

    def _elapsed_ns(self, since_ns: int) -> int:
        return self._clock.now_ns() - since_ns
