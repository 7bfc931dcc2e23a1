"""What portfolio-margin accounts require: their books revalued in scenarios, beside the loop over columns.

Everything is put into the valuation currency of the portfolio first: a contract that settles in quote
currency at what that is worth, one that settles in coin at what its coin is worth. The amounts that the rules
name in quote currency are read as such of the valuation currency. Coins that an account holds are part of its
book where the rules count them. Every venue's accounts are under Deribit's rules for BTC, as
`app.quant.portfolio_margin` has them: of no other venue are all numbers known.
"""

from typing import Any, NamedTuple

import numpy as np

from app.domain.times import NS_PER_YEAR
from app.engine.book import Book
from app.engine.columns import ordinals_within, row_ranges
from app.engine.frame_block import FrameBlock
from app.engine.tables import PairColumns
from app.engine.trigger_rows import NONE
from app.engine.universe import NEVER_NS
from app.quant.arrays import BoolArray, FloatArray, IntArray
from app.quant.margin import Requirements
from app.quant.portfolio_liquidation import portfolio_liquidation_levels
from app.quant.portfolio_margin import DERIBIT_BTC, portfolio_margins
from app.quant.solvency.books import Books, BookStatus, PositionKind, books_of
from app.quant.solvency.liquidation import TOGETHER

NO_REQUIREMENTS = Requirements(np.zeros(0), np.zeros(0))

_KINDS = np.array(
    [
        [[PositionKind.LINEAR, PositionKind.LINEAR], [PositionKind.LINEAR_PUT, PositionKind.LINEAR_CALL]],
        [[PositionKind.INVERSE, PositionKind.INVERSE], [PositionKind.COIN_PUT, PositionKind.COIN_CALL]],
    ]
)
"""By whether it is inverse, an option, a call."""


class _Rows(NamedTuple):
    """Rows of positions or balances, the frame that each is looked at on, and the number of its account."""

    rows: IntArray
    frames: IntArray
    owners: IntArray


class _Margined(NamedTuple):
    """Books of portfolio-margin accounts without their cash, which stands beside.

    `assets` are the conversions that the prices come from, on whichever frames.
    """

    books: Books
    prices: FloatArray
    assets: IntArray
    cash: FloatArray
    is_unknown: BoolArray


def account_requirements(book: Book, block: FrameBlock, pairs: PairColumns) -> Requirements:
    """Initial and maintenance margin of the portfolio-margin accounts of all pairs.

    Pair after pair, and in a view in the order of its accounts; shape (such accounts,), in the valuation
    currency, NaN where a price or a volatility is not known. Views may be imagined.
    """
    if not book.margins_portfolios:
        return NO_REQUIREMENTS
    at = np.flatnonzero(book.columns.arrays.portfolio_margin[pairs.number])
    if not at.size:
        return NO_REQUIREMENTS
    margined = _margined(book, block, PairColumns(pairs.number[at], pairs.frame[at]))
    margins = portfolio_margins(books=margined.books, underlying_prices=margined.prices, rules=DERIBIT_BTC)
    is_unknown = margined.is_unknown | (margins.statuses == BookStatus.INVALID)
    return Requirements(
        np.where(is_unknown, np.nan, margins.initial_margin),
        np.where(is_unknown, np.nan, margins.maintenance_margin),
    )


