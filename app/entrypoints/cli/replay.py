"""`ballast replay`: a recorded market, into a running service or into one started for a scenario."""

import asyncio
import json
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import Progress, TaskID

from app.bootstrap import Stack, migrate, stack
from app.domain.errors import InvalidInput
from app.domain.identifiers import PortfolioId, TenantId
from app.engine.rounding import metric_text
from app.entrypoints.cli import local
from app.entrypoints.cli.supervise import Supervisor, parts
from app.lab.history import first_prices, read_ticks, survey, with_heartbeats
from app.services.declared_series import DeclaredSeries, with_series
from app.services.load_scenario import load_scenario, parse_scenario
from app.services.replay_history import paced
from app.services.show_risk import show_equity_with_reserve, show_risk
from app.settings import Settings

HEARTBEAT = timedelta(minutes=1)
TENANT = "replay"


@dataclass(frozen=True, slots=True)
class Options:
    """`speed` None is lock step."""

    file: Path
    speed: float | None
    start: datetime | None
    end: datetime | None
    instrument: str | None
    evaluators: int
    data_dir: Path | None
    export: Path | None
    as_json: bool


def parse_speed(text: str) -> float | None:
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0.0 < speed < 1e9:
        raise InvalidInput(f"--speed must be a positive number or max, not {text!r}")
    return speed


def as_utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment and moment.tzinfo is None else moment


async def into_running_service(settings: Settings, options: Options) -> None:
    async with stack(settings) as connected:
        count = await _publish(connected, options)
    typer.echo(json.dumps({"entries": count}))


async def with_scenario(settings: Settings, options: Options, text: str) -> None:
    """On embedded servers of its own, or on the operator's when both are set; the five roles run for real."""
    scenario = parse_scenario(text)
    prices = first_prices(options.file, instrument=options.instrument, start=options.start, end=options.end)
    own = settings.model_copy(update={"clock": "replay", "log_level": "warning"})
    async with AsyncExitStack() as running:
        directory = options.data_dir or Path(running.enter_context(tempfile.TemporaryDirectory()))
        kept = options.data_dir is not None
        ready = await running.enter_async_context(local.servers(own, directory, durable=kept))
        await migrate(ready)
        connected = await running.enter_async_context(stack(ready))
        units = await connected.units()
        async with units() as unit:
            loaded = await load_scenario(unit, TENANT, scenario, prices)
        await running.enter_async_context(_roles(ready, options.evaluators, directory))
        count = await _publish(connected, options, scenario.series)
        outcome = {
            "file": options.file.name,
            "entries": count,
            "first_prices": {name: metric_text(value) for name, value in prices.items()},
            "portfolios": {
                name: await _outcome(connected, loaded.tenant_id, key)
                for name, key in loaded.portfolios.items()
            },
        }
        if options.export:
            lines = [line async for line in (await connected.exports()).lines()]
            options.export.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    typer.echo(json.dumps(outcome) if options.as_json else json.dumps(outcome, indent=2))


@asynccontextmanager
async def _roles(settings: Settings, evaluators: int, directory: Path) -> AsyncIterator[None]:
    stop = asyncio.Event()
    with (directory / "roles.log").open("ab") as log:
        supervisor = Supervisor(local.environment(settings), log=log)
        wanted = parts(evaluators=evaluators, host="127.0.0.1", port=free_port())
        task = asyncio.create_task(supervisor.run(wanted, stop))
        try:
            yield
        finally:
            stop.set()
            await task


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _publish(connected: Stack, options: Options, series: Sequence[DeclaredSeries] = ()) -> int:
    recording = survey(options.file, instrument=options.instrument)
    recorded = read_ticks(options.file, instrument=options.instrument, start=options.start, end=options.end)
    entries = with_heartbeats(with_series(recorded, series), every=HEARTBEAT)
    with Progress(console=Console(file=sys.stderr), disable=not sys.stderr.isatty()) as progress:
        total = recording.entries if options.start is None and options.end is None else None
        task: TaskID = progress.add_task(options.file.name, total=total)

        def published(count: int) -> None:
            progress.update(task, completed=count)

        if options.speed is None:
            lockstep = await connected.lockstep()
            return await lockstep.run(entries, published=published)
        ticks = await connected.ticks()
        return await paced(ticks, entries, speed=options.speed, published=published)


async def _outcome(connected: Stack, tenant_id: TenantId, portfolio_id: PortfolioId) -> dict[str, Any]:
    """How it ended, and what it took."""
    parts_of_api = await connected.api()
    units, market = parts_of_api.units, parts_of_api.market
    _, risk = await show_risk(units, market, tenant_id, portfolio_id)
    with_reserve = await show_equity_with_reserve(units, market, tenant_id, portfolio_id)
    counts = await (await connected.exports()).counts(portfolio_id)
    return {
        "outcome": "liquidated" if counts["liquidations"] else "solvent",
        "equity": metric_text(risk.equity),
        "equity_with_reserve": metric_text(with_reserve),
        "margin_ratio": metric_text(risk.margin_ratio),
        "leverage": metric_text(risk.leverage),
        **counts,
    }
