"""The servers Ballast carries with it: PostgreSQL and Redis from pip alone, on a data directory."""

from app.adapters.embedded.databases import create_database, drop_database
from app.adapters.embedded.errors import (
    DataDirectoryInUse,
    EmbeddedServerError,
    ServerBinaryMissing,
    ServerStartFailed,
)
from app.adapters.embedded.postgres import EmbeddedPostgres
from app.adapters.embedded.processes import leashed
from app.adapters.embedded.redis import EmbeddedRedis
from app.adapters.embedded.servers import EmbeddedServers, running_addresses

__all__ = [
    "DataDirectoryInUse",
    "EmbeddedPostgres",
    "EmbeddedRedis",
    "EmbeddedServerError",
    "EmbeddedServers",
    "ServerBinaryMissing",
    "ServerStartFailed",
    "create_database",
    "drop_database",
    "leashed",
    "running_addresses",
]
