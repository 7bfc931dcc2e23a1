"""The only place that wires: settings and adapters in, what the roles run on out."""

import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import structlog
from redis.asyncio import Redis

from app.adapters.embedded import EmbeddedServers, running_addresses
from app.adapters.postgres.addresses import asyncpg_address
from app.adapters.postgres.delivery_queue import PostgresDeliveryQueue
from app.adapters.postgres.delivery_store import PostgresOutbox
from app.adapters.postgres.event_log import PostgresEventLog
from app.adapters.postgres.execution_store import PostgresExecutionStore
from app.adapters.postgres.exports import PostgresExports
from app.adapters.postgres.leases import PostgresOracleLease, PostgresShardLeases
from app.adapters.postgres.management import PostgresUnitsOfWork, management_engine
from app.adapters.postgres.markets import Quiescence, ensure_market
from app.adapters.postgres.migrate import upgrade
from app.adapters.postgres.source_rows import PostgresListings
from app.adapters.redis_streams.announcer import RedisAnnouncer
from app.adapters.redis_streams.attempt_counts import RedisAttemptCounts, read_attempt_counts
from app.adapters.redis_streams.client import connect, refuse_evicting
from app.adapters.redis_streams.events import EventStream
from app.adapters.redis_streams.hints import hint
from app.adapters.redis_streams.market_clock import RedisMarketClock
from app.adapters.redis_streams.market_feed import RedisFrameStream, RedisMarketFeed
from app.adapters.redis_streams.market_log import RedisMarketLog
from app.adapters.redis_streams.market_reader import (
    read_clock,
    read_consensus,
    read_oracle,
    read_rejections,
    read_whole_consensus,
)
from app.adapters.redis_streams.progress import RedisProgress
from app.adapters.redis_streams.queue_wakeups import QueueWakeups
from app.adapters.redis_streams.tick_publisher import RedisTickPublisher
from app.adapters.redis_streams.tickets import RedisTickets
from app.adapters.redis_streams.wire import Replies, Wire, parsed_replies
from app.adapters.venues.paper import PaperVenue
from app.adapters.wall_clock import SystemClock
from app.adapters.webhooks.addresses import parse_networks
from app.adapters.webhooks.mail import SmtpMail
from app.adapters.webhooks.sender import HttpWebhookSender
from app.domain.errors import ConfigurationError
from app.ports.delivery import Retention
from app.ports.leases import ShardGrant
from app.ports.management import MarketNow
from app.ports.market import TickPublisher
from app.ports.sources import ReadOracle, ReadRejections
from app.ports.webhook_figures import ReadAttempts
from app.services.admit_client import Admission
from app.services.execute_adjustment import ExecuteAdjustments
from app.services.fan_out_events import Hub
from app.services.manage_webhooks import Reach
from app.services.replay_history import Lockstep
from app.services.tell_market import MarketWatches
from app.services.watch_webhooks import QueueWatch
from app.settings import Settings

if TYPE_CHECKING:
    from app.adapters.feeds import FeedChoice
    from app.ports.figures import Evaluators
    from app.services.evaluate_market import Lane
    from app.services.ingest_ticks import IngestTicks
    from app.services.publish_feed import PublishFeed
    from app.services.tell_rests import Rests
    from app.services.tell_risk import Risks

EXECUTION_LEASE = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class ApiParts:
    units: PostgresUnitsOfWork
    market: MarketNow
    evaluators: "Evaluators"
    oracle: ReadOracle
    rejections: ReadRejections
    publisher: TickPublisher
    checks: Mapping[str, Callable[[], Awaitable[object]]]
    hub: Hub
    rests: "Rests"
    risks: "Risks"
    quotes: MarketWatches
    tickets: RedisTickets
    admission: Admission
    webhook_reach: Reach
    deliveries_kept: timedelta
    attempts: ReadAttempts
    queues: QueueWatch


@dataclass(frozen=True, slots=True)
class CourierParts:
    feed: EventStream
    outbox: PostgresOutbox
    queue: PostgresDeliveryQueue
    sender: HttpWebhookSender
    mail: SmtpMail | None
    market_time: Callable[[], Awaitable[int]]
    counts: RedisAttemptCounts


