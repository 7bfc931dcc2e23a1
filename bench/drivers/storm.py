"""Everybody looks at one frame: `python -m bench.drivers.storm SIDE PORTFOLIOS`; prints JSON."""

import json
import random
import sys
import time
from collections.abc import Callable, Iterable
from decimal import Decimal

import numpy as np

from app.domain.instruments import Instrument, InstrumentKind, OptionType, Settlement
from app.domain.market import TickKind
from app.domain.policies import DeltaNeutral, GammaBand, LeverageBand, LiquidationGuard
from app.domain.portfolios import Balance, Portfolio, Position
from app.domain.times import NS_PER_YEAR
from app.engine.book import Book
from app.engine.decide import affected, decide
from app.engine.frame_block import FrameBlock
from app.engine.metrics import tables_of
from app.engine.universe import Universe
from app.quant.black_scholes_kernel import greeks_of_columns
from bench.drivers.in_process import Market, portfolio, stored
from bench.floors.scenarios import peak_memory_mib

_PRICES = {"BTC": 50_000.0, "ETH": 2_500.0}
_EXPIRIES = ("2026-03-27", "2026-06-26", "2026-09-25", "2026-12-25", "2027-03-26")
_STRIKES = tuple(Decimal(share) / 100 for share in range(70, 120, 5))
_TICKS = 9
_UNREAD = {"live", "policy"}


def _contracts(asset: str) -> list[Instrument]:
    linear = {"underlying": asset, "quote": "USDT"}
    inverse = {"underlying": asset, "quote": "USD", "settlement": Settlement.INVERSE, "multiplier": 100}
    dated = {"kind": InstrumentKind.FUTURE, "expiry": "2026-06-26T08:00:00Z"}
    perpetual = {"kind": InstrumentKind.PERPETUAL}
    return [
        Instrument.model_validate({"id": f"{asset}-{name}", **terms})
        for name, terms in (
            ("USDT-PERP", linear | perpetual),
            ("USD-PERP", inverse | perpetual),
            ("USDT-JUN", linear | dated),
            ("USD-JUN", inverse | dated),
        )
    ]


def _options(asset: str) -> list[Instrument]:
    return [
        Instrument(
            id=f"{asset}-{expiry}-{share}-{side}", kind=InstrumentKind.OPTION, underlying=asset, quote="USD",
            settlement=Settlement.INVERSE, strike=Decimal(_PRICES[asset]) * share,
            expiry=f"{expiry}T08:00:00Z", option_type=side, marked_by=f"{asset}-USD-PERP",
        )
        for expiry in _EXPIRIES for share in _STRIKES for side in (OptionType.CALL, OptionType.PUT)
    ]  # fmt: skip


_CONTRACTS = [contract for asset in _PRICES for contract in _contracts(asset)]
_SPOTS = [
    Instrument(id=f"{asset}-USDT", kind=InstrumentKind.SPOT, underlying=asset, quote="USDT")
    for asset in _PRICES
]
_OPTIONS = [option for asset in _PRICES for option in _options(asset)]
_POLICIES = (
    LeverageBand(name="band", minimum=Decimal(0), target=Decimal(2), maximum=Decimal(5)),
    DeltaNeutral(
        name="flat", underlying="BTC", hedge_instruments=("BTC-USDT-PERP",), band=Decimal(100)
    ),
    GammaBand(
        name="gamma", underlying="BTC", options=(_OPTIONS[0].id,), hedge_instruments=("BTC-USDT-PERP",),
        minimum_dollar_gamma=Decimal(-1_000_000), maximum_dollar_gamma=Decimal(1_000_000),
    ),
)  # fmt: skip
"""Wide enough that none fires. Beside one of them everybody has a guard."""
_GUARD = LiquidationGuard(name="alive", trigger=Decimal("0.8"), restore=Decimal("0.5"))


def _portfolios(count: int) -> Iterable[Portfolio]:
    """Four options of the listing, four perpetuals and futures, coins and dollars, in one account."""
    chance = random.Random(7)
    for number in range(count):
        held = tuple(
            _position(chance, instrument)
            for instrument in (*chance.sample(_CONTRACTS, 4), *chance.sample(_OPTIONS, 4))
        )
        balances = (
            Balance("USDT", Decimal(chance.randrange(200_000, 400_000))),
            Balance(chance.choice(list(_PRICES)), Decimal(chance.randrange(1, 40)) / 10, Decimal("0.05")),
        )
        yield portfolio(number, held, balances, (_GUARD, _POLICIES[number % len(_POLICIES)]))


def _position(chance: random.Random, instrument: Instrument) -> Position:
    """Up to some 25,000 dollars of it, long or short."""
    price = Decimal(_PRICES[instrument.underlying])
    contracts = 25_000 / price
    entry = price
    if instrument.kind is InstrumentKind.OPTION:
        entry = Decimal("0.05")
    elif instrument.settlement is Settlement.INVERSE:
        contracts = 25_000 / instrument.multiplier
    share = Decimal(chance.choice((-1, 1)) * chance.randrange(10, 100)) / 100
    return Position(instrument.instrument_id, round(contracts * share, 3), entry)


def _moved(market: Market, share: float) -> FrameBlock:
    """Every price by that share from where it began."""
    return market.ticked(
        {priced.id: _PRICES[priced.underlying] * (1.0 + share) for priced in (*_SPOTS, *_CONTRACTS)}
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
    """Seconds of the greeks of every option held, and of a sum over every column that the look reads."""
    book, market = _stored(count)
    block = _moved(market, 0.0)
    columns = _read_columns(book)
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
    tables = tables_of(book)
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
    universe = Universe([*_SPOTS, *_CONTRACTS, *_OPTIONS])
    market = Market(universe)
    market.ticked({option.id: 0.6 for option in _OPTIONS}, TickKind.IMPLIED_VOL)
    return stored(universe, _portfolios(count)), market


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
