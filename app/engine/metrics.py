"""Figures of many (view, frame) pairs in one pass over the columns.

A pair's figures do not depend on its neighbours: elementwise kernels, and sums by `bincount`, which adds in
stored order, one after the other. Unknown prices make figures NaN, and nothing fires on NaN.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.domain.identifiers import InstrumentId
from app.domain.times import NS_PER_YEAR
from app.engine.book import Book
from app.engine.columns import Columns
from app.engine.market_view import FrameBlock
from app.engine.universe import Universe
from app.quant.arrays import BoolArray, FloatArray, IntArray
from app.quant.black_scholes import black_76
from app.quant.margin import coin_option_requirements


@dataclass(frozen=True, slots=True)
class Gathered:
    """Rows of one table for all pairs: where they stand, whose they are, and where each pair's begin."""

    rows: IntArray
    pairs: IntArray
    starts: IntArray

    @classmethod
    def of(cls, blocks: Sequence[tuple[int, int]]) -> "Gathered":
        bounds = np.array(blocks, dtype=np.int64).reshape(-1, 2)
        lengths = bounds[:, 1] - bounds[:, 0]
        starts = np.zeros(len(lengths) + 1, dtype=np.int64)
        np.cumsum(lengths, out=starts[1:])
        shift = bounds[:, 0] - starts[:-1]
        rows = np.arange(starts[-1]) + np.repeat(shift, lengths)
        return cls(rows=rows, pairs=np.repeat(np.arange(len(lengths)), lengths), starts=starts)

    def local(self, references: IntArray, pairs: IntArray, first_rows: IntArray) -> IntArray:
        """Table rows named by another table, as positions in this gathering; -1 stays -1."""
        return np.where(references < 0, -1, references - first_rows[pairs] + self.starts[pairs])


@dataclass(frozen=True, slots=True)
class Figures:
    """Per account and per exposure of every pair, in the valuation currency of its portfolio.

    `accounts.starts[j]` is where pair j's accounts begin in the account arrays; exposures likewise. Deltas
    are in units of the underlying, gammas per unit of its price, vegas per 1.00, thetas per year.
    """

    accounts: Gathered
    exposures: Gathered
    equities: FloatArray
    initial_margins: FloatArray
    maintenance_margins: FloatArray
    margin_ratios: FloatArray
    deltas: FloatArray
    gross_notionals: FloatArray
    underlying_prices: FloatArray
    gammas: FloatArray
    vegas: FloatArray
    thetas: FloatArray

    def account_slice(self, pair: int) -> slice:
        return slice(int(self.accounts.starts[pair]), int(self.accounts.starts[pair + 1]))

    def exposure_slice(self, pair: int) -> slice:
        return slice(int(self.exposures.starts[pair]), int(self.exposures.starts[pair + 1]))


@dataclass(frozen=True, slots=True)
class Pairs:
    """Views to look at, and on which frame of the block each."""

    views: Sequence[int]
    frames: IntArray

    @classmethod
    def of(cls, pairs: Sequence[tuple[int, int]]) -> "Pairs":
        return cls([view for view, _ in pairs], np.array([k for _, k in pairs], dtype=np.int64))


@dataclass(frozen=True, slots=True)
class _Scope:
    """What every table of one observation shares."""

    book: Book
    block: FrameBlock
    frames: IntArray
    accounts: Gathered
    exposures: Gathered
    first_accounts: IntArray
    first_exposures: IntArray

    def owners(self, table: Columns, gathered: Gathered) -> tuple[IntArray, IntArray]:
        """Each row's account and exposure (-1: none) in the figures."""
        return (
            self.accounts.local(table["account"][gathered.rows], gathered.pairs, self.first_accounts),
            self.exposures.local(table["exposure"][gathered.rows], gathered.pairs, self.first_exposures),
        )

    def converted(self, table: Columns, prefix: str, gathered: Gathered) -> FloatArray:
        """Value of one unit in the valuation currency."""
        frames = self.frames[gathered.pairs]
        factors = []
        for step in ("first", "second"):
            quoted = self.block.prices[frames, table[f"{prefix}_{step}"][gathered.rows]]
            powers = table[f"{prefix}_{step}_power"][gathered.rows]
            factors.append(np.where(powers > 0, quoted, 1.0 / quoted))
        product: FloatArray = factors[0] * factors[1]
        return product