class Stack:
    """Connections of one process, and the services on them. Roles take only what they need."""

    def __init__(self, settings: Settings, resources: AsyncExitStack) -> None:
        if settings.database_url is None or settings.redis_url is None:
            raise ConfigurationError(
                "set BALLAST_DATABASE_URL and BALLAST_REDIS_URL, or start everything with `ballast up`"
            )
        self.settings = settings
        self._database_url = settings.database_url
        self._redis_url = settings.redis_url
        self._resources = resources

    async def redis(self) -> "Redis":
        return await self._resources.enter_async_context(connect(self._redis_url))

    async def wire(self, replies: Callable[[], Replies] = parsed_replies) -> Wire:
        return await self._resources.enter_async_context(Wire(self._redis_url, replies))

    async def events(self) -> EventStream:
        return EventStream(reading=await self.wire(), writing=await self.wire())

    async def pool(self, *, connections: int = 8) -> Any:
        """Generic plans: the hot statements never change, and planning them costs more than running them.

        Nothing here changes a session, so a connection goes back without the round trip that would reset it;
        a transaction left open is rolled back all the same.
        """
        try:
            return await self._resources.enter_async_context(
                asyncpg.create_pool(
                    asyncpg_address(self._database_url),
                    min_size=1,
                    max_size=connections,
                    reset=_as_it_is,
                    server_settings={"plan_cache_mode": "force_generic_plan", "application_name": "ballast"},
                )
            )
        except (OSError, asyncpg.PostgresError) as error:
            raise ConfigurationError(f"PostgreSQL does not answer at BALLAST_DATABASE_URL: {error}") from None

    async def oracle(self) -> "IngestTicks":
        # Only who votes takes the compiled loops of it into memory.
        from app.adapters.redis_streams.tick_log import RedisTickLog
        from app.adapters.redis_streams.whole_replies import WholeReplies
        from app.services.ingest_ticks import IngestTicks

        pool = await self.pool(connections=3)
        await refuse_evicting(await self.redis())
        streams, wire = await self.wire(WholeReplies), await self.wire()
        return IngestTicks(
            ticks=RedisTickLog(streams, wire),
            market=RedisMarketLog(streams, wire),
            lease=PostgresOracleLease(pool, owner=f"oracle@{self.settings.instance}"),
            listings=PostgresListings(pool),
            clock=SystemClock(),
        )

    async def feed(self, choice: "FeedChoice") -> "PublishFeed":
        from app.adapters.feeds import open_feed
        from app.services.publish_feed import PublishFeed, listed_lines

        units = await self.units()
        async with units() as unit:
            lines = await listed_lines(unit, choice.instruments)
        return PublishFeed(feed=open_feed(choice, lines), publisher=await self.ticks(), clock=SystemClock())

    async def shard_leases(self) -> PostgresShardLeases:
        pool = await self.pool(connections=2)
        return PostgresShardLeases(pool, owner=f"evaluator@{self.settings.instance}")

    async def lanes(self) -> Callable[[Sequence[ShardGrant]], "Lane"]:
        # Only who decides or shows risk takes the compiled loops into memory.
        from app.adapters.postgres.evaluation_store import PostgresEvaluationStore
        from app.services.evaluate_market import Lane

        pool = await self.pool()
        await refuse_evicting(await self.redis())
        writing = await self.wire()

        def open_lane(grants: Sequence[ShardGrant]) -> Lane:
            return Lane(
                store=PostgresEvaluationStore(pool),
                feed=RedisMarketFeed(reading=Wire(self._redis_url), writing=writing),
                clock=SystemClock(),
                grants=grants,
            )

        return open_lane

    async def executor(self) -> tuple[ExecuteAdjustments, QueueWakeups]:
        redis, pool = await self.redis(), await self.pool()
        store = PostgresExecutionStore(
            pool, owner=f"executor@{self.settings.instance}", lease=EXECUTION_LEASE
        )
        work = ExecuteAdjustments(
            store=store,
            venues={"paper": PaperVenue()},
            announcer=RedisAnnouncer(await self.wire()),
            clock=RedisMarketClock(redis),
        )
        return work, QueueWakeups(await self.wire())

    async def courier(self) -> CourierParts:
        pool, settings = await self.pool(), self.settings
        sender = HttpWebhookSender(
            allowed_networks=parse_networks(settings.webhook_allowed_networks),
            ports=settings.webhook_ports,
            proxy=settings.webhook_proxy.get_secret_value() if settings.webhook_proxy else None,
        )
        retention = Retention(ended=self._deliveries_kept())
        return CourierParts(
            feed=await self.events(),
            outbox=PostgresOutbox(pool),
            queue=PostgresDeliveryQueue(pool, retention=retention),
            sender=await self._resources.enter_async_context(sender),
            mail=self._mail(),
            market_time=(await self.market()).time_ns,
            counts=RedisAttemptCounts(await self.wire()),
        )

    def _deliveries_kept(self) -> timedelta:
        return timedelta(days=self.settings.webhook_retention_days)

    def _mail(self) -> SmtpMail | None:
        url, recipient = self.settings.smtp_url, self.settings.operator_email
        if url is None or recipient is None:
            return None
        return SmtpMail(url.get_secret_value(), sender=self.settings.smtp_sender, recipient=recipient)

    async def units(self) -> PostgresUnitsOfWork:
        engine = management_engine(self._database_url)
        self._resources.push_async_callback(engine.dispose)
        wire, stream = await self.wire(), await self.events()
        return PostgresUnitsOfWork(engine, publish=stream.publish, hint=lambda ids: hint(wire, ids))

    async def api(self) -> ApiParts:
        from app.services.tell_rests import Rests  # which compute what they tell, see `lanes`
        from app.services.tell_risk import Risks

        units, redis, pool = await self.units(), await self.redis(), await self.pool()
        market, tickets = await self.market(), RedisTickets(await self.wire())
        hub = Hub(feed=await self.events(), history=PostgresEventLog(pool), market_time=market.time_ns)
        checks = {"postgres": lambda: pool.fetchval("SELECT 1"), "redis": redis.ping}
        return ApiParts(
            units=units,
            market=market,
            evaluators=await self.evaluators(),
            oracle=await self.oracle_now(),
            rejections=partial(read_rejections, redis),
            publisher=await self.ticks(),
            checks=checks,
            hub=hub,
            rests=Rests(units, market),
            risks=Risks(units, market),
            quotes=MarketWatches(units, market, RedisFrameStream(await self.wire())),
            tickets=tickets,
            admission=Admission(units, tickets),
            webhook_reach=Reach(
                self.settings.webhook_ports, opened=bool(self.settings.webhook_allowed_networks)
            ),
            deliveries_kept=self._deliveries_kept(),
            attempts=partial(read_attempt_counts, redis),
            queues=QueueWatch(units),
        )

    async def market(self) -> MarketNow:
        redis = await self.redis()
        return MarketNow(
            clock=lambda: read_clock(redis),
            values=lambda keys: read_consensus(redis, keys),
            everything=lambda: read_whole_consensus(redis),
        )

    async def oracle_now(self) -> ReadOracle:
        return partial(read_oracle, await self.redis())

    async def evaluators(self) -> "Evaluators":
        # Their figures are described beside the compiled loops.
        from app.adapters.redis_streams.evaluator_figures import read_figures

        return partial(read_figures, await self.redis())

    async def lockstep(self) -> Lockstep:
        redis, pool = await self.redis(), await self.pool(connections=2)
        return Lockstep(ticks=await self.ticks(), progress=RedisProgress(redis), books=Quiescence(pool))

    async def exports(self) -> PostgresExports:
        return PostgresExports(await self.pool(connections=1))

    async def ticks(self) -> RedisTickPublisher:
        return RedisTickPublisher(await self.wire())


