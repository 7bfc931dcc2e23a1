"""The evaluator role: holds shards by lease and runs a lane for those that stand at the same position.

The work itself is `services/evaluate_market.py`; what follows is who owns what, and what happens when a lane
breaks: its shards are claimed again under a new epoch, and go on from their checkpoint.
"""

import asyncio
from collections.abc import Callable, Sequence
from itertools import groupby

import structlog

from app.domain.errors import StreamReset
from app.domain.identifiers import ShardId
from app.ports.leases import ShardGrant, ShardLeases
from app.services.evaluate_market import Lane
from app.services.pacing import pause

RENEW_SECONDS = 2.0

_log = structlog.get_logger("evaluator")


async def run(
    *, leases: ShardLeases, open_lane: Callable[[Sequence[ShardGrant]], Lane], stop: asyncio.Event
) -> None:
    """Until `stop`; shards are then released at a checkpoint, for others to go on at once."""
    role = _Role(leases, open_lane, stop)
    _log.info("evaluator_started")
    while not stop.is_set():
        try:
            await role.turn()
        except Exception:  # noqa: BLE001 - the role's outermost loop: logged, and tried again
            _log.exception("evaluator_turn_failed")
        await pause(stop, RENEW_SECONDS)
    await role.finish()


class _Role:
    def __init__(
        self, leases: ShardLeases, open_lane: Callable[[Sequence[ShardGrant]], Lane], stop: asyncio.Event
    ) -> None:
        self._leases = leases
        self._open_lane = open_lane
        self._stop = stop
        self._lanes: dict[asyncio.Task[None], Lane] = {}

    def _held(self) -> dict[ShardId, int]:
        return {shard: epoch for lane in self._lanes.values() for shard, epoch in lane.epochs.items()}

    async def turn(self) -> None:
        held = self._held()
        kept, surplus = await self._leases.renew(held)
        self._drop(held.keys() - kept)
        if surplus:
            leaving = set(sorted(kept)[-surplus:])
            _log.info("giving_up_shards", shards=sorted(leaving))
            self._drop(leaving)
            await self._leases.release({shard: held[shard] for shard in leaving})
        grants = await self._leases.claim(self._held().keys())
        for _, group in groupby(sorted(grants, key=_standing), key=_standing):
            lane = self._open_lane(list(group))
            task = asyncio.create_task(self._guarded(lane))
            self._lanes[task] = lane
            task.add_done_callback(self._lanes.pop)

    async def finish(self) -> None:
        held = self._held()
        if self._lanes:
            await asyncio.wait(list(self._lanes))
        await self._leases.release(held)
        await self._leases.leave()

    def _drop(self, shards: set[ShardId]) -> None:
        for lane in self._lanes.values():
            lane.drop(shards & lane.epochs.keys())

    async def _guarded(self, lane: Lane) -> None:
        try:
            await lane.run(self._stop)
        except StreamReset as reset:
            _log.warning("market_went_back", shards=sorted(lane.epochs), reason=str(reset))
        except Exception:  # noqa: BLE001 - a lane's outermost loop: its shards are claimed again at the next turn
            _log.exception("lane_failed", shards=sorted(lane.epochs))


def _standing(grant: ShardGrant) -> tuple[int, int, int]:
    return (*grant.position, grant.snapshot_sequence)
