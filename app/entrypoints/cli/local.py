"""Everything on one machine: servers, schema, roles."""

import asyncio
import shlex
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import typer

from app.bootstrap import embedded_servers, migrate
from app.domain.errors import ConfigurationError
from app.entrypoints.cli.supervise import Supervisor, parts
from app.settings import Settings


@asynccontextmanager
async def servers(
    settings: Settings, data_dir: Path | None, *, durable: bool = True
) -> AsyncIterator[Settings]:
    """Settings with both addresses: the operator's servers, or embedded ones for what is not set."""
    if settings.database_url and settings.redis_url:
        yield settings
        return
    directory = data_dir or settings.data_dir
    directory.mkdir(parents=True, exist_ok=True)
    async with embedded_servers(directory, durable=durable) as running:
        yield settings.model_copy(
            update={
                "database_url": settings.database_url or running.database_url,
                "redis_url": settings.redis_url or running.redis_url,
            }
        )


def environment(settings: Settings) -> dict[str, str]:
    """For the roles' processes."""
    return {
        "BALLAST_DATABASE_URL": settings.database_url or "",
        "BALLAST_REDIS_URL": settings.redis_url or "",
        "BALLAST_CLOCK": settings.clock,
        "BALLAST_LOG_LEVEL": settings.log_level,
        "BALLAST_WEBHOOK_ALLOWED_NETWORKS": ",".join(settings.webhook_allowed_networks),
        "BALLAST_STREAM_ALLOWED_ORIGINS": ",".join(settings.stream_allowed_origins),
    }


def stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def check_port(host: str, port: int) -> None:
    """Told before anything starts: an API that finds its port taken would be started again for ever."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the API's own socket will
        try:
            probe.bind((host, port))
        except OSError as error:
            reason = f"cannot listen on {host}:{port} ({error.strerror})"
            raise ConfigurationError(f"{reason}: choose another --port") from error


async def up(settings: Settings, *, evaluators: int, host: str, port: int, data_dir: Path | None) -> None:
    check_port(host, port)
    stop = stop_on_signals()
    async with servers(settings, data_dir) as ready:
        await migrate(ready)
        _tell(settings, ready, f"http://{host}:{port}")
        supervisor = Supervisor(environment(ready))
        await supervisor.run(parts(evaluators=evaluators, host=host, port=port), stop)


def _tell(settings: Settings, ready: Settings, address: str) -> None:
    """Where everything is; of servers that the operator has not named, ready to paste."""
    typer.echo(f"API   {address}\nDocs  {address}/docs", err=True)
    for name in ("database_url", "redis_url"):
        if not getattr(settings, name):
            typer.echo(f"export BALLAST_{name.upper()}={shlex.quote(getattr(ready, name))}", err=True)
    typer.echo("Ctrl-C stops", err=True)
