"""FAULTS 3: the API killed in the middle of batches of ticks; what it did not acknowledge is sent once more.

It is killed while it looks up who may speak, so that nothing was appended, and as soon as the entry is in the
stream, so that the answer is lost. The publisher cannot tell the two apart.
"""

import asyncio
import random
import secrets
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import uuid4

import asyncpg
import httpx
import pytest
from msgspec.structs import replace

from app.adapters.embedded import create_database, drop_database
from app.adapters.redis_streams.client import connect
from app.adapters.redis_streams.keys import TICKS
from app.bootstrap import migrate, stack
from app.domain.identifiers import ApiKeyId
from app.domain.market import Rejection
from app.domain.times import NS_PER_SECOND
from app.entrypoints.cli import supervise
from app.entrypoints.cli.replay import free_port
from app.oracle.declared import Declared, Source
from app.ports.management import Scope
from app.services.load_scenario import load_scenario, parse_scenario
from app.services.manage_keys import SECRET_BYTES, create_key
from app.settings import Settings
from tests.recorded_storm import INSTRUMENT, scenario_text
from tests.running_oracle import START_NS, Publisher
from tests.running_roles import running_roles
from tests.waiting import eventually

BATCHES, EACH = 120, 2
SOURCES = ("north", "south", "west")
WAITS = """
SELECT count(*) > 0 FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%FROM sources%'
"""


@dataclass(frozen=True)
class Told:
    """Frames but for when they were stamped and the entries they name. `lost` batches were not appended until
    they were sent again; of `repeated` ones only the answer was lost.
    """

    frames: list
    lost: int
    repeated: int
    refused: list


def batches():
    """A walk that three sources follow, each with a sequence of its own."""
    chance, price = random.Random(29), 50_000.0
    for number in range(BATCHES):
        price *= 1.0 + chance.gauss(0.0, 2e-4)
        yield {
            "ticks": [
                {
                    "kind": "price",
                    "source": source,
                    "instrument": INSTRUMENT,
                    "sequence": number,
                    "time_ns": START_NS + number * NS_PER_SECOND // 4,
                    "value": f"{price * (1.0 + chance.gauss(0.0, 1e-4)):.2f}",
                    "confidence": "5",
                }
                for source in SOURCES
            ]
        }


@asynccontextmanager
async def looking_up(pool, _redis):
    """Gives what returns once the API waits for the registry, which is kept from it until the end."""
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("LOCK TABLE sources IN ACCESS EXCLUSIVE MODE")
        yield lambda: eventually(lambda: pool.fetchval(WAITS), timeout=30, what="the API at the registry")


@asynccontextmanager
async def appended(_pool, redis):
    """Gives what returns once there is an entry that was not there."""
    (newest,) = await redis.xrevrange(TICKS, count=1)
    yield lambda: redis.xread({TICKS: newest[0]}, count=1, block=30_000)


class Sender:
    """Sends until it is told that a batch was taken."""

    def __init__(self, http, roles):
        self._http = http
        self._roles = roles

    async def send(self, batch):
        return await eventually(lambda: self.sent(batch), timeout=60, what="an answer")

    async def sent(self, batch):
        """Whether it was acknowledged."""
        try:
            answer = await self._http.post("/v1/oracle/ticks", json=batch)
        except httpx.TransportError:
            return False
        assert (answer.status_code, answer.json()["accepted"]) == (202, len(SOURCES)), answer.text
        return True

    async def sent_and_killed(self, batch, moment):
        async with moment as reached:
            sending = asyncio.create_task(self.sent(batch))
            await reached()
            await self._roles.kill("api")
        return await sending


async def publish(sender, pool, redis, *, each):
    """All batches in turn; every tenth has its API killed, until each moment had its effect so often."""
    lost = repeated = 0
    for number, batch in enumerate(batches()):
        if number % 10 == 9 and (lost < each or repeated < each):
            before = await redis.xlen(TICKS)
            moment = looking_up if lost < each else appended
            if not await sender.sent_and_killed(batch, moment(pool, redis)):
                if await redis.xlen(TICKS) > before:
                    repeated += 1
                else:
                    lost += 1
                await sender.send(batch)
        else:
            await sender.send(batch)
    return lost, repeated


async def prepared(settings):
    """An instrument, a tenant with three sources, and its key."""
    await migrate(settings)
    async with stack(settings) as connected, (await connected.units())() as unit:
        loaded = await load_scenario(unit, "house", parse_scenario(scenario_text(portfolios=1)))
        await unit.sources.declare(Declared({name: Source(publisher="house") for name in SOURCES}))
        _, key = await create_key(
            unit,
            tenant_id=loaded.tenant_id,
            key_id=ApiKeyId(uuid4()),
            name="publisher",
            scopes=[Scope.TICKS],
            secret=secrets.token_bytes(SECRET_BYTES),
        )
    return key


@pytest.fixture
def told(postgres_server, redis_url, tmp_path, monkeypatch):
    """What the market says of the batches, sent through an API that is killed or is not."""
    monkeypatch.setattr(supervise, "LONGEST_BACKOFF_SECONDS", supervise.FIRST_BACKOFF_SECONDS)

    async def run(name, *, each):
        url = await create_database(postgres_server, f"ballast_test_{tmp_path.name[:20]}_{name}")
        settings = Settings(database_url=url, redis_url=redis_url, clock="replay", log_level="info")
        port = free_port()
        headers = {"Authorization": f"Bearer {await prepared(settings)}"}
        async with (
            connect(redis_url) as redis,
            asyncpg.create_pool(url, min_size=1, max_size=2) as pool,
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=30) as http,
        ):
            publisher = Publisher(redis)
            async with running_roles(settings, tmp_path / name, ("oracle", "api"), port=port) as roles:
                lost, repeated = await publish(Sender(http, roles), pool, redis, each=each)
                ((last, _),) = await redis.xrevrange(TICKS, count=1)

                async def all_was_read():
                    return (await publisher.state()).get("cursor") == last.decode()

                await eventually(all_was_read, timeout=60, what="the last entry at the cursor")
            frames = [replace(frame, stamp_ns=0, entry="") for frame in await publisher.frames()]
            refused = [reason for _, reason in await publisher.refusals()]
            await redis.flushdb()
        await drop_database(postgres_server, url.rpartition("/")[2])
        return Told(frames, lost, repeated, refused)

    return run


async def test_f03_what_a_killed_api_did_not_acknowledge_counts_once(told):
    undisturbed, disturbed = await told("calm", each=0), await told("killed", each=EACH)
    assert (undisturbed.refused, len(undisturbed.frames)) == ([], BATCHES)
    assert (disturbed.lost, disturbed.repeated) == (EACH, EACH)
    assert disturbed.frames == undisturbed.frames
    assert disturbed.refused == [Rejection.OLD_SEQUENCE] * EACH * len(SOURCES)
