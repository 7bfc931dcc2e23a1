"""`ballast demo`: the whole service on a simulated market, watched from outside.

Two recorders in processes of their own, a WebSocket client and a webhook receiver, write down what reaches
them; at the end both are compared with the database.
"""

import asyncio
import json
import secrets
import signal
import sys
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import typer
from rich.live import Live

from app.adapters.embedded import leashed
from app.adapters.postgres.exports import PostgresExports
from app.adapters.redis_streams.market_feed import RedisMarketFeed
from app.adapters.redis_streams.market_reader import read_clock
from app.bootstrap import ApiParts, Stack, migrate, stack
from app.domain.errors import Unavailable
from app.domain.identifiers import ApiKeyId, EndpointId
from app.domain.market import ORIGIN, TickKind
from app.engine.risk import RiskReport
from app.entrypoints.cli import local
from app.entrypoints.cli.demo_screen import Screen, save_picture, screen
from app.entrypoints.cli.replay import free_port
from app.entrypoints.cli.supervise import Supervisor, parts
from app.lab.demo_market import DemoMarket, default_feeds
from app.lab.demo_scenario import demo_scenario, option_feeds
from app.ports.management import Scope
from app.ports.webhooks import EndpointTerms
from app.services.load_scenario import LoadedScenario, Scenario, load_scenario
from app.services.manage_keys import SECRET_BYTES, create_key
from app.services.manage_webhooks import create_endpoint
from app.services.pacing import pause
from app.services.show_risk import show_risk
from app.settings import Settings

TENANT = "demo"
SEED = 7
INTERVAL_SECONDS = 0.1
REFRESH_SECONDS = 0.5
DRAIN_SECONDS = 30.0
WEBHOOK_SECRET_BYTES = 32


@dataclass(slots=True)
class Observed:
    """What the demo itself has seen; latencies come from here and from the WebSocket client's record."""

    published: dict[str, int] = field(default_factory=dict)
    entries: dict[str, str] = field(default_factory=dict)
    ticks: int = 0
    prices: dict[str, float] = field(default_factory=dict)
    risks: dict[str, RiskReport] = field(default_factory=dict)
    adjustments: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=12))


@dataclass(frozen=True, slots=True)
class Demo:
    connected: Stack
    parts: ApiParts
    scenario: LoadedScenario
    token: str
    address: str
    directory: Path
    heads: dict[str, int]
    before: dict[str, int]


async def run(
    settings: Settings, *, duration: float | None, port: int, data_dir: Path, screenshot: Path | None
) -> bool:
    """Whether everything that was stored arrived at both ends."""
    local.check_port("127.0.0.1", port)
    stop = local.stop_on_signals()
    own = settings.model_copy(
        update={
            "log_level": "warning",
            "clock": "live",
            "webhook_allowed_networks": ("127.0.0.0/8",),
        }
    )
    observed = Observed()
    async with AsyncExitStack() as running:
        typer.echo("starting servers and roles …", err=True)
        ready = await running.enter_async_context(local.servers(own, data_dir))
        await migrate(ready)
        connected = await running.enter_async_context(stack(ready))
        demo = await _prepare(connected, data_dir, f"http://127.0.0.1:{port}")
        stop_roles = asyncio.Event()
        log = running.enter_context((data_dir / "roles.log").open("ab"))
        supervisor = Supervisor(local.environment(ready), log=log)
        await running.enter_async_context(_recorders(demo))  # they listen before anybody speaks
        roles = asyncio.create_task(
            supervisor.run(parts(evaluators=1, host="127.0.0.1", port=port), stop_roles)
        )
        try:
            await _until_ready(demo)
            stored = await _watch(demo, observed, duration, stop)
            summary = await _summary(demo, observed, stored)
            if screenshot:
                save_picture(await _screen_now(demo, observed, await connected.exports()), screenshot)
        finally:
            stop_roles.set()
            await roles
    typer.echo(json.dumps(summary))
    return not summary["lost"]


async def _prepare(connected: Stack, directory: Path, address: str) -> Demo:
    """Tenant, key, instruments, portfolios, policies and a webhook endpoint; what is there is left alone."""
    document = demo_scenario(datetime.now(UTC).date())
    parts_of_api = await connected.api()
    key_file, secret_file = directory / "api-key", directory / "webhook-secret"
    receiver = free_port()
    async with parts_of_api.units() as unit:
        loaded = await load_scenario(unit, TENANT, Scenario.model_validate(document))
        if not key_file.exists():
            _, token = await create_key(
                unit,
                tenant_id=loaded.tenant_id,
                key_id=ApiKeyId(uuid4()),
                name="demo",
                scopes=[Scope.READ, Scope.TRADE],
                secret=secrets.token_bytes(SECRET_BYTES),
            )
            _write_secret(key_file, token)
        for old in await unit.webhooks.all(loaded.tenant_id):
            await unit.webhooks.delete(loaded.tenant_id, old.id)
        _, secret = await create_endpoint(
            unit,
            loaded.tenant_id,
            EndpointId(uuid4()),
            EndpointTerms(f"http://127.0.0.1:{receiver}/", "the demo's own receiver"),
            secret=secrets.token_bytes(WEBHOOK_SECRET_BYTES),
            reach=parts_of_api.webhook_reach,
        )
        _write_secret(secret_file, secret)
    (directory / "receiver-port").write_text(str(receiver), encoding="utf-8")
    exports = await connected.exports()
    return Demo(
        connected=connected,
        parts=parts_of_api,
        scenario=loaded,
        token=key_file.read_text(encoding="utf-8"),
        address=address,
        directory=directory,
        heads=await exports.heads(loaded.tenant_id),
        before=await exports.totals(loaded.tenant_id),
    )


