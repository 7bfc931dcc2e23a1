"""What an idle connection costs: resident memory of the process, before and with very many."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.drivers.book import Book, store_book
from bench.drivers.listening import Listeners
from bench.drivers.ours import RESTS
from bench.drivers.service import ballast
from bench.processes import Child, children

_FIRST = 200
"""Connections that are not counted: with them the process has what it needs once."""


def ours(directory: Path, clients: int) -> tuple[float, float]:
    """(kB a connection, peak memory in MiB): each is authenticated, and listens to a portfolio of its own."""
    books: list[Book] = []

    def prepare(dsn: str) -> None:
        books.append(asyncio.run(store_book(dsn, portfolios=clients + _FIRST, target_delta=RESTS)))

    with ballast(directory, prepare, names=("oracle", "api")) as service:
        headers = {"Authorization": f"Bearer {books[0].token}"}
        hello = [
            json.dumps({"op": "subscribe", "channel": f"portfolio.{portfolio}", "recover": {"cursor": "0"}})
            for portfolio in books[0].portfolios
        ]
        return _measured(service.roles[-1], service.api_port, headers, hello, answers=2)


def floor(_directory: Path, clients: int) -> tuple[float, float]:
    server = Child("bench.floors.send_text")
    with children(server):
        port, _ = map(int, server.line().split())
        return _measured(server, port, {}, ["hello"] * (clients + _FIRST), answers=1)


def _measured(
    server: Child, port: int, headers: Mapping[str, str], hello: Sequence[str], *, answers: int
) -> tuple[float, float]:
    def connected(said: Sequence[str]) -> Listeners:
        return Listeners(port=port, path="/v1/stream", headers=headers, hello=said, answers=answers)

    first = connected(hello[:_FIRST])
    before = server.memory_kib()
    rest = connected(hello[_FIRST:])
    grown = server.memory_kib() - before
    peak = server.peak_memory_mib()
    for listeners in (first, rest):
        listeners.close()
    return grown * 1.024 / len(rest), peak
