"""Uniswap v3: the time-weighted average price of a pool, from its own observations.

`observe` gives the tick accumulated over time. Its difference over a window, by the window, is the mean tick;
1.0001 to the power of that is the geometric mean of token0's price in token1, in their smallest units [1].
The contracts' own library rounds the mean down to a whole tick; here it is not rounded. The average is told
with the time of the block at which its window ends, and without a confidence.

Whoever may trade can move it, at a cost that grows with the pool's liquidity and with the window; a token's
symbol is whatever its maker called it. Which pool is trusted is the operator's choice.

[1] Uniswap v3 core, section 5.2, https://uniswap.org/whitepaper-v3.pdf; `consult` of v3-periphery's
    OracleLibrary.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

from web3.exceptions import ContractLogicError

from app.adapters.feeds.chain import Block, Chain, Open, Reading, address_of, view
from app.adapters.feeds.checks import check_index, check_pair
from app.adapters.feeds.sequences import sequence_at
from app.domain.errors import InvalidInput
from app.domain.market import Tick, TickKind
from app.ports.feeds import Line

WINDOW = timedelta(minutes=5)
_TICK = 1.0001
_WRAPPED = {"WETH": "ETH"}  # redeemed one for one by its own contract
_POOL = [
    view("token0", ["address"]),
    view("token1", ["address"]),
    view("observe", ["int56[]", "uint160[]"], ["uint32[]"]),
]
_TOKEN = [view("symbol", ["string"]), view("decimals", ["uint8"])]


class _Token(NamedTuple):
    symbol: str
    decimals: int


def uniswap(source: str, *, window: timedelta = WINDOW, quote: str | None = None) -> Open:
    seconds = round(window.total_seconds())

    async def opened(chain: Chain, line: Line) -> Reading:
        pool = chain.eth.contract(address=address_of(line), abi=_POOL)
        token0 = await _token(chain, await pool.functions.token0().call(), line)
        token1 = await _token(chain, await pool.functions.token1().call(), line)
        upside_down = token1.symbol == line.instrument.underlying
        base, quoted_in = (token1, token0) if upside_down else (token0, token1)
        check_index(line)
        check_pair(line, base=base.symbol, quote=quoted_in.symbol, declared_quote=quote)
        observe = pool.functions.observe([seconds, 0])
        try:
            await observe.call()
        except ContractLogicError as error:
            if "OLD" not in str(error):
                raise
            raise InvalidInput(
                f"the observations of {line.name} do not reach back {seconds} s: ask for a shorter --window, "
                "or have the pool keep more of them (increaseObservationCardinalityNext)"
            ) from None

        async def read(block: Block) -> Sequence[Tick]:
            (before, now), _ = await observe.call(block_identifier=block.number)
            price = mean_price((now - before) / seconds, token0.decimals, token1.decimals)
            sequence = sequence_at(block.time_ns, block.number)
            value = 1.0 / price if upside_down else price
            return (Tick(TickKind.PRICE, source, line.instrument.id, sequence, block.time_ns, value),)

        return read

    return opened


def mean_price(mean_tick: float, decimals0: int, decimals1: int) -> float:
    """Of token0 in token1, both in whole units."""
    price: float = _TICK**mean_tick * 10.0 ** (decimals0 - decimals1)
    return price


async def _token(chain: Chain, address: str, line: Line) -> _Token:
    """Ether's wrapper goes by the name of what it wraps, unless it is listed itself."""
    token = chain.eth.contract(address=chain.to_checksum_address(address), abi=_TOKEN)
    symbol = await token.functions.symbol().call()
    listed = (line.instrument.underlying, line.instrument.quote)
    name = symbol if symbol in listed else _WRAPPED.get(symbol, symbol)
    return _Token(name, await token.functions.decimals().call())