async def _as_it_is(_connection: object) -> None:
    return


@asynccontextmanager
async def stack(settings: Settings) -> AsyncIterator[Stack]:
    async with AsyncExitStack() as resources:
        yield Stack(settings, resources)


async def migrate(settings: Settings) -> None:
    """The schema at head, and the market with its shards."""
    if settings.database_url is None:
        raise ConfigurationError("set BALLAST_DATABASE_URL, or start everything with `ballast up`")
    await upgrade(settings.database_url)
    async with AsyncExitStack() as resources:
        pool = await Stack(
            settings.model_copy(update={"redis_url": settings.redis_url or ""}), resources
        ).pool()
        await ensure_market(pool, clock=settings.clock, shards=settings.shards)


def embedded_servers(data_dir: Path, *, durable: bool) -> EmbeddedServers:
    return EmbeddedServers(data_dir, durable=durable)


def running_servers(settings: Settings, data_dir: Path | None) -> Settings:
    """Settings with both addresses: the operator's servers, or those that `ballast up` runs on its data."""
    if settings.database_url and settings.redis_url:
        return settings
    directory = data_dir or settings.data_dir
    found = running_addresses(directory)
    if found is None:
        raise ConfigurationError(
            f"no servers run on {directory}: start `ballast up` (--data-dir says where its data is), "
            "or set BALLAST_DATABASE_URL and BALLAST_REDIS_URL"
        )
    database_url, redis_url = found
    return settings.model_copy(
        update={
            "database_url": settings.database_url or database_url,
            "redis_url": settings.redis_url or redis_url,
        }
    )


def configure_logging(level: str) -> None:
    """JSON lines on stderr."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
