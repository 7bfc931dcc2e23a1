"""Everybody looks at one frame: `python -m bench.drivers.storm SIDE PORTFOLIOS`; prints JSON."""

import gc
import json
import sys
import time
from collections.abc import Callable

import numpy as np

from app.domain.market import TickKind
from app.domain.times import NS_PER_YEAR
from app.engine.book import Book
from app.engine.decide import affected, decide
from app.engine.frame_block import FrameBlock
from app.engine.universe import Universe
from app.quant.black_scholes_kernel import greeks_of_columns
from bench.drivers.in_process import Market
from bench.drivers.many_portfolios import CONTRACTS, LISTING, OPTIONS, PRICES, SPOTS, ManyPortfolios
from bench.floors.scenarios import peak_memory_mib

_PAIRS = 300
_TICKS = 9
_UNREAD = {"live", "policy"}


def _moved(market: Market, share: float) -> FrameBlock:
    """Every price by that share from where it began."""
    return market.ticked(
        {priced.id: PRICES[priced.underlying] * (1.0 + share) for priced in (*SPOTS, *CONTRACTS)}
    )


def ours(count: int) -> float:
    """Seconds of the look of a frame, everybody awake as after loading."""
    book, market = _stored(count)
    taken = []
    for tick in range(_TICKS):
        block = _moved(market, (tick % 3 - 1) * 0.002)
        start = time.perf_counter()
        todo = affected(book, block)
        verdicts = decide(book, {}, block, todo)
        taken.append(time.perf_counter() - start)
        if todo.slots.size != count or verdicts:
            raise RuntimeError("everybody should look, and nothing fire")
        for slot in range(count):
            book.wake(slot)
    return min(taken)


def floor(count: int) -> float:
    """Seconds of the greeks of every option held, and of a sum over every column that the look reads, each
    of which stands by itself here.
    """
    book, market = _stored(count)
    block = _moved(market, 0.0)
    columns = [np.ascontiguousarray(column) for column in _read_columns(book)]
    price = _greeks_of_holdings(book, block)
    return _fastest(price) + _fastest(lambda: [column.sum() for column in columns])


def _greeks_of_holdings(book: Book, block: FrameBlock) -> Callable[[], object]:
    """The kernel alone, on columns that it is given."""
    universe, terms = block.universe, block.universe.terms
    held = book.positions.arrays.instrument[: book.positions.length]
    options = held[terms.option[held]]
    frames = np.zeros(options.size, dtype=np.int64)
    rate = np.zeros(options.size)
    columns = (
        block.values(frames, terms.price_row[options]),
        terms.strike[options],
        (terms.expiry_ns[options] - block.times_ns[0]) / NS_PER_YEAR,
        block.values(frames, universe.volatility_columns[options]),
        rate,
        rate,
    )
    calls, figures = terms.call[options], tuple(np.zeros((8, options.size)))
    statuses = np.zeros(options.size, dtype=np.int8)
    return lambda: greeks_of_columns(True, columns, calls, figures, statuses)


def _read_columns(book: Book) -> list[np.ndarray]:
    tables = book.tables()
    lengths = (
        book.columns, book.accounts, book.positions, book.balances, book.exposures,
        book.triggers, book.parameters, book.conditions, book.registers,
    )  # fmt: skip
    return [
        getattr(table, name)[: owner.length]
        for table, owner in zip(tables, lengths, strict=True)
        for name in table._fields
        if name not in _UNREAD
    ]


def _stored(count: int) -> tuple[Book, Market]:
    universe = Universe(LISTING)
    market = Market(universe)
    market.ticked({option.id: 0.6 for option in OPTIONS}, TickKind.IMPLIED_VOL)
    book = Book(universe)
    book.load(ManyPortfolios(count, pairs=_PAIRS), np.arange(count))
    gc.collect()
    gc.freeze()
    return book, market


def _fastest(work: Callable[[], object]) -> float:
    taken = []
    for _ in range(_TICKS):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return min(taken)


SIDES = {"ours": ours, "floor": floor}


def main(side: str, count: str) -> None:
    seconds = SIDES[side](int(count))
    print(json.dumps({"storm": seconds * 1e3, "peak memory, MiB": peak_memory_mib()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
