"""A tick beside who sleeps: `python -m bench.drivers.asleep ASLEEP`, policies on one of two coins, as many on
both are awake; prints JSON.
"""

import json
import sys
import time
from collections.abc import Iterable
from decimal import Decimal
from itertools import chain

from app.domain.instruments import Instrument, InstrumentKind
from app.domain.policies import Rule
from app.domain.portfolios import Balance, Portfolio, Position
from app.engine.book import Book
from app.engine.decide import affected, decide
from app.engine.universe import Universe
from bench.drivers.in_process import BAND, GUARD, Market, portfolio, stored
from bench.drivers.quiet_tick import PERPETUAL, PRICE, sleepers
from bench.floors.scenarios import peak_memory_mib

_AWAKE = 5_000
_FIRST_AWAKE = 1 << 32
_SWING = 0.06
_TICKS = 24
_APART, _HEDGE = (
    Instrument(id=f"{asset}-USDT-PERP", kind=InstrumentKind.PERPETUAL, underlying=asset, quote="USDT")
    for asset in ("ETH", "SOL")
)
_RULE = Rule.model_validate(
    {
        "name": "plunge",
        "condition": {
            "kind": "rate_of_change", "metric": "leverage", "window_seconds": 86_400,
            "op": "above", "value": "4",
        },
        "actions": [{"kind": "notify", "message": "leverage rose by 4 within a day"}],
    }
)  # fmt: skip


def _awake(number: int) -> Portfolio:
    """Two on the coin that sleepers are on, two on one that is apart. One of two is short of a third coin
    besides: a swing leaves the interval in which both prices may move, and what fires is farther off. The
    other has a rule, of which no bound is known.
    """
    on = (PERPETUAL, _APART)[number % 2]
    held, policies = [Position(on.instrument_id, Decimal(1), Decimal(50_000))], (GUARD, _RULE)
    if number % 4 < 2:
        held.append(Position(_HEDGE.instrument_id, Decimal(-1), Decimal(50_000)))
        policies = (GUARD, BAND)
    return portfolio(_FIRST_AWAKE + number, held, [Balance("USDT", Decimal(25_000 + number % 100))], policies)


def _spread(portfolios: list[Portfolio], among: list[Portfolio]) -> Iterable[Portfolio]:
    """Evenly: as they would stand in a book that was loaded in the order of chance."""
    gap = len(among) // len(portfolios)
    return chain.from_iterable((*among[n * gap : (n + 1) * gap], each) for n, each in enumerate(portfolios))


def measured(asleep: int) -> dict[str, float]:
    """Microseconds of a tick of either coin."""
    universe = Universe([PERPETUAL, _APART, _HEDGE])
    market = Market(universe)
    book = stored(universe, _spread([_awake(n) for n in range(2 * _AWAKE)], list(sleepers(asleep))))
    block = market.ticked({each.id: PRICE for each in (PERPETUAL, _APART, _HEDGE)})
    decide(book, {}, block, affected(book, block))
    return {"beside": _fastest(book, market, PERPETUAL), "elsewhere": _fastest(book, market, _APART)}


def _fastest(book: Book, market: Market, swings: Instrument) -> float:
    taken = []
    for tick in range(_TICKS):
        block = market.ticked({swings.id: PRICE * (1.0 + (_SWING if tick % 2 else -_SWING))})
        start = time.perf_counter()
        todo = affected(book, block)
        verdicts = decide(book, {}, block, todo)
        taken.append(time.perf_counter() - start)
        if tick and (todo.slots.size != _AWAKE or verdicts):
            raise RuntimeError(f"5,000 should look and none act, not {todo.slots.size} and {len(verdicts)}")
    return min(taken[2:]) * 1e6


def main(asleep: str) -> None:
    print(json.dumps(measured(int(asleep)) | {"peak memory, MiB": peak_memory_mib()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