def _write_secret(path: Path, secret: str) -> None:
    path.touch(mode=0o600)
    path.write_text(secret, encoding="utf-8")


async def _until_ready(demo: Demo) -> None:
    """The market has a frame, and every shard stands at one."""
    lockstep = await demo.connected.lockstep()
    deadline = time.monotonic() + DRAIN_SECONDS
    while time.monotonic() < deadline:
        if await lockstep.is_at_rest():
            return
        await asyncio.sleep(REFRESH_SECONDS / 5)
    raise Unavailable(f"the roles did not start; their log is {demo.directory / 'roles.log'}")


@asynccontextmanager
async def _recorders(demo: Demo) -> AsyncIterator[None]:
    """Both ends, in processes of their own."""
    directory = demo.directory
    url = demo.address.replace("http", "ws") + "/v1/stream"
    port = (directory / "receiver-port").read_text(encoding="utf-8")
    options = (
        {"--url": url, "--key-file": directory / "api-key", "--out": directory / "websocket.jsonl"},
        {
            "--port": port,
            "--secret-file": directory / "webhook-secret",
            "--out": directory / "webhooks.jsonl",
        },
    )
    commands = [
        [kind, *(str(word) for option in given.items() for word in option)]
        for kind, given in zip(("websocket", "webhook"), options, strict=True)
    ]
    processes = [
        await asyncio.create_subprocess_exec(
            *leashed([sys.executable, "-m", "app.lab.recorders", *command], signal.SIGTERM),
            start_new_session=True,
        )
        for command in commands
    ]
    try:
        await _accepts(int(port))
        yield
    finally:
        for process in processes:
            if process.returncode is None:
                process.terminate()
            await process.wait()


async def _accepts(port: int) -> None:
    """Until somebody listens there."""
    deadline = time.monotonic() + DRAIN_SECONDS
    while time.monotonic() < deadline:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(REFRESH_SECONDS / 5)
        else:
            writer.close()
            return
    raise Unavailable("the demo's receiver of webhooks did not start")


