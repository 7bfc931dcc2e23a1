"""Brings a database to a revision of the schema, from wherever the command is run.

`migrations/` lies beside the package `app`, in a checkout as in site-packages: no alembic.ini is read.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

import app
from app.adapters.postgres.addresses import sqlalchemy_address

MIGRATIONS: Final = Path(app.__file__).resolve().parent.parent / "migrations"
_LOCK: Final = 0x62616C6C617374  # "ballast"; every migrator of one database takes it


async def upgrade(url: str, revision: str = "head") -> None:
    """Apply what is missing, all of it or nothing; a second migrator waits and then finds nothing to do."""
    await run_alembic(url, lambda config: command.upgrade(config, revision))


async def downgrade(url: str, revision: str) -> None:
    """Take back to `revision`; `base` leaves an empty schema. What the tables held is gone."""
    await run_alembic(url, lambda config: command.downgrade(config, revision))


async def run_alembic(url: str, act: Callable[[Config], None]) -> None:
    """Do something with Alembic in one transaction, alone on that database."""

    def run(connection: Connection) -> None:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        config.attributes["connection"] = connection
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        act(config)

    engine = create_async_engine(sqlalchemy_address(url), poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(run)
    finally:
        await engine.dispose()
