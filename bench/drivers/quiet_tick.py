"""A tick that concerns nobody: `python -m bench.drivers.quiet_tick SIDE POLICIES`; prints JSON."""

import gc
import json
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from uuid import UUID

import numpy as np

from app.domain.instruments import Instrument, InstrumentKind
from app.domain.market import Change, Frame, Quality, TickKind
from app.domain.policies import AnyPolicy, LeverageBand, LiquidationGuard, StoredPolicy
from app.domain.portfolios import Account, Balance, MarginMode, Portfolio, PortfolioState, Position
from app.engine.book import Book
from app.engine.decide import affected, decide, whole_block
from app.engine.frame_block import FrameBlock
from app.engine.market_view import MarketView
from app.engine.universe import Universe
from bench.floors.scenarios import peak_memory_mib

_PERPETUAL = Instrument(id="BTC-USDT-PERP", kind=InstrumentKind.PERPETUAL, underlying="BTC", quote="USDT")
_PRICE = 50_000.0
_TICKS = 200
_NS_PER_SECOND = 1_000_000_000
_START_NS = 1_767_225_600 * _NS_PER_SECOND
_POLICIES: tuple[AnyPolicy, ...] = (
    LiquidationGuard(name="alive", trigger=Decimal("0.5"), restore=Decimal("0.3")),
    LeverageBand(name="band", minimum=Decimal("0.1"), target=Decimal(2), maximum=Decimal(5)),
)


def _portfolio(number: int) -> Portfolio:
    """Long one coin on a collateral of its own: everybody has another interval."""
    collateral = Decimal(25_000 + number % 10_000)
    account = Account(
        UUID(int=(1 << 64) + number), "main", "exchange", MarginMode.CROSS,
        (Position(_PERPETUAL.instrument_id, Decimal(1), Decimal(50_000)),), (Balance("USDT", collateral),),
    )  # fmt: skip
    stored = tuple(
        StoredPolicy(UUID(int=(2 << 64) + len(_POLICIES) * number + n), 1, policy)
        for n, policy in enumerate(_POLICIES)
    )
    return Portfolio(
        UUID(int=number + 1), UUID(int=1), "one", "USDT", PortfolioState.ACTIVE, 1, (account,), (), stored
    )


class _Market:
    def __init__(self, universe: Universe) -> None:
        self._view, self._sequence = MarketView(universe), 0

    def ticked(self, price: float) -> FrameBlock:
        self._sequence += 1
        time_ns = _START_NS + self._sequence * _NS_PER_SECOND
        change = Change(TickKind.PRICE, _PERPETUAL.id, price, 0.0, 1, Quality.VALID, time_ns)
        return self._view.advance([Frame(1, self._sequence, time_ns, "", 0, (change,))])


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
        left = bool((lows > _PRICE + tick % 7).any()) or bool((highs < _PRICE + tick % 7).any())
        taken.append(time.perf_counter() - start)
        if left:
            raise RuntimeError("nobody should wake")
    return {"quiet-tick": min(taken) * 1e6}


def _stored(policies: int) -> tuple[Book, _Market]:
    universe = Universe([_PERPETUAL])
    book, market = Book(universe), _Market(universe)
    for number in range(policies // len(_POLICIES)):
        book.put(_portfolio(number))
    gc.collect()
    gc.freeze()
    block = market.ticked(_PRICE)
    decide(book, {}, block, affected(book, block))
    return book, market


def _look(book: Book, block: FrameBlock) -> None:
    """As the evaluator does for a frame."""
    todo = affected(book, block)
    if todo:
        raise RuntimeError("nobody should wake")
    decide(book, {}, block, todo)


def _fastest(look: Callable[[FrameBlock], None], market: _Market, *, ticks: int = _TICKS) -> float:
    taken = []
    for tick in range(ticks):
        block = market.ticked(_PRICE + 1.0 + tick % 7)
        start = time.perf_counter()
        look(block)
        taken.append(time.perf_counter() - start)
    return min(taken[1:])  # the first look after everybody fell asleep tightens the chunks


SIDES = {"ours": ours, "floor": comparisons, "everybody": everybody}


def main(side: str, policies: str) -> None:
    print(json.dumps(SIDES[side](int(policies)) | {"peak memory, MiB": peak_memory_mib()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
