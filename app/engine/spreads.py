"""What one confidence of every price takes from accounts where each price is against them.

A position is taken below the consensus where it is long and above it where it is short, collateral below, and
what is owed above: Pyth's best practice for those who lend, price - confidence for collateral and price +
confidence for debt (docs.pyth.network, "Best Practices", "Confidence Intervals"). All prices are off at once,
each the wrong way: the worst case of the intervals, and not a likely one. Maintenance is taken at the higher
price on either side.

To first order, so options go by their deltas, and profit that is in another currency counts at its consensus.
Loans and linear contracts are exact.
"""

from typing import NamedTuple

import numpy as np

from app.engine.book import Book
from app.engine.frame_block import FrameBlock
from app.engine.held_rows import HeldRows, held_rows
from app.engine.option_units import option_units
from app.engine.tables import PairColumns
from app.engine.view_rows import BalanceColumns, PositionColumns
from app.quant.arrays import FloatArray, IntArray


class Spreads(NamedTuple):
    """Shape (accounts,), in the valuation currency of each portfolio: see `AccountFigures`."""

    position: FloatArray
    collateral: FloatArray
    maintenance: FloatArray


def spreads(book: Book, block: FrameBlock, pairs: PairColumns, asked: IntArray) -> Spreads:
    """Of every account of the pairs whose numbers are `asked`, one after the other.

    Sums are made in stored order. What has no price has no spread: the figures of its account are NaN then.
    """
    accounts, positions, balances = held_rows(book, pairs, asked)
    held, owned = book.positions.arrays, book.balances.arrays
    lends = book.accounts.arrays.lends[accounts]
    option, loan = block.universe.terms.option[held.instrument[positions.number]], lends[positions.account]
    found = Spreads(*np.zeros((3, accounts.size)))
    _add_contracts(block, positions.where(~(option | loan)), held, found)
    if option.any():
        _add_options(block, positions.where(option), held, found)
    _add_loans(block, positions.where(loan), held, found)
    backs = (owned.amount[balances.number] != 0.0) & ~lends[balances.account]
    _add_balances(block, balances.where(backs), owned, found)
    return found


def _add_contracts(block: FrameBlock, rows: HeldRows, held: PositionColumns, found: Spreads) -> None:
    terms, instrument = block.universe.terms, held.instrument[rows.number]
    price = block.values(rows.frame, terms.price_row[instrument])
    units = np.abs(held.quantity[rows.number]) * terms.multiplier[instrument]
    size = units * np.where(terms.inverse[instrument], 1.0 / price, price)
    size *= block.conversion_values(rows.frame, held.settlement_value[rows.number])
    spread = size * block.confidence_shares(rows.frame, terms.price_row[instrument])
    _add(found.position, rows, spread)
    _add(found.maintenance, rows, spread * terms.maintenance_rate[instrument])


def _add_options(block: FrameBlock, rows: HeldRows, held: PositionColumns, found: Spreads) -> None:
    terms, instrument = block.universe.terms, held.instrument[rows.number]
    unit = option_units(block, rows.frame, instrument)
    units = held.quantity[rows.number] * terms.multiplier[instrument]
    worth = block.conversion_values(rows.frame, held.underlying_value[rows.number])
    share = block.confidence_shares(rows.frame, terms.price_row[instrument])
    _add(found.position, rows, np.abs(units * unit.delta) * worth * share)
    _add(found.maintenance, rows, np.maximum(-units, 0.0) * (unit.maintenance - unit.mark) * worth * share)


def _add_loans(block: FrameBlock, rows: HeldRows, held: PositionColumns, found: Spreads) -> None:
    amount, asset = held.quantity[rows.number], held.settlement_value[rows.number]
    spread = block.conversion_values(rows.frame, asset) * block.conversion_spreads(rows.frame, asset)
    _add(found.collateral, rows, np.maximum(amount, 0.0) * held.backing_rate[rows.number] * spread)
    _add(found.maintenance, rows, np.maximum(-amount, 0.0) * held.maintenance_rate[rows.number] * spread)


def _add_balances(block: FrameBlock, rows: HeldRows, owned: BalanceColumns, found: Spreads) -> None:
    amount, asset = owned.amount[rows.number], owned.asset_value[rows.number]
    counted = np.where(amount > 0.0, 1.0 - owned.haircut[rows.number], 1.0)
    worth = np.abs(amount) * counted * block.conversion_values(rows.frame, asset)
    _add(found.collateral, rows, worth * block.conversion_spreads(rows.frame, asset))


def _add(sums: FloatArray, rows: HeldRows, spread: FloatArray) -> None:
    """One after the other, so that an account's sum is the same whoever is its neighbour."""
    np.add.at(sums, rows.account, np.nan_to_num(spread, nan=0.0))
