"""What `ballast` can be told."""

import asyncio
import secrets
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated
from uuid import uuid4

import typer
import uvloop

from app.bootstrap import configure_logging, migrate, running_servers, stack
from app.domain.errors import ConfigurationError, InvalidInput
from app.domain.identifiers import ApiKeyId
from app.entrypoints.cli import local
from app.entrypoints.cli.roles import ROLES, api, run_role
from app.ports.management import Scope
from app.services.manage_keys import SECRET_BYTES, create_key, ensure_tenant
from app.settings import Settings, load_settings

application = typer.Typer(
    name="ballast",
    help="Keeps leveraged crypto portfolios upright: policies are evaluated on every tick.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
keys = typer.Typer(help="API keys.", no_args_is_help=True)
application.add_typer(keys, name="keys")
sources = typer.Typer(help="The oracle's sources: what they said, and the registry that declares them.")
application.add_typer(sources, name="sources")

Host = Annotated[str, typer.Option(help="Address to listen on.")]
Port = Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")]
DataDir = Annotated[
    Path | None,
    typer.Option(help="Where embedded servers keep their data.", show_default=".ballast/data"),
]
RunningDataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        help="Data of the running `ballast up` or demo, where the environment names no servers.",
        show_default=".ballast/data",
    ),
]
Evaluators = Annotated[int, typer.Option(min=1, max=64, help="How many evaluator processes.")]
_SPEAKS_FOR_NOBODY = (
    "the registry names {tenant} as the publisher of no source: until it does (`ballast sources apply`), "
    "the key can send signed ticks only"
)


@application.command("migrate")
def migrate_command() -> None:
    """Bring the database's schema up to date and create the market. May be repeated."""
    settings = load_settings()
    configure_logging(settings.log_level)
    asyncio.run(migrate(settings))
    typer.echo("the database is up to date", err=True)


@application.command("compile")
def compile_command() -> None:
    """Compile the numeric loops for this machine now, instead of when a role first starts."""
    from app.adapters.postgres import copied
    from app.adapters.redis_streams import tick_reply
    from app.engine.warm_up import warm_up
    from app.oracle import warm_up as oracle

    warm_up()
    copied.warm_up()
    oracle.warm_up()
    tick_reply.warm_up()
    typer.echo("the numeric loops are compiled", err=True)


@keys.command("create")
def keys_create(
    tenant: Annotated[str, typer.Option(help="The tenant's name; created when it is new.")],
    name: Annotated[str, typer.Option(help="What the key is for.")] = "command line",
    scope: Annotated[
        list[Scope] | None,
        typer.Option(help="What it may do; repeat for several.", show_default="read, trade"),
    ] = None,
    data_dir: RunningDataDir = None,
) -> None:
    """Create an API key and print it. It is shown once: only its hash is stored."""
    settings = running_servers(load_settings(), data_dir)
    typer.echo(asyncio.run(_create_key(settings, tenant, name, scope or [Scope.READ, Scope.TRADE])))


async def _create_key(settings: Settings, tenant: str, name: str, scopes: list[Scope]) -> str:
    async with stack(settings) as connected:
        units = await connected.units()
        async with units() as unit:
            declared = await unit.sources.declared()
            if Scope.TICKS in scopes and tenant not in {each.publisher for each in declared.sources.values()}:
                typer.echo(_SPEAKS_FOR_NOBODY.format(tenant=tenant), err=True)
            tenant_id = await ensure_tenant(unit, tenant)
            _, token = await create_key(
                unit,
                tenant_id=tenant_id,
                key_id=ApiKeyId(uuid4()),
                name=name,
                scopes=scopes,
                secret=secrets.token_bytes(SECRET_BYTES),
            )
    return token


@application.command("api")
def api_command(host: Host = "127.0.0.1", port: Port = 8000) -> None:
    """The role that serves HTTP and WebSocket."""
    run_role(api(host=host, port=port), load_settings())


