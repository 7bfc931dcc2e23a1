"""Figures of many (view, frame) pairs in one pass over the columns."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from app.domain.identifiers import Asset, InstrumentId
from app.domain.portfolios import MarginMode, Portfolio
from app.domain.times import NS_PER_YEAR
from app.engine.book import Book
from app.engine.distances import distances
from app.engine.figures import AccountFigures, ExposureFigures
from app.engine.frame_block import FrameBlock
from app.engine.observation import observe_pairs, option_positions, starts_of
from app.engine.portfolio_accounts import account_requirements
from app.engine.tables import (
    ConditionFigures,
    Findings,
    Market,
    OptionFigures,
    PairColumns,
    Tables,
    TriggerFigures,
)
from app.quant.arrays import FloatArray, IntArray
from app.quant.black_scholes import black_76
from app.quant.margin import coin_option_requirements

_ONE_PERCENT = 0.01  # a move of the price; a volatility point is as much
_NOTHING: FloatArray = np.zeros(0)
_NO_OPTIONS = OptionFigures(*(_NOTHING,) * len(OptionFigures._fields))


@dataclass(frozen=True, slots=True)
class Figures:
    """Per account, exposure, trigger and condition of every pair, in the valuation currency of its portfolio.

    The rows of `starts` are where a pair's accounts, exposures, triggers, conditions and options begin.
    Deltas are in units of the underlying, gammas per unit of its price, vegas per 1.00, thetas per year.
    """

    starts: IntArray
    accounts: AccountFigures
    exposures: ExposureFigures
    triggers: TriggerFigures
    conditions: ConditionFigures
    findings: Findings
    options: OptionFigures

    def account_slice(self, pair: int) -> slice:
        return slice(int(self.starts[0, pair]), int(self.starts[0, pair + 1]))

    def exposure_slice(self, pair: int) -> slice:
        return slice(int(self.starts[1, pair]), int(self.starts[1, pair + 1]))

    def trigger_slice(self, pair: int) -> slice:
        return slice(int(self.starts[2, pair]), int(self.starts[2, pair + 1]))

    def condition_slice(self, pair: int) -> slice:
        return slice(int(self.starts[3, pair]), int(self.starts[3, pair + 1]))


def observe(book: Book, block: FrameBlock, pairs: PairColumns) -> Figures:
    block = block.on(book.universe)  # the loop must not read past what the block has
    count = pairs.number.size
    starts = np.empty((5, count + 1), dtype=np.int64)
    starts_of(pairs, book.columns.arrays, starts)
    accounts, exposures, triggers, conditions = (int(stop) for stop in starts[:4, -1])
    figures = Figures(
        starts=starts,
        accounts=AccountFigures(*np.zeros((len(AccountFigures._fields), accounts))),
        exposures=ExposureFigures(*np.zeros((len(ExposureFigures._fields), exposures))),
        triggers=TriggerFigures(
            np.empty(triggers), np.empty(triggers), np.empty(triggers), np.empty(triggers, dtype=bool)
        ),
        conditions=ConditionFigures(np.empty(conditions)),
        findings=Findings(*np.zeros((len(Findings._fields), count), dtype=bool)),
        options=_options(book, block, pairs),
    )
    _put_distances(book, block, pairs, figures)
    observe_pairs(
        pairs,
        tables_of(book),
        market_of(block),
        figures.options,
        account_requirements(book, block, pairs),
        starts,
        figures.accounts,
        figures.exposures,
        figures.triggers,
        figures.conditions,
        figures.findings,
    )
    return figures


def _put_distances(book: Book, block: FrameBlock, pairs: PairColumns, figures: Figures) -> None:
    """Where a policy asks how far prices may move until an account is liquidated."""
    figures.accounts.distance[:] = np.nan
    asked = np.flatnonzero(book.columns.arrays.asks_distance[pairs.number])
    if asked.size:
        counts = figures.starts[0, asked + 1] - figures.starts[0, asked]
        first = np.repeat(figures.starts[0, asked] - np.cumsum(counts) + counts, counts)
        figures.accounts.distance[first + np.arange(first.size)] = distances(book, block, pairs, asked)


def mark_prices(block: FrameBlock, k: int) -> dict[InstrumentId, float]:
    """What every instrument is worth on a frame, as its venue quotes it; NaN where that is not known."""
    universe = block.universe
    marks = block.values(k, universe.terms.price_row)
    at = np.flatnonzero(universe.terms.option)
    if at.size:
        frames = np.full(at.size, k, dtype=np.int64)
        priced = _priced(block, frames, at)
        marks[at] = np.where(universe.terms.inverse[at], priced.values / priced.forwards, priced.values)
    return dict(zip(universe.instruments, marks.tolist(), strict=True))


class UnitFigures(NamedTuple):
    """Of one contract. `price` as its venue quotes it; `notional` in the settlement asset, an option's
    premium.

    Delta in units of the underlying, gamma as the change of it for a 1 % move, vega per volatility point in
    units of the underlying's value. Requirements of one contract held long and short, in the settlement
    asset, an option's in units of the underlying.
    """

    price: float
    notional: float
    delta: float
    gamma_per_percent: float
    vega_per_point: float
    initial_long: float
    initial_short: float
    maintenance_long: float
    maintenance_short: float


def unit_figures(block: FrameBlock, k: int, row: int) -> UnitFigures:
    """NaN where a price is not known."""
    terms = block.universe.terms
    price, multiplier = block.price(k, int(terms.price_row[row])), float(terms.multiplier[row])
    if not terms.option[row]:
        inverse = bool(terms.inverse[row])
        notional = multiplier / price if inverse else multiplier * price
        initial, maintenance = (
            notional * float(rates[row]) for rates in (terms.initial_rate, terms.maintenance_rate)
        )
        delta = multiplier / price if inverse else multiplier
        return UnitFigures(price, notional, delta, 0.0, 0.0, initial, initial, maintenance, maintenance)
    both = _option_figures(
        block, np.full(2, k, dtype=np.int64), np.full(2, row, dtype=np.int64), np.array([1.0, -1.0])
    )
    value, forward = float(both.value[0]), float(both.forward[0])
    return UnitFigures(
        price=value / multiplier,
        notional=value,
        delta=float(both.delta[0]),
        gamma_per_percent=float(both.gamma[0]) * forward * _ONE_PERCENT,
        vega_per_point=float(both.vega[0]) / forward * _ONE_PERCENT,
        initial_long=float(both.initial[0]),
        initial_short=float(both.initial[1]),
        maintenance_long=float(both.maintenance[0]),
        maintenance_short=float(both.maintenance[1]),
    )


def loan_values(block: FrameBlock, k: int, portfolio: Portfolio) -> dict[InstrumentId, float]:
    """What a unit of each asset that a portfolio has lent or borrowed is worth in its valuation currency."""
    universe, currency = block.universe, portfolio.valuation_currency
    held = {
        position.instrument: Asset(universe.instruments[position.instrument].underlying)
        for account in portfolio.accounts
        if account.margin_mode is MarginMode.LENDING
        for position in account.positions
    }
    return {name: block.value(k, universe.conversion(asset, currency)) for name, asset in held.items()}


def tables_of(book: Book) -> Tables:
    return book.tables()


def market_of(block: FrameBlock) -> Market:
    universe = block.universe
    return Market(
        clock_ns=block.clock_ns,
        standing=block.standing,
        value=block.records.value,
        terms=universe.terms,
        conversions=universe.conversions.arrays,
        paths=universe.paths.arrays,
    )


def _options(book: Book, block: FrameBlock, pairs: PairColumns) -> OptionFigures:
    universe = block.universe
    if not universe.lists_options:
        return _NO_OPTIONS
    found = np.empty((2, 0), dtype=np.int64)
    views, positions, option = book.columns.arrays, book.positions.arrays, universe.terms.option
    count = option_positions(pairs, views, positions, option, found)
    if not count:
        return _NO_OPTIONS
    found = np.empty((2, count), dtype=np.int64)
    option_positions(pairs, views, positions, option, found)
    rows, frames = found
    return _option_figures(block, frames, positions.instrument[rows], positions.quantity[rows])


@dataclass(frozen=True, slots=True)
class _Priced:
    """Black-76 at zero rate on the price of the instrument that marks it, as the coin exchanges do.

    Per unit of the underlying; `values` is NaN where price or volatility is not known.
    """

    forwards: FloatArray
    values: FloatArray
    deltas: FloatArray
    gammas: FloatArray
    vegas: FloatArray
    thetas: FloatArray


def _priced(block: FrameBlock, frames: IntArray, instruments: IntArray) -> _Priced:
    universe = block.universe
    standing, known_values = block.standing, block.records.value
    forwards = known_values[standing[frames, universe.terms.price_row[instruments]]]
    volatilities = known_values[standing[frames, universe.volatility_columns[instruments]]]
    left_ns = np.maximum(universe.terms.expiry_ns[instruments] - block.times_ns[frames], 0)
    known = np.isfinite(forwards) & np.isfinite(volatilities)
    priced = black_76(
        forwards=np.where(known, forwards, 1.0),
        strikes=universe.strikes[instruments],
        years_to_expiry=left_ns / NS_PER_YEAR,
        volatilities=np.where(known, volatilities, 0.0),
        is_call=universe.call[instruments],
    )
    values = np.where(known, priced.values, np.nan)
    return _Priced(forwards, values, priced.deltas, priced.gammas, priced.vegas, priced.thetas)


def _option_figures(
    block: FrameBlock, frames: IntArray, instruments: IntArray, quantities: FloatArray
) -> OptionFigures:
    universe = block.universe
    terms = universe.terms
    priced = _priced(block, frames, instruments)
    units = quantities * terms.multiplier[instruments] + 0.0 * priced.values
    in_coin = priced.values / priced.forwards
    needed = coin_option_requirements(
        quantities=quantities,
        multipliers=terms.multiplier[instruments],
        strikes=universe.strikes[instruments],
        underlying_prices=priced.forwards,
        mark_prices_in_coin=in_coin,
        is_call=universe.call[instruments],
    )
    # Equity already counts a short option at its mark, so the mark leaves the requirement.
    short_marks = np.maximum(-units, 0.0) * in_coin
    return OptionFigures(
        value=units * np.where(terms.inverse[instruments], in_coin, priced.values),
        delta=units * priced.deltas,
        gamma=units * priced.gammas,
        vega=units * priced.vegas,
        theta=units * priced.thetas,
        initial=needed.initial - short_marks,
        maintenance=needed.maintenance - short_marks,
        forward=priced.forwards,
    )
