"""How far prices may move until accounts are liquidated, for views of the book.

Where the price of an asset goes to s times what it is, so does every instrument on it, and what a unit of it
is worth. Options apart, equity less maintenance margin is then a sum of worths that move with one asset each,
or stay:

    balance     amount x value, less the haircut of a positive one
    loan        amount x value, x liquidation threshold where it is collateral; the wallet backs nothing
    linear      (units - rate |units|) P, moving, less units E
    inverse     units / E coins, moving, less what (units + rate |units|) / P coins are worth now

Cash stays: what linear derivatives are quoted in. Options keep their volatility. Everything is in the
valuation currency as it is; were that an asset that moves, all figures would be divided by one more positive
number, and vanish at the same prices.

The figures are those of `observation`, with one exception: where a short linear put is worth more than its
underlying, its requirement is 7.5 % of its mark as it settles, there of the mark in coin of the forward.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from app.domain.times import NS_PER_YEAR
from app.engine.book import Book
from app.engine.columns import ordinals_within
from app.engine.frame_block import FrameBlock
from app.engine.held_rows import HeldRows, held_rows
from app.engine.portfolio_accounts import portfolio_distances
from app.engine.tables import PairColumns
from app.engine.trigger_rows import NONE
from app.engine.view_rows import BalanceColumns, PositionColumns
from app.quant.arrays import BoolArray, FloatArray, IntArray
from app.quant.solvency.books import BookStatus, PositionKind, books_of
from app.quant.solvency.figures import account_figures
from app.quant.solvency.liquidation import liquidation_levels


class _Parts(NamedTuple):
    """What the books are made of. `asset` is the conversion that values it, `NONE` for what stays.

    `needs_margin`: whether there is a requirement; the worths of contracts are less theirs.
    """

    account: IntArray
    asset: IntArray
    needs_margin: BoolArray
    kind: IntArray
    quantity: FloatArray
    multiplier: FloatArray
    price: FloatArray
    ratio: FloatArray
    strike: FloatArray
    years: FloatArray
    volatility: FloatArray


def distances(book: Book, block: FrameBlock, pairs: PairColumns, asked: IntArray) -> FloatArray:
    """Of every account of the pairs whose numbers are `asked`, one after the other.

    The smallest |relative move|, of one asset or of all together, at which the maintenance margin reaches the
    equity: 0 where it has, infinite where none does (what needs no margin is never liquidated), NaN where a
    price is not known.
    """
    accounts, positions, balances = held_rows(book, pairs, asked)
    held, owned, terms = book.positions.arrays, book.balances.arrays, block.universe.terms
    instrument = held.instrument[positions.number]
    lends = book.accounts.arrays.lends[accounts]
    option, loan = terms.option[instrument], lends[positions.account]
    backs = (owned.amount[balances.number] != 0.0) & ~lends[balances.account]
    found = (
        *_contracts(block, positions.where(~(option | loan)), held),
        _options(block, positions.where(option), held),
        _loans(block, positions.where(loan), held),
        _balances(block, balances.where(backs), owned),
    )
    joined = _Parts._make(np.concatenate(columns) for columns in zip(*found, strict=True))
    order = np.argsort(joined.account, kind="stable")
    nearest = _nearest(block, _Parts._make(column[order] for column in joined), accounts.size)
    in_scenarios = book.accounts.arrays.portfolio_margin[accounts]
    if in_scenarios.any():
        nearest[in_scenarios] = portfolio_distances(
            book, block, PairColumns(pairs.number[asked], pairs.frame[asked])
        )
    return nearest


def _contracts(block: FrameBlock, rows: HeldRows, held: PositionColumns) -> tuple[_Parts, _Parts]:
    """What moves of each, and what stays."""
    terms, instrument = block.universe.terms, held.instrument[rows.number]
    price = block.values(rows.frame, terms.price_row[instrument])
    to_value = block.conversion_values(rows.frame, held.settlement_value[rows.number])
    entry, inverse = held.entry_price[rows.number], terms.inverse[instrument]
    units = held.quantity[rows.number] * terms.multiplier[instrument]
    required = terms.maintenance_rate[instrument] * np.abs(units)
    with np.errstate(divide="ignore", invalid="ignore"):  # where it is not known what it is worth
        moving = np.where(inverse, units / entry, (units - required) * price) * to_value
        staying = np.where(inverse, -(units + required) / price, -units * entry) * to_value
    asset, needs_margin = held.underlying_value[rows.number], required > 0.0
    return (
        _worths(rows.account, asset, moving, needs_margin),
        _worths(rows.account, np.full_like(asset, NONE), staying, needs_margin),
    )


def _loans(block: FrameBlock, rows: HeldRows, held: PositionColumns) -> _Parts:
    asset, amount = held.underlying_value[rows.number], held.quantity[rows.number]
    rate = np.where(amount > 0.0, held.backing_rate[rows.number], 1.0)
    worth = amount * rate * block.conversion_values(rows.frame, asset)
    return _worths(rows.account, asset, worth, amount < 0.0)


def _balances(block: FrameBlock, rows: HeldRows, owned: BalanceColumns) -> _Parts:
    asset, amount = owned.asset_value[rows.number], owned.amount[rows.number]
    counted = np.where(amount > 0.0, 1.0 - owned.haircut[rows.number], 1.0)
    worth = amount * counted * block.conversion_values(rows.frame, asset)
    return _worths(rows.account, asset, worth, np.zeros(worth.size, dtype=bool))


def _worths(account: IntArray, asset: IntArray, worth: FloatArray, needs_margin: BoolArray) -> _Parts:
    one = np.ones(worth.size)
    kind = np.full(worth.size, PositionKind.HOLDING, dtype=np.int64)
    return _Parts(account, asset, needs_margin, kind, worth, one, one, one, one, one, one)


def _options(block: FrameBlock, rows: HeldRows, held: PositionColumns) -> _Parts:
    """Valued in what they are settled in, their requirements in the underlying: so is its price here."""
    universe, instrument = block.universe, held.instrument[rows.number]
    terms, asset = universe.terms, held.underlying_value[rows.number]
    forward = block.values(rows.frame, terms.price_row[instrument])
    settlement = block.conversion_values(rows.frame, held.settlement_value[rows.number])
    currency = np.where(terms.inverse[instrument], 1.0, settlement)
    price = block.conversion_values(rows.frame, asset) / currency
    call = np.where(terms.inverse[instrument], PositionKind.COIN_CALL, PositionKind.LINEAR_CALL)
    put = np.where(terms.inverse[instrument], PositionKind.COIN_PUT, PositionKind.LINEAR_PUT)
    left_ns = np.maximum(terms.expiry_ns[instrument] - block.times_ns[rows.frame], 0)
    quantity = held.quantity[rows.number]
    return _Parts(
        account=rows.account,
        asset=asset,
        needs_margin=quantity < 0.0,
        kind=np.where(universe.terms.call[instrument], call, put),
        quantity=quantity,
        multiplier=terms.multiplier[instrument] * currency,
        price=price,
        ratio=forward / price,
        strike=universe.terms.strike[instrument],
        years=left_ns / NS_PER_YEAR,
        volatility=block.values(rows.frame, universe.volatility_columns[instrument]),
    )


def _nearest(block: FrameBlock, parts: _Parts, accounts: int) -> FloatArray:
    books = books_of(
        position_counts=np.bincount(parts.account, minlength=accounts),
        cash=np.zeros(accounts),
        kinds=parts.kind,
        underlyings=np.arange(parts.kind.size),
        quantities=parts.quantity,
        multipliers=parts.multiplier,
        price_ratios=parts.ratio,
        strikes=parts.strike,
        years_to_expiry=parts.years,
        volatilities=parts.volatility,
    )
    nearest: FloatArray = np.full(accounts, np.inf)
    for moving in _moves(block, parts):
        levels = liquidation_levels(books=books, underlying_prices=parts.price, move_together=moving)
        nearest = np.minimum(nearest, np.where(levels.reachable, levels.distances, np.inf))
    now = account_figures(books=books, underlying_prices=parts.price)
    nearest[now.equity <= now.maintenance_margin] = 0.0
    nearest[np.bincount(parts.account, parts.needs_margin, accounts) == 0.0] = np.inf
    nearest[now.statuses == BookStatus.INVALID] = np.nan
    return nearest


def _moves(block: FrameBlock, parts: _Parts) -> Iterator[BoolArray]:
    """Which parts move: with all assets, then with the first one of each account, with its second ..."""
    conversions = block.universe.conversions.arrays
    together = (parts.asset != NONE) & conversions.moves[parts.asset]
    yield together
    ordinal = np.full(together.size, NONE)
    ordinal[together] = ordinals_within(parts.account[together], parts.asset[together])
    several = int(ordinal.max(initial=0)) + 1
    for each in range(several if several > 1 else 0):
        yield ordinal == each
