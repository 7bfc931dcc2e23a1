"""Overload on a real Redis: entries are merged while a shard is late on the live clock, and only then."""

import time

from app.adapters.redis_streams.tick_publisher import flat_fields
from app.domain.market import Rejection, StreamPosition
from app.oracle import overload
from tests.running_oracle import BTC, PERP, START_NS, good, oracle
from tests.waiting import eventually

BURST = 20
START = StreamPosition(1, 0)
FAR_AHEAD = StreamPosition(1, 1_000_000)


class Bursts:
    """Each has good ticks of two instruments, values that rise, and one tick that is refused."""

    def __init__(self, publisher, now_ns):
        self._publisher = publisher
        self._now_ns = now_ns
        self.sequence = 0
        self.refused = []

    async def frames(self):
        """Those that one burst came to, once all of it was taken."""
        bodies = []
        for number in range(BURST):
            self.sequence += 1
            instrument = (BTC, PERP)[number % 2]
            tick = good(
                self.sequence, instrument=instrument, time_ns=self._now_ns(), value=50_000.0 + self.sequence
            )
            bodies.append(flat_fields(tick))
        bodies.insert(BURST // 2, [*bodies[0][:-1], "nan"])
        entries = await self._publisher.send_together(bodies)
        self.refused.append((entries[BURST // 2], Rejection.NOT_FINITE))
        burst = set(entries)

        async def taken():
            return (await self._publisher.state()).get("cursor") == entries[-1]

        await eventually(taken, what="the burst")
        return [frame for frame in await self._publisher.frames() if frame.entry in burst]


async def test_entries_are_merged_while_a_shard_is_late_and_no_longer(engine, redis_url, database_url):
    async with oracle(engine, redis_url, database_url, clock="live") as live:
        bursts = Bursts(live, time.time_ns)
        await live.shard_is_at(FAR_AHEAD)
        assert [frame.covers for frame in await bursts.frames()] == [1] * BURST
        await live.shard_is_at(START)

        async def merged():
            frames = await bursts.frames()
            return len(frames) == 1 and frames

        (frame,) = await eventually(merged, what="a merged burst")
        assert frame.covers == BURST
        last = 50_000.0 + bursts.sequence
        assert {change.instrument: change.value for change in frame.changes} == {BTC: last - 1, PERP: last}
        await live.shard_is_at(FAR_AHEAD)

        async def apart():
            return [frame.covers for frame in await bursts.frames()] == [1] * BURST

        await eventually(apart, what="a burst that is not merged")
        frames = await live.frames()
        assert [frame.sequence for frame in frames] == list(range(1, len(frames) + 1))
        covers = [frame.covers for frame in frames if frame.covers > 1]
        state = await live.state()
        assert (int(state["merged_frames"]), int(state["merged_entries"])) == (len(covers), sum(covers))
        assert sum(frame.covers for frame in frames if frame.entry) == bursts.sequence
        assert await live.refusals() == bursts.refused


async def test_a_replay_is_never_merged(engine, redis_url, database_url, monkeypatch):
    monkeypatch.setattr(overload, "BEGINS_NS", -1)  # as late as can be, from the first moment
    async with oracle(engine, redis_url, database_url, clock="replay") as replay:
        bursts = Bursts(replay, lambda: START_NS)
        await replay.shard_is_at(START)
        for _ in range(10):
            assert [frame.covers for frame in await bursts.frames()] == [1] * BURST
        assert "merged_frames" not in await replay.state()