def portfolio_distances(book: Book, block: FrameBlock, pairs: PairColumns) -> FloatArray:
    """How far prices may move until each of these accounts is liquidated; order and units as above.

    The smallest |relative move| of one asset or of all together, down to 1/32 of a price and up to 32 times,
    as a scan in steps of 2 % finds it: a thousand times the work of one look at the account.
    """
    margined = _margined(book, block, pairs)
    books, prices = margined.books._replace(cash=margined.cash), margined.prices
    moves = block.universe.conversions.arrays.moves[margined.assets]
    count = margined.cash.size
    owners = np.repeat(np.arange(count), np.diff(books.starts))
    moving = np.flatnonzero(moves[books.underlyings])
    ordinals = ordinals_within(owners[moving], books.underlyings[moving])
    chosen = np.full((1 + int(ordinals.max(initial=0)), count), TOGETHER)
    if chosen.shape[0] > 1:  # else what moves alone is all that moves
        chosen = np.vstack((np.full(count, TOGETHER), chosen))
        chosen[1 + ordinals, owners[moving]] = books.underlyings[moving]
    levels = portfolio_liquidation_levels(
        books=_repeated(books, chosen.shape[0]),
        underlying_prices=prices,
        underlyings=chosen.reshape(-1),
        move_together=moves,
        rules=DERIBIT_BTC,
    )
    found = np.where(levels.reachable, levels.distances, np.inf)
    nearest: FloatArray = found.reshape(chosen.shape).min(axis=0)
    now = portfolio_margins(books=books, underlying_prices=prices, rules=DERIBIT_BTC)
    nearest[now.equity <= now.maintenance_margin] = 0.0
    nearest[now.maintenance_margin == 0.0] = np.inf
    nearest[margined.is_unknown | (now.statuses == BookStatus.INVALID)] = np.nan
    return nearest


def _repeated(books: Books, times: int) -> Books:
    """All of them so many times."""
    counts = np.tile(np.diff(books.starts), times)
    columns = {n: np.tile(getattr(books, n), times) for n in Books._fields if n not in ("starts", "tiers")}
    return Books(starts=np.concatenate(([0], np.cumsum(counts))), tiers=books.tiers, **columns)


def _margined(book: Book, block: FrameBlock, pairs: PairColumns) -> _Margined:
    count, positions, coins, cash = _holdings(book, pairs)
    contracts, holdings = _contracts(book, block, positions), _coins(book, block, coins)
    owners = np.concatenate((positions.owners, coins.owners))
    columns: dict[str, Any] = {n: np.concatenate((contracts[n], holdings[n])) for n in contracts}
    is_known = np.isfinite(np.stack([column.astype(np.float64) for column in columns.values()])).all(axis=0)
    is_unknown = np.bincount(owners[~is_known], minlength=count) > 0
    kept = np.flatnonzero(is_known)
    kept = kept[np.argsort(owners[kept], kind="stable")]
    columns = {name: column[kept] for name, column in columns.items()}
    keys, first, underlyings = np.unique(columns.pop("underlying"), return_index=True, return_inverse=True)
    prices = columns.pop("underlying_price")[first]
    counts = np.bincount(owners[kept], minlength=count)
    return _Margined(
        books=books_of(position_counts=counts, cash=np.zeros(count), underlyings=underlyings, **columns),
        prices=prices,
        assets=keys % block.universe.conversions.length,
        cash=_cash(book, block, cash, count),
        is_unknown=is_unknown,
    )


def _holdings(book: Book, pairs: PairColumns) -> tuple[int, _Rows, _Rows, _Rows]:
    """How many portfolio-margin accounts there are, numbered as they are met, and what they hold.

    That is positions, coins and cash.
    """
    views, positions, balances = book.columns.arrays, book.positions.arrays, book.balances.arrays
    rows, of_pair = row_ranges(views.account[pairs.number], views.account_stop[pairs.number])
    is_margined = book.accounts.arrays.portfolio_margin[rows]
    numbers = np.where(is_margined, np.cumsum(is_margined) - 1, NONE)
    first_of_pair = np.searchsorted(of_pair, np.arange(pairs.number.size))

    def owned(starts: IntArray, stops: IntArray, account: IntArray) -> _Rows:
        found, of_pair = row_ranges(starts[pairs.number], stops[pairs.number])
        owners = numbers[first_of_pair[of_pair] + account[found]]
        kept = owners != NONE
        return _Rows(found[kept], pairs.frame[of_pair[kept]], owners[kept])

    held = owned(views.position, views.position_stop, positions.account)
    owned_balances = owned(views.balance, views.balance_stop, balances.account)
    is_coin = balances.exposure[owned_balances.rows] != NONE
    coins, cash = (_Rows(*(column[chosen] for column in owned_balances)) for chosen in (is_coin, ~is_coin))
    return int(is_margined.sum()), held, coins, cash


