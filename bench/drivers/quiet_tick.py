"""A tick that concerns nobody: `python -m bench.drivers.quiet_tick SIDE POLICIES`; prints JSON."""

import json
import sys
import time
from collections.abc import Callable, Iterable
from decimal import Decimal

import numpy as np

from app.domain.instruments import Instrument, InstrumentKind
from app.domain.portfolios import Balance, Portfolio, Position
from app.engine.book import Book
from app.engine.decide import affected, decide, whole_block
from app.engine.frame_block import FrameBlock
from app.engine.universe import Universe
from bench.drivers.in_process import BAND, GUARD, Market, portfolio, stored
from bench.floors.scenarios import peak_memory_mib

PERPETUAL = Instrument(id="BTC-USDT-PERP", kind=InstrumentKind.PERPETUAL, underlying="BTC", quote="USDT")
PRICE = 50_000.0
_TICKS = 200
_POLICIES = (GUARD, BAND)


def sleepers(policies: int) -> Iterable[Portfolio]:
    """Long one coin on a collateral of its own: everybody has another interval."""
    for number in range(policies // len(_POLICIES)):
        held = Position(PERPETUAL.instrument_id, Decimal(1), Decimal(50_000))
        yield portfolio(number, [held], [Balance("USDT", Decimal(25_000 + number % 10_000))], _POLICIES)


def ours(policies: int) -> dict[str, float]:
    book, market = _stored(policies)
    seconds = _fastest(lambda block: _look(book, block), market)
    return {"quiet-tick": seconds * 1e6}


def everybody(policies: int) -> dict[str, float]:
    book, market = _stored(policies)
    everyone = [book.portfolio_id(slot) for slot in range(len(book))]

    def look(block: FrameBlock) -> None:
        decide(book, {}, block, whole_block(book, block, everyone))

    return {"quiet-tick": _fastest(look, market, ticks=3) * 1e6}


def comparisons(policies: int) -> dict[str, float]:
    """A price below and above a column of limits."""
    lows, highs = np.linspace(20_000.0, 40_000.0, policies), np.linspace(60_000.0, 80_000.0, policies)
    taken = []
    for tick in range(_TICKS):
        start = time.perf_counter()
        left = bool((lows > PRICE + tick % 7).any()) or bool((highs < PRICE + tick % 7).any())
        taken.append(time.perf_counter() - start)
        if left:
            raise RuntimeError("nobody should wake")
    return {"quiet-tick": min(taken) * 1e6}


def _stored(policies: int) -> tuple[Book, Market]:
    universe = Universe([PERPETUAL])
    book, market = stored(universe, sleepers(policies)), Market(universe)
    block = market.ticked({PERPETUAL.id: PRICE})
    decide(book, {}, block, affected(book, block))
    return book, market


def _look(book: Book, block: FrameBlock) -> None:
    """As the evaluator does for a frame."""
    todo = affected(book, block)
    if todo:
        raise RuntimeError("nobody should wake")
    decide(book, {}, block, todo)


def _fastest(look: Callable[[FrameBlock], None], market: Market, *, ticks: int = _TICKS) -> float:
    taken = []
    for tick in range(ticks):
        block = market.ticked({PERPETUAL.id: PRICE + 1.0 + tick % 7})
        start = time.perf_counter()
        look(block)
        taken.append(time.perf_counter() - start)
    return min(taken[1:])  # the first look after everybody fell asleep tightens the chunks


SIDES = {"ours": ours, "floor": comparisons, "everybody": everybody}


def main(side: str, policies: str) -> None:
    print(json.dumps(SIDES[side](int(policies)) | {"peak memory, MiB": peak_memory_mib()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
