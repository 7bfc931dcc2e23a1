"""Prices that contracts of an EVM chain keep, read over JSON-RPC once a block.

Lines are read at one block, the newest: a node that is behind another one says nothing new. The node's
address may hold a key and is never told.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, NamedTuple

import aiohttp
from eth_typing import ChecksumAddress
from web3 import AsyncHTTPProvider, AsyncWeb3
from web3.exceptions import BadFunctionCallOutput, ContractLogicError, Web3Exception

from app.domain.errors import FeedLost, InvalidInput
from app.domain.market import Tick
from app.ports.feeds import Line

POLL_EVERY = timedelta(seconds=2)
_TIMEOUT = aiohttp.ClientTimeout(total=15.0)

Chain = AsyncWeb3[Any]


class Block(NamedTuple):
    number: int
    time_ns: int


Reading = Callable[[Block], Awaitable[Sequence[Tick]]]
Open = Callable[[Chain, Line], Awaitable[Reading]]


class ChainFeed:
    """`open_line` checks that a name is what the line says, and gives what reads it at a block."""

    def __init__(
        self,
        *,
        source: str,
        lines: Sequence[Line],
        url: str,
        open_line: Open,
        every: timedelta = POLL_EVERY,
    ) -> None:
        self.source = source
        self._lines = lines
        self._url = url
        self._open_line = open_line
        self._every_seconds = every.total_seconds()

    async def listen(self) -> AsyncGenerator[Sequence[Tick], None]:
        async with _connected(self._url) as chain:
            readings = [await self._opened(chain, line) for line in self._lines]
            seen = -1
            while True:
                newest = await chain.eth.get_block("latest")
                block = Block(newest["number"], newest["timestamp"] * 1_000_000_000)
                ticks: list[Tick] = []
                if block.number != seen:
                    for reading in readings:
                        ticks += await reading(block)
                    seen = block.number
                yield ticks
                await asyncio.sleep(self._every_seconds)

    async def _opened(self, chain: Chain, line: Line) -> Reading:
        if not await chain.eth.get_code(address_of(line)):
            raise InvalidInput(f"there is no contract {line.name} on chain {await chain.eth.chain_id}")
        try:
            return await self._open_line(chain, line)
        except (BadFunctionCallOutput, ContractLogicError) as error:
            raise InvalidInput(f"{line.name} is no contract of {self.source}: {error}") from None


def address_of(line: Line) -> ChecksumAddress:
    if not AsyncWeb3.is_address(line.name):
        raise InvalidInput(
            f"{line.name} is no address of a contract: write {line.instrument.id}=0x… with its 40 digits"
        )
    return AsyncWeb3.to_checksum_address(line.name)


def view(name: str, outputs: Sequence[str], inputs: Sequence[str] = ()) -> dict[str, Any]:
    """The ABI of a function that only reads, by the types of what it takes and gives."""
    return {
        "type": "function",
        "name": name,
        "stateMutability": "view",
        "inputs": [{"name": "", "type": kind} for kind in inputs],
        "outputs": [{"name": "", "type": kind} for kind in outputs],
    }


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[Chain]:
    provider = AsyncHTTPProvider(
        url, request_kwargs={"timeout": _TIMEOUT}, exception_retry_configuration=None
    )
    try:
        yield AsyncWeb3(provider)
    except (aiohttp.ClientError, OSError) as error:
        raise FeedLost(f"the chain's node cannot be reached: {type(error).__name__}") from None
    except Web3Exception as error:
        raise FeedLost(f"the chain's node does not answer as it should: {type(error).__name__}") from None
    finally:
        await provider.disconnect()