def _contracts(book: Book, block: FrameBlock, held: _Rows) -> dict[str, Any]:
    """Columns of `books_of`, in the valuation currency."""
    universe, terms = block.universe, block.universe.terms
    positions, rows = book.positions.arrays, held.rows
    instruments = positions.instrument[rows]
    is_inverse, is_option = terms.inverse[instruments], terms.option[instruments]
    marks = block.values(held.frames, terms.price_row[instruments])
    coin = block.conversion_values(held.frames, positions.underlying_value[rows])
    settled = block.conversion_values(held.frames, positions.settlement_value[rows])
    quote = np.where(is_inverse, coin / marks, settled)
    per_contract = terms.multiplier[instruments]
    expiries_ns = terms.expiry_ns[instruments]
    left_ns = np.maximum(expiries_ns - block.times_ns[held.frames], 0)
    volatilities = block.values(held.frames, universe.volatility_columns[instruments])
    return {
        "kinds": _KINDS[
            is_inverse.astype(int), is_option.astype(int), universe.terms.call[instruments].astype(int)
        ],
        "underlying": _keys(universe.conversions.length, held.frames, positions.underlying_value[rows]),
        "underlying_price": coin,
        "quantities": positions.quantity[rows],
        "multipliers": np.where(is_inverse & ~is_option, per_contract * quote, per_contract),
        "entry_prices": np.where(is_option, 0.0, positions.entry_price[rows] * quote),
        "price_ratios": np.where(is_inverse, 1.0, marks * quote / coin),
        "strikes": np.where(is_option, universe.terms.strike[instruments] * quote, 0.0),
        "years_to_expiry": np.where(expiries_ns == NEVER_NS, 0.0, left_ns / NS_PER_YEAR),
        "volatilities": np.where(is_option, volatilities, 0.0),
    }


def _coins(book: Book, block: FrameBlock, coins: _Rows) -> dict[str, Any]:
    """The same of balances that are exposed to a price."""
    balances, rows = book.balances.arrays, coins.rows
    nothing, amounts = np.zeros(rows.size), balances.amount[rows]
    conversions = balances.asset_value[rows]
    return {
        "kinds": np.full(rows.size, PositionKind.HOLDING),
        "underlying": _keys(block.universe.conversions.length, coins.frames, conversions),
        "underlying_price": block.conversion_values(coins.frames, conversions),
        "quantities": amounts,
        "multipliers": np.where(amounts > 0.0, 1.0 - balances.haircut[rows], 1.0),
        "entry_prices": nothing,
        "price_ratios": nothing + 1.0,
        "strikes": nothing,
        "years_to_expiry": nothing,
        "volatilities": nothing,
    }


def _cash(book: Book, block: FrameBlock, cash: _Rows, count: int) -> FloatArray:
    """Of each account, in the valuation currency. None of an asset is worth 0, its price known or not."""
    balances, rows = book.balances.arrays, cash.rows
    amounts = balances.amount[rows]
    counted = np.where(amounts > 0.0, 1.0 - balances.haircut[rows], 1.0)
    worths = amounts * block.conversion_values(cash.frames, balances.asset_value[rows]) * counted
    totals: FloatArray = np.zeros(count)
    np.add.at(totals, cash.owners, np.where(amounts == 0.0, 0.0, worths))
    return totals


def _keys(conversions: int, frames: IntArray, numbers: IntArray) -> IntArray:
    """Of a conversion on a frame."""
    keys: IntArray = frames * conversions + numbers
    return keys