def observe(book: Book, block: FrameBlock, pairs: Pairs) -> Figures:
    views = [book.view(number) for number in pairs.views]
    scope = _Scope(
        book=book,
        block=block,
        frames=pairs.frames,
        accounts=Gathered.of([view.accounts for view in views]),
        exposures=Gathered.of([view.exposures for view in views]),
        first_accounts=np.array([view.accounts[0] for view in views], dtype=np.int64),
        first_exposures=np.array([view.exposures[0] for view in views], dtype=np.int64),
    )
    sums = _Sums(int(scope.accounts.starts[-1]), int(scope.exposures.starts[-1]))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        holdings = Gathered.of([view.positions for view in views])
        if len(holdings.rows):
            _add_positions(sums, scope, holdings)
        cash = Gathered.of([view.balances for view in views])
        if len(cash.rows):
            _add_balances(sums, scope, cash)
        return _figures(sums, scope)


class _Sums:
    """Accumulators; each `add` is one sequential pass, in stored order."""

    def __init__(self, accounts: int, exposures: int) -> None:
        self._accounts, self._exposures = accounts, exposures
        zeros = np.zeros
        self.equities, self.initial, self.maintenance = zeros(accounts), zeros(accounts), zeros(accounts)
        self.deltas, self.gross = zeros(exposures), zeros(exposures)
        self.gammas, self.vegas, self.thetas = zeros(exposures), zeros(exposures), zeros(exposures)

    def by_account(self, owners: IntArray, values: FloatArray) -> FloatArray:
        return np.bincount(owners, weights=values, minlength=self._accounts).astype(np.float64, copy=False)

    def by_exposure(self, owners: IntArray, values: FloatArray) -> FloatArray:
        return np.bincount(owners, weights=values, minlength=self._exposures).astype(np.float64, copy=False)


def _add_positions(sums: _Sums, scope: _Scope, held: Gathered) -> None:
    table, universe = scope.book.positions, scope.book.universe
    frames = scope.frames[held.pairs]
    instruments = table["instrument"][held.rows]
    entries = table["entry_price"][held.rows]
    units = table["quantity"][held.rows] * universe.multipliers[instruments]
    inverse = universe.inverse[instruments]
    prices = scope.block.prices[frames, universe.price_rows[instruments]]
    to_value = scope.converted(table, "to_value", held)
    underlying_value = scope.converted(table, "underlying", held)
    profits = np.where(inverse, units * (prices - entries) / (entries * prices), units * (prices - entries))
    sizes = np.abs(units) * np.where(inverse, 1.0 / prices, prices) * to_value
    # Contract and coin profit together: the derivative of units (P / E - 1) is units / E.
    values, deltas = profits * to_value, np.where(inverse, units / entries, units)
    maintenance = sizes * universe.maintenance_rates[instruments]
    initial = sizes * universe.initial_rates[instruments]
    owners, slots = scope.owners(table, held)
    at = np.flatnonzero(universe.option[instruments])
    if len(at):
        priced = _option_figures(scope, frames[at], instruments[at], table["quantity"][held.rows][at])
        values[at], deltas[at] = priced.values * to_value[at], priced.deltas
        maintenance[at] = priced.maintenance * underlying_value[at]
        initial[at] = priced.initial * underlying_value[at]
        quote_value = underlying_value[at] / priced.forwards
        sums.gammas = sums.by_exposure(slots[at], priced.gammas)
        sums.vegas = sums.by_exposure(slots[at], priced.vegas * quote_value)
        sums.thetas = sums.by_exposure(slots[at], priced.thetas * quote_value)
    sums.equities = sums.by_account(owners, values)
    sums.maintenance = sums.by_account(owners, maintenance)
    sums.initial = sums.by_account(owners, initial)
    sums.deltas = sums.by_exposure(slots, deltas)
    sums.gross = sums.by_exposure(slots, np.abs(deltas) * underlying_value)


@dataclass(frozen=True, slots=True)
class _OptionFigures:
    """Of signed holdings. `values` in the settlement asset, requirements in coin, greeks in quote."""

    values: FloatArray
    deltas: FloatArray
    gammas: FloatArray
    vegas: FloatArray
    thetas: FloatArray
    initial: FloatArray
    maintenance: FloatArray
    forwards: FloatArray


