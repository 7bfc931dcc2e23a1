"""Figures of many (view, frame) pairs in one pass over the columns."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from app.domain.identifiers import Asset, InstrumentId
from app.domain.portfolios import MarginMode, Portfolio
from app.engine.book import Book
from app.engine.distances import distances
from app.engine.figures import AccountFigures, ExposureFigures
from app.engine.frame_block import FrameBlock
from app.engine.observation import observe_pairs, starts_of
from app.engine.option_units import option_units, units_held
from app.engine.portfolio_accounts import account_requirements
from app.engine.spreads import spreads
from app.engine.tables import (
    ConditionFigures,
    Findings,
    Market,
    OptionFigures,
    PairColumns,
    TriggerFigures,
    Worths,
)
from app.quant.arrays import IntArray

_ONE_PERCENT = 0.01  # a move of the price; a volatility point is as much
_FEW = 10_000
"""Pairs whose figures take a few megabytes."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Per account, exposure, trigger and condition of every pair, in the valuation currency of its portfolio.

    The rows of `starts` are where a pair's accounts, exposures, triggers, conditions and options begin.
    Deltas are in units of the underlying, gammas per unit of its price, vegas per 1.00, thetas per year.
    Unless they are `complete`, nothing but what is found is that of every pair.
    """

    complete: bool
    pairs: PairColumns
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
    return _looked_at(book, block, pairs, apart=True)


def glance(book: Book, block: FrameBlock, pairs: PairColumns) -> Figures:
    """What is found of many pairs: figures are kept only where the pairs are few."""
    few = pairs.number.size <= _FEW
    views = book.columns.arrays
    asked = views.asks_distance[pairs.number] | views.asks_spread[pairs.number]
    return _looked_at(book, block, pairs, apart=few or bool(asked.any()))


def completed(book: Book, block: FrameBlock, figures: Figures, chosen: IntArray) -> tuple[Figures, IntArray]:
    """All figures of some of the pairs of a glance, and where each of these stands in them."""
    if figures.complete:
        return figures, chosen
    pairs = PairColumns(figures.pairs.number[chosen], figures.pairs.frame[chosen])
    return observe(book, block, pairs), np.arange(chosen.size)


def _looked_at(book: Book, block: FrameBlock, pairs: PairColumns, *, apart: bool) -> Figures:
    """Unless figures are to stand `apart`, those of each pair are put where those of the one before were."""
    block = block.on(book.universe)  # the loop must not read past what the block has
    count, tables, conversions = pairs.number.size, book.tables(), block.universe.conversions.length
    starts, rows = np.empty((5, count + 1), dtype=np.int64), np.empty(5, dtype=np.int64)
    starts_of(pairs, tables.views, apart, starts, rows)
    accounts, exposures, triggers, conditions, options = rows.tolist()
    figures = Figures(
        complete=apart,
        pairs=pairs,
        starts=starts,
        accounts=AccountFigures(*np.empty((len(AccountFigures._fields), accounts))),
        exposures=ExposureFigures(*np.empty((len(ExposureFigures._fields), exposures))),
        triggers=TriggerFigures(
            np.empty(triggers), np.empty(triggers), np.empty(triggers), np.empty(triggers, dtype=bool)
        ),
        conditions=ConditionFigures(np.empty(conditions)),
        findings=Findings(*np.zeros((len(Findings._fields), count), dtype=bool)),
        options=OptionFigures(*np.empty((len(OptionFigures._fields), options))),
    )
    _put_distances(book, block, pairs, figures)
    _put_spreads(book, block, pairs, figures)
    observe_pairs(
        pairs,
        tables,
        market_of(block),
        Worths(np.full(conversions, -1), np.empty(conversions)),
        *units_held(block, pairs, tables.views, tables.positions),
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
        figures.accounts.distance[_accounts_of(asked, figures)] = distances(book, block, pairs, asked)


def _put_spreads(book: Book, block: FrameBlock, pairs: PairColumns, figures: Figures) -> None:
    """Where a policy takes prices against an account."""
    accounts = figures.accounts
    into = accounts.position_spread, accounts.collateral_spread, accounts.maintenance_spread
    for column in into:
        column[:] = np.nan
    asked = np.flatnonzero(book.columns.arrays.asks_spread[pairs.number])
    if asked.size:
        at = _accounts_of(asked, figures)
        for column, found in zip(into, spreads(book, block, pairs, asked), strict=True):
            column[at] = found


def _accounts_of(asked: IntArray, figures: Figures) -> IntArray:
    """Where the accounts of pairs stand, one after the other."""
    counts = figures.starts[0, asked + 1] - figures.starts[0, asked]
    first = np.repeat(figures.starts[0, asked] - np.cumsum(counts) + counts, counts)
    return first + np.arange(first.size)


def mark_prices(block: FrameBlock, k: int) -> dict[InstrumentId, float]:
    """What every instrument is worth on a frame, as its venue quotes it; NaN where that is not known."""
    universe = block.universe
    marks = block.values(k, universe.terms.price_row)
    at = np.flatnonzero(universe.terms.option)
    if at.size:
        marks[at] = option_units(block, np.full(at.size, k, dtype=np.int64), at).value
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
    unit = [figure.item() for figure in option_units(block, np.array([k]), np.array([row]))]
    forward, settled, delta, gamma, vega, _, mark, initial, maintenance = unit
    value = multiplier * settled
    return UnitFigures(
        price=value / multiplier,
        notional=value,
        delta=multiplier * delta,
        gamma_per_percent=multiplier * gamma * forward * _ONE_PERCENT,
        vega_per_point=multiplier * vega / forward * _ONE_PERCENT,
        initial_long=0.0 * value,
        initial_short=multiplier * initial - multiplier * mark,
        maintenance_long=0.0 * value,
        maintenance_short=multiplier * maintenance - multiplier * mark,
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