@application.command("oracle")
def oracle_command() -> None:
    """The role that turns ticks into the one market stream; a second one stands by."""
    run_role(ROLES["oracle"], load_settings())


@application.command("evaluator")
def evaluator_command() -> None:
    """The role that evaluates every policy on every frame; several share the shards."""
    run_role(ROLES["evaluator"], load_settings())


@application.command("executor")
def executor_command() -> None:
    """The role that has venues execute approved and automatic adjustments."""
    run_role(ROLES["executor"], load_settings())


@application.command("courier")
def courier_command() -> None:
    """The role that delivers signed webhooks."""
    run_role(ROLES["courier"], load_settings())


@application.command("feed")
def feed_command(
    name: Annotated[
        str, typer.Argument(help="pyth, chainlink, uniswap, or an exchange as ccxt calls it (deribit, …).")
    ],
    instruments: Annotated[
        str,
        typer.Option(
            help="Listed instruments, with the source's own names where they differ: OURS=THEIRS,…",
        ),
    ],
    source: Annotated[
        str | None, typer.Option(help="Id of the source.", show_default="the feed's name")
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(help="Where the source is, if not at its usual place; or BALLAST_FEED_URL."),
    ] = None,
    quote: Annotated[
        str | None,
        typer.Option(help="Currency that the source is declared to quote in, if not the instruments' own."),
    ] = None,
    poll: Annotated[bool, typer.Option("--poll", help="Ask over REST instead of a WebSocket.")] = False,
    every: Annotated[
        float | None,
        typer.Option(
            min=0.05, max=20, help="Seconds between two questions, where any are asked.", show_default="2"
        ),
    ] = None,
    window: Annotated[
        int | None,
        typer.Option(min=1, help="Seconds of a time-weighted average (uniswap).", show_default="300"),
    ] = None,
    data_dir: RunningDataDir = None,
) -> None:
    """Publish a source's prices into the tick stream, and come back when its connection is lost.

    A key that the source wants is taken from BALLAST_FEED_TOKEN.
    """
    from app.adapters.feeds import FeedChoice
    from app.entrypoints.cli.feed import feed, parse_instruments

    settings = running_servers(load_settings(), data_dir)
    choice = FeedChoice(
        name=name,
        instruments=parse_instruments(instruments),
        source=source or name,
        url=url or settings.feed_url,
        token=settings.feed_token.get_secret_value() if settings.feed_token else None,
        quote=quote,
        poll=poll,
        every=timedelta(seconds=every) if every else None,
        window=timedelta(seconds=window) if window else None,
    )
    run_role(feed(choice), settings)


@application.command("up")
def up_command(
    evaluators: Evaluators = 1, host: Host = "127.0.0.1", port: Port = 8000, data_dir: DataDir = None
) -> None:
    """All five roles on this machine, on embedded servers or on those that the environment names."""
    settings = load_settings()
    configure_logging(settings.log_level)
    uvloop.run(local.up(settings, evaluators=evaluators, host=host, port=port, data_dir=data_dir))


@application.command("demo")
def demo_command(
    duration: Annotated[
        float | None, typer.Option(min=1.0, help="End by itself after so many seconds, with a summary.")
    ] = None,
    port: Port = 8000,
    data_dir: Annotated[Path, typer.Option(help="Where the demo keeps its data.")] = Path(".ballast/demo"),
    screenshot: Annotated[Path | None, typer.Option(help="Save the last screen as an SVG.")] = None,
) -> None:
    """The whole service on a simulated market, with a WebSocket client and a webhook receiver watching."""
    from app.entrypoints.cli import demo

    if screenshot and not screenshot.parent.is_dir():
        raise InvalidInput(f"no directory {screenshot.parent} for the screenshot")
    configure_logging("error")
    settings = load_settings()
    nothing_lost = uvloop.run(
        demo.run(settings, duration=duration, port=port, data_dir=data_dir, screenshot=screenshot)
    )
    if not nothing_lost:
        typer.echo("events were lost on their way: the roles' words are in roles.log", err=True)
        raise typer.Exit(1)