async def _watch(
    demo: Demo, observed: Observed, duration: float | None, stop: asyncio.Event
) -> set[tuple[str, int]]:
    """Publishes and shows until the time is over or Ctrl-C; gives the events that had to arrive."""
    typer.echo(f"API  {demo.address}\nDocs {demo.address}/docs\nKey  {demo.token}", err=True)
    ending = asyncio.Event()
    tasks = [
        asyncio.create_task(_publish(demo, observed, ending)),
        asyncio.create_task(_follow_market(demo, observed)),
        asyncio.create_task(_show(demo, observed)),
    ]
    waiting = asyncio.create_task(pause(stop, duration if duration is not None else 10 * 365 * 86_400.0))
    await asyncio.wait({waiting, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    ending.set()
    await tasks[0]
    stored = await _drain(demo)
    for task in tasks[1:]:
        task.cancel()
    await asyncio.gather(*tasks[1:], return_exceptions=True)
    return stored


async def _publish(demo: Demo, observed: Observed, ending: asyncio.Event) -> None:
    """The simulated market, one packed entry every tenth of a second."""
    ticks = await demo.connected.ticks()
    feeds = default_feeds(options=option_feeds(demo_scenario(datetime.now(UTC).date())))
    done_file = demo.directory / "steps-done"
    steps = int(done_file.read_text(encoding="utf-8")) if done_file.exists() else 0
    market = DemoMarket(SEED, feeds=feeds, steps_done=steps)
    while not ending.is_set():
        began_ns = time.time_ns()
        step = market.step(began_ns)
        done_file.write_text(str(market.steps_done), encoding="utf-8")
        published_ns = time.time_ns()
        observed.published[await ticks.publish(step)] = published_ns
        observed.ticks += len(step)
        await pause(ending, max(0.0, INTERVAL_SECONDS - (time.time_ns() - began_ns) / 1e9))


async def _follow_market(demo: Demo, observed: Observed) -> None:
    redis = await demo.connected.redis()
    feed = RedisMarketFeed(reading=await demo.connected.wire(), writing=await demo.connected.wire())
    try:
        position, _ = await read_clock(redis)
    except Unavailable:
        position = ORIGIN
    await feed.seek(position)
    while True:
        for frame in (await feed.read(count=1_000, block_ms=500)).frames:
            observed.entries[frame.position.entry_id] = frame.entry
            for change in frame.changes:
                if change.kind is TickKind.PRICE:
                    observed.prices[change.instrument] = change.value


async def _show(demo: Demo, observed: Observed) -> None:
    """In a terminal, live; elsewhere nothing: the summary says it all."""
    if not sys.stderr.isatty():
        await asyncio.Event().wait()
    exports = await demo.connected.exports()
    with Live(refresh_per_second=4, screen=False) as live:
        while True:
            live.update(screen(await _screen_now(demo, observed, exports)))
            await asyncio.sleep(REFRESH_SECONDS)


async def _screen_now(demo: Demo, observed: Observed, exports: PostgresExports) -> Screen:
    tenant_id = demo.scenario.tenant_id
    for name, portfolio_id in demo.scenario.portfolios.items():
        _, risk = await show_risk(demo.parts.units, demo.parts.market, tenant_id, portfolio_id)
        observed.risks[name] = risk
    totals = await exports.totals(tenant_id)
    webhooks = _lines(demo.directory / "webhooks.jsonl")
    return Screen(
        address=demo.address,
        key=demo.token,
        prices=observed.prices,
        risks=observed.risks,
        adjustments=await exports.latest_adjustments(tenant_id),
        counts={name: totals[name] - demo.before[name] for name in totals},
        ticks=observed.ticks,
        webhooks=len(webhooks),
        verified=sum(bool(line["verified"]) for line in webhooks),
    )


async def _drain(demo: Demo) -> set[tuple[str, int]]:
    """Waits for the executor to finish and for both ends to have heard of every event, up to a limit.

    The market's clock goes on, and with it come further events; those stored by now are the ones to compare.
    """
    lockstep, exports = await demo.connected.lockstep(), await demo.connected.exports()
    deadline = time.monotonic() + DRAIN_SECONDS
    while True:
        settled, stored = await lockstep.has_settled(), await _new_events(demo, exports)
        arrived = all(stored <= _received(demo, end).keys() for end in ("websocket", "webhooks"))
        if (settled and arrived) or time.monotonic() > deadline:
            return stored
        await asyncio.sleep(REFRESH_SECONDS / 2)


async def _new_events(demo: Demo, exports: PostgresExports) -> set[tuple[str, int]]:
    numbers = await exports.events(demo.scenario.tenant_id)
    return {(key, sequence) for key, sequence in numbers if sequence > demo.heads.get(key, 0)}


def _received(demo: Demo, end: str) -> Counter[tuple[str, int]]:
    """Events of this run, each with how often it came; of webhooks only those whose signature verified."""
    return Counter(
        (line["portfolio_id"], line["sequence"])
        for line in _lines(demo.directory / f"{end}.jsonl")
        if line["sequence"] > demo.heads.get(line["portfolio_id"], 0) and line["verified"] is not False
    )


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    whole = path.read_text(encoding="utf-8").rpartition("\n")[0]
    return [json.loads(line) for line in whole.splitlines()]


async def _summary(demo: Demo, observed: Observed, stored: set[tuple[str, int]]) -> dict[str, Any]:
    """The three ends compared: database, WebSocket client, webhook receiver.

    What was stored must have arrived, and what arrived must be stored; the latter is looked up afterwards.
    """
    exports = await demo.connected.exports()
    websocket, webhooks = _received(demo, "websocket"), _received(demo, "webhooks")
    known = await _new_events(demo, exports)
    totals = await exports.totals(demo.scenario.tenant_id)
    lost = len(stored - websocket.keys()) + len(stored - webhooks.keys())
    lost += len((websocket.keys() | webhooks.keys()) - known)
    duplicated = sum(count - 1 for end in (websocket, webhooks) for count in end.values())
    latencies = _latencies(demo, observed)
    return {
        "market": "simulated",
        "ticks": observed.ticks,
        "decisions": totals["decisions"] - demo.before["decisions"],
        "adjustments": totals["adjustments"] - demo.before["adjustments"],
        "events": len(stored),
        "websocket_events": len(stored & websocket.keys()),
        "webhooks_verified": len(stored & webhooks.keys()),
        "tick_to_websocket_p50_ms": _percentile(latencies, 50),
        "tick_to_websocket_p99_ms": _percentile(latencies, 99),
        "lost": lost,
        "duplicated": duplicated,
    }


def _latencies(demo: Demo, observed: Observed) -> list[float]:
    """Milliseconds from publishing the tick to the client having read the event that it caused."""
    found = []
    for line in _lines(demo.directory / "websocket.jsonl"):
        fresh = line["sequence"] > demo.heads.get(line["portfolio_id"], 0)
        decided = line["type"] in ("adjustment.recommended", "adjustment.queued")
        if not (fresh and decided):
            continue
        entry = observed.entries.get(line["market_position"] or "", "")
        if entry in observed.published:
            found.append((line["wall_ns"] - observed.published[entry]) / 1e6)
    return found


def _percentile(values: Sequence[float], rank: float) -> float | None:
    return round(float(np.percentile(values, rank)), 3) if values else None
