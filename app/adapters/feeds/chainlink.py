"""Chainlink's price feeds: what an aggregator or its proxy last agreed on.

`latestRoundData` gives an answer with `decimals` digits behind the point, and when it was set: that is the
tick's time, however old. An answer stands until the price has moved by the feed's threshold or its heartbeat
is over, up to a day, so the source has to be declared with that heartbeat. Chainlink publishes no
confidence.
https://docs.chain.link/data-feeds/api-reference
"""

from collections.abc import Sequence

from app.adapters.feeds.chain import Block, Chain, Open, Reading, address_of, view
from app.adapters.feeds.checks import check_index, check_pair
from app.adapters.feeds.sequences import sequence_at
from app.domain.market import Tick, TickKind
from app.domain.times import NS_PER_SECOND
from app.ports.feeds import Line

_AGGREGATOR = [
    view("decimals", ["uint8"]),
    view("description", ["string"]),
    view("latestRoundData", ["uint80", "int256", "uint256", "uint256", "uint80"]),
]
_ROUND_BITS = 64  # above them is the phase: which aggregator is behind the proxy


def chainlink(source: str, *, quote: str | None = None) -> Open:
    async def opened(chain: Chain, line: Line) -> Reading:
        contract = chain.eth.contract(address=address_of(line), abi=_AGGREGATOR)
        description = await contract.functions.description().call()
        base, _, quoted_in = (side.strip() for side in description.partition("/"))
        check_index(line)
        check_pair(line, base=base, quote=quoted_in, declared_quote=quote)
        scale = 10 ** await contract.functions.decimals().call()

        async def read(block: Block) -> Sequence[Tick]:
            told = await contract.functions.latestRoundData().call(block_identifier=block.number)
            round_id, answer, _, updated_at, _ = told
            if not updated_at:  # no round was finished yet
                return ()
            time_ns = updated_at * NS_PER_SECOND
            sequence = sequence_at(time_ns, round_id % (1 << _ROUND_BITS))
            return (Tick(TickKind.PRICE, source, line.instrument.id, sequence, time_ns, answer / scale),)

        return read

    return opened
