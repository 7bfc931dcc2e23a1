"""Deliveries to a receiver that says 200 at once: `python -m bench.drivers.webhooks SIDE COUNT`; prints JSON.

Ours is what a courier does with deliveries that are due: claims them from PostgreSQL, signs, posts and
records each attempt, until nothing is left. The floor posts the same bytes with aiohttp's client, as many at
once, and keeps nothing.
"""

import asyncio
import gc
import json
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

import aiohttp
import uvloop

from app.adapters.embedded.servers import EmbeddedServers
from app.adapters.postgres.delivery_queue import PostgresDeliveryQueue
from app.adapters.postgres.event_rows import encode_event
from app.bootstrap import stack
from app.domain.events import Event, EventType
from app.domain.identifiers import EndpointId, PortfolioId, TenantId
from app.ports.delivery import Attempt
from app.services.deliver_event import Deliverer
from app.settings import Settings
from bench.floors.scenarios import peak_memory_mib
from bench.processes import Child, children

_ENDPOINTS, _AT_ONCE = 64, 512
_TENANT, _PORTFOLIO = TenantId(UUID(int=1)), PortfolioId(UUID(int=2))
_DATA = {"legs": [{"instrument": f"BTC-{n}", "quantity": "0.125", "price": "64250.5"} for n in range(12)]}
_FILL = """
WITH tenant AS (INSERT INTO tenants (id, name) VALUES ($1, 'bench')),
portfolio AS (
    INSERT INTO portfolios (id, tenant_id, shard, name, valuation_currency, event_sequence)
    VALUES ($2, $1, 0, 'bench', 'USDT', $3)
), endpoints AS (
    INSERT INTO webhook_endpoints (id, tenant_id, url, secret, event_types)
    SELECT gen_random_uuid(), $1, $5, $6, '{}' FROM generate_series(1, $4) RETURNING id
), queues AS (INSERT INTO webhook_queues (endpoint_id) SELECT id FROM endpoints),
logged AS (
    INSERT INTO events (portfolio_id, sequence, tenant_id, type, version, time_ns, data, dispatched)
    SELECT $2, n, $1, $7, 1, 0, $8, true FROM generate_series(1, $3) n RETURNING sequence
)
INSERT INTO webhook_deliveries (endpoint_id, portfolio_id, sequence)
SELECT endpoints.id, $2, logged.sequence FROM logged, endpoints ORDER BY logged.sequence
"""


class CountingQueue(PostgresDeliveryQueue):
    """Says when so many attempts are recorded."""

    def __init__(self, pool: Any, expected: int) -> None:
        super().__init__(pool)
        self._missing = expected
        self.recorded = asyncio.Event()

    async def record(self, attempts: Sequence[Attempt]) -> list[EndpointId]:
        hopeless = await super().record(attempts)
        self._missing -= len(attempts)
        if self._missing <= 0:
            self.recorded.set()
        return hopeless


async def ours(servers: EmbeddedServers, url: str, count: int) -> float:
    settings = Settings(
        database_url=servers.database_url,
        redis_url=servers.redis_url,
        webhook_allowed_networks=("127.0.0.0/8",),
    )
    async with stack(settings) as connected:
        pool, parts = await connected.pool(), await connected.courier()
        terms = (_TENANT, _PORTFOLIO, count // _ENDPOINTS, _ENDPOINTS, url, bytes(32))
        await pool.execute(_FILL, *terms, EventType.ADJUSTMENT_QUEUED, json.dumps(_DATA))
        await pool.execute("ANALYZE")
        queue = CountingQueue(pool, count)
        deliverer = Deliverer(queue=queue, sender=parts.sender, concurrency=_AT_ONCE)
        stop, start = asyncio.Event(), time.perf_counter()
        running = asyncio.create_task(deliverer.run(stop))
        await queue.recorded.wait()
        seconds = time.perf_counter() - start
        stop.set()
        await running
        if await pool.fetchval("SELECT count(*) FROM webhook_attempts WHERE status = 200") != count:
            raise RuntimeError("not every delivery was one attempt")
        return seconds


async def floor(_servers: EmbeddedServers, url: str, count: int) -> float:
    remaining = iter(range(count))
    headers = {"content-type": "application/json"}
    event = Event(EventType.ADJUSTMENT_QUEUED, 1, _TENANT, _PORTFOLIO, 1, 0, _DATA)
    body = encode_event(event)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def post() -> None:
            for _ in remaining:
                async with session.post(url, data=body, headers=headers) as response:
                    await response.read()

        start = time.perf_counter()
        await asyncio.gather(*(post() for _ in range(_AT_ONCE)))
        return time.perf_counter() - start


SIDES: dict[str, Callable[[EmbeddedServers, str, int], Awaitable[float]]] = {"ours": ours, "floor": floor}


def main(side: str, count: str) -> None:
    receiver = Child("bench.floors.webhook_receiver")
    with TemporaryDirectory() as directory, EmbeddedServers(Path(directory)) as servers, children(receiver):
        addresses = {"BALLAST_DATABASE_URL": servers.database_url, "BALLAST_REDIS_URL": servers.redis_url}
        Child("app.entrypoints.cli", ["migrate"], environment=addresses).output(timeout_seconds=60.0)
        url = f"http://127.0.0.1:{receiver.line()}/hook"
        gc.collect()
        gc.freeze()  # as a role does when it starts
        seconds: Any = uvloop.run(SIDES[side](servers, url, int(count)))
    print(json.dumps({"webhooks": int(count) / seconds, "peak memory, MiB": peak_memory_mib()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
