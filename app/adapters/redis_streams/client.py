"""Connections to Redis, and stream replies without the detours.

Blocking reads stay below the socket time-out and are never retried by the client: the reader's loop is the
retry (redis-py would otherwise report an idle stream as an error).
"""

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError

from app.domain.errors import ConfigurationError

BLOCK_MS = 1_000
SOCKET_TIMEOUT_SECONDS = 10.0

Entry = tuple[bytes, list[bytes]]


def connect(url: str) -> "Redis":
    """`redis://`, `rediss://` or `unix://`. Bytes in and out."""
    client = Redis.from_url(
        url,
        decode_responses=False,
        protocol=2,
        socket_timeout=SOCKET_TIMEOUT_SECONDS,
        socket_connect_timeout=5.0,
        health_check_interval=0,
        retry=Retry(NoBackoff(), 0),
    )
    for command in ("XREAD", "XRANGE", "XREVRANGE"):
        client.response_callbacks.pop(command, None)
    return client


class Commands(Protocol):
    async def execute_command(self, *command: Any) -> Any: ...


async def read_stream(
    client: Commands, cursors: dict[str, str], *, count: int, block_ms: int | None = BLOCK_MS
) -> dict[str, list[Entry]]:
    """New entries after each cursor, by stream; an idle stream gives nothing."""
    reply = await client.execute_command(*stream_command(cursors, count=count, block_ms=block_ms))
    return {name.decode(): entries for name, entries in reply} if reply else {}


def stream_command(cursors: dict[str, str], *, count: int, block_ms: int | None = BLOCK_MS) -> list[Any]:
    blocking = () if block_ms is None else ("BLOCK", block_ms)
    return ["XREAD", "COUNT", count, *blocking, "STREAMS", *cursors.keys(), *cursors.values()]


async def read_range(client: Commands, stream: str, start: str, end: str, *, count: int) -> list[Entry]:
    reply: list[Entry] = await client.execute_command("XRANGE", stream, start, end, "COUNT", count)
    return reply


async def newest_entry(client: Commands, stream: str) -> str:
    """Its id; `0-0` for a stream that is empty or was flushed."""
    newest = await client.execute_command("XREVRANGE", stream, "+", "-", "COUNT", 1)
    return str(newest[0][0].decode()) if newest else "0-0"


def fields(flat: list[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """A raw entry's fields, duplicates included."""
    return zip(flat[::2], flat[1::2], strict=True)


def newest_id(entries: Iterable[Entry], default: str) -> str:
    last = default
    for entry_id, _ in entries:
        last = entry_id.decode()
    return last


async def refuse_evicting(client: "Redis") -> None:
    """A Redis that evicts under memory pressure would take whole streams with it."""
    try:
        policy = (await client.config_get("maxmemory-policy")).get("maxmemory-policy", "noeviction")
    except ResponseError:
        return  # managed services may forbid CONFIG
    if policy not in ("noeviction", b"noeviction"):
        raise ConfigurationError(f"Redis evicts keys (maxmemory-policy {policy}); set it to noeviction")