@application.command("replay")
def replay_command(
    file: Annotated[Path, typer.Argument(help="Bars or ticks: CSV, CSV.gz or Parquet.")],
    speed: Annotated[
        str, typer.Option(help="So many times the recorded pace, or `max`: in lock step with the service.")
    ] = "max",
    scenario: Annotated[
        Path | None,
        typer.Option(help="Portfolios and policies (YAML): runs on a service of its own, started for it."),
    ] = None,
    start: Annotated[datetime | None, typer.Option(help="Leave out what came before (UTC).")] = None,
    end: Annotated[datetime | None, typer.Option(help="Leave out what comes from here on (UTC).")] = None,
    instrument: Annotated[str | None, typer.Option(help="Name of the instrument, for files of bars.")] = None,
    evaluators: Evaluators = 1,
    data_dir: Annotated[Path | None, typer.Option(help="Keep the scenario's data here.")] = None,
    export: Annotated[Path | None, typer.Option(help="Write the scenario's export to this file.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the outcome as one JSON line.")] = False,
) -> None:
    """Publish recorded market data into the tick stream of a service that runs on the replay clock."""
    from app.entrypoints.cli import replay

    options = replay.Options(
        file=file,
        speed=replay.parse_speed(speed),
        start=replay.as_utc(start),
        end=replay.as_utc(end),
        instrument=instrument,
        evaluators=evaluators,
        data_dir=data_dir,
        export=export,
        as_json=json,
    )
    if not file.is_file():
        raise InvalidInput(f"no file {file}")
    configure_logging("error")
    if scenario is None:
        uvloop.run(replay.into_running_service(load_settings(), options))
        return
    if not scenario.is_file():
        raise InvalidInput(f"no scenario {scenario}")
    uvloop.run(replay.with_scenario(load_settings(), options, scenario.read_text(encoding="utf-8")))


@application.command("export")
def export_command(data_dir: RunningDataDir = None) -> None:
    """Print decisions, adjustments, fills, positions and balances as JSON lines, in canonical order."""
    asyncio.run(_export(running_servers(load_settings(), data_dir)))


async def _export(settings: Settings) -> None:
    async with stack(settings) as connected:
        async for line in (await connected.exports()).lines():
            sys.stdout.write(line + "\n")


@application.command("status")
def status_command(data_dir: RunningDataDir = None) -> None:
    """Print what the evaluators hold, how much of it is awake, and what its columns take."""
    from app.entrypoints.cli import status

    asyncio.run(status.show(running_servers(load_settings(), data_dir)))


@sources.callback(invoke_without_command=True)
def sources_show(context: typer.Context, data_dir: RunningDataDir = None) -> None:
    """Print every source's last words, what they weigh, who was refused and why, and what came of them."""
    from app.entrypoints.cli import sources

    if context.invoked_subcommand is None:
        asyncio.run(sources.show(running_servers(load_settings(), data_dir)))


@sources.command("apply")
def sources_apply(
    file: Annotated[Path, typer.Argument(help="The whole registry (YAML): what it leaves out goes.")],
    data_dir: RunningDataDir = None,
) -> None:
    """Make the registry what the file says, and print the difference. The oracle follows within seconds."""
    from app.entrypoints.cli import sources
    from app.services.declare_sources import parse_registry

    if not file.is_file():
        raise InvalidInput(f"no file {file}")
    registry = parse_registry(file.read_text(encoding="utf-8"))
    asyncio.run(sources.apply(running_servers(load_settings(), data_dir), registry))


@application.command("openapi")
def openapi_command(
    directory: Annotated[Path, typer.Option(help="The checkout whose documents they are.")] = Path(),
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; fail when they are not up to date.")
    ] = False,
) -> None:
    """Write openapi/ and docs/events.md, as the code says they are."""
    from app.entrypoints.cli import documents

    stale = documents.stale(directory) if check else documents.write(directory)
    if check and stale:
        raise ConfigurationError(f"out of date: {', '.join(stale)}; run `ballast openapi`")