def _option_figures(
    scope: _Scope, frames: IntArray, instruments: IntArray, quantities: FloatArray
) -> _OptionFigures:
    """Black-76 at zero rate on the price of the instrument that marks it, as the coin exchanges do."""
    universe, block = scope.book.universe, scope.block
    forwards = block.prices[frames, universe.price_rows[instruments]]
    times = np.array([frame.time_ns for frame in block.frames], dtype=np.int64)[frames]
    volatilities = block.volatilities[frames, instruments]
    known = np.isfinite(forwards) & np.isfinite(volatilities)
    priced = black_76(
        forwards=np.where(known, forwards, 1.0),
        strikes=universe.strikes[instruments],
        years_to_expiry=np.maximum(universe.expiries_ns[instruments] - times, 0) / NS_PER_YEAR,
        volatilities=np.where(known, volatilities, 0.0),
        is_call=universe.call[instruments],
    )
    unknown = np.where(known, 0.0, np.nan)
    units = quantities * universe.multipliers[instruments] + unknown
    inverse = universe.inverse[instruments]
    needed = coin_option_requirements(
        quantities=quantities,
        multipliers=universe.multipliers[instruments],
        strikes=universe.strikes[instruments],
        underlying_prices=forwards,
        mark_prices_in_coin=priced.values / forwards,
        is_call=universe.call[instruments],
    )
    # Equity already counts a short option at its mark, so the mark leaves the requirement.
    short_marks = np.maximum(-units, 0.0) * priced.values / forwards
    return _OptionFigures(
        values=units * np.where(inverse, priced.values / forwards, priced.values),
        deltas=units * priced.deltas,
        gammas=units * priced.gammas,
        vegas=units * priced.vegas,
        thetas=units * priced.thetas,
        initial=needed.initial - short_marks,
        maintenance=needed.maintenance - short_marks,
        forwards=forwards,
    )


def _add_balances(sums: _Sums, scope: _Scope, cash: Gathered) -> None:
    table = scope.book.balances
    amounts = table["amount"][cash.rows]
    worth = amounts * scope.converted(table, "to_value", cash)
    counted = np.where(amounts > 0.0, 1.0 - table["haircut"][cash.rows], 1.0)
    owners, slots = scope.owners(table, cash)
    # A balance of nothing is worth nothing, whether or not its price is known.
    collateral = np.where(amounts == 0.0, 0.0, worth * counted)
    sums.equities = sums.equities + sums.by_account(owners, collateral)
    exposed = slots >= 0
    if exposed.any():
        sums.deltas = sums.deltas + sums.by_exposure(slots[exposed], amounts[exposed])
        sums.gross = sums.gross + sums.by_exposure(slots[exposed], np.abs(worth[exposed]))


def _figures(sums: _Sums, scope: _Scope) -> Figures:
    needed: BoolArray = sums.maintenance > 0.0
    solvent: BoolArray = sums.equities > 0.0
    ratios = np.where(solvent, sums.maintenance / sums.equities, np.inf)
    ratios = np.where(needed, ratios, 0.0)
    ratios[np.isnan(sums.maintenance) | np.isnan(sums.equities)] = np.nan
    return Figures(
        accounts=scope.accounts,
        exposures=scope.exposures,
        equities=sums.equities,
        initial_margins=sums.initial,
        maintenance_margins=sums.maintenance,
        margin_ratios=ratios,
        deltas=sums.deltas,
        gross_notionals=sums.gross,
        underlying_prices=scope.converted(scope.book.exposures, "to_value", scope.exposures),
        gammas=sums.gammas,
        vegas=sums.vegas,
        thetas=sums.thetas,
    )


def mark_prices(universe: Universe, block: FrameBlock, k: int) -> dict[InstrumentId, float]:
    """What every instrument is worth on a frame, as its venue quotes it; NaN where that is not known."""
    forwards = block.prices[k, universe.price_rows]
    marks = forwards.copy()
    at = np.flatnonzero(universe.option)
    if len(at):
        known = np.isfinite(forwards[at]) & np.isfinite(block.volatilities[k, at])
        left_ns = np.maximum(universe.expiries_ns[at] - block.frames[k].time_ns, 0)
        values = black_76(
            forwards=np.where(known, forwards[at], 1.0),
            strikes=universe.strikes[at],
            years_to_expiry=left_ns / NS_PER_YEAR,
            volatilities=np.where(known, block.volatilities[k, at], 0.0),
            is_call=universe.call[at],
        ).values
        quoted = np.where(universe.inverse[at], values / forwards[at], values)
        marks[at] = np.where(known, quoted, np.nan)
    return dict(zip(universe.instruments, marks.tolist(), strict=True))
