"""Portfolio margin: what a whole portfolio loses in the worst of many scenarios, as Deribit and OKX describe
theirs.

The positions of a book on one underlying are a risk unit; where rules say so, those that settle in coin and
those that settle in quote currency are units of their own, and coin units lose coins. A unit is revalued in
full over

- a ladder of price moves, each with volatility down, as it is, and up. The relative shock is stronger for
  near expiries: ``range x (30 / days)^power``, with one power up to 30 days and one beyond;
- an extended tail of far moves with volatility up, of which a part counts: ``price range / |move|``, after
  that less a dampener of ``(|move| / price range - 1)`` times an amount, so that only large short tails pay
  for it.

To the worst loss come the roll shock (net delta of every expiry x the larger of a least move and the
annualised move's growth until the expiry) and the liquidity shock (delta beyond a threshold costs more the
more there is; bought options only offset). Their sum is the initial margin, a fixed part of it the
maintenance margin. The units' margins add.

Sources: Deribit, "Portfolio Margin" (support.deribit.com, article 25944756247837); the parameters, risk
vectors and margins in the reference of ``private/pme/simulate`` (docs.deribit.com), which the tests reproduce
to the printed digits; the volatility shocks as in Oreome, "Advanced Risk Scenarios" (docs.oreome.com), with
the days floored at one as in Paradex, "Portfolio Margin" (docs.paradex.trade). Deribit's example holds
futures alone: it fixes the ladder, the tail, its dampener and the least roll move, not the volatility shocks,
the roll shock of far expiries or the liquidity shock, whose forms are as read from the names of the
parameters. OKX, "Portfolio margin mode: cross margin trading" and "OKX will further adjust portfolio margin
parameters" (January 2025). Exchanges change the numbers without notice: they are parameters here.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from app.quant.arrays import BoolArray, FloatArray, IntArray, StatusArray
from app.quant.black_scholes import black_76
from app.quant.conventions import DAYS_PER_YEAR
from app.quant.scenarios import scenario_grid
from app.quant.solvency.books import FIRST_OPTION, Books, BookStatus, PositionKind, prices_column
from app.quant.solvency.figures import account_figures

_IN_COIN = (PositionKind.INVERSE, PositionKind.COIN_CALL, PositionKind.COIN_PUT)
_PUTS = (PositionKind.LINEAR_PUT, PositionKind.COIN_PUT)


class PortfolioMarginRules(NamedTuple):
    """An exchange's parameters. The defaults are Deribit's for BTC, of June 2024."""

    price_range: float = 0.16
    ladder_steps: int = 4  # to each side
    volatility_range_up: float = 0.5
    volatility_range_down: float = 0.25
    least_volatility_up: float = 0.5
    short_term_power: float = 0.3
    long_term_power: float = 0.13
    pivot_days: float = 30.0
    least_days: float = 1.0
    tail_moves: tuple[float, ...] = (-0.66, -0.33, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0)
    tail_factor: float = 1.0
    tail_dampener: float = 100_000.0  # in quote currency
    least_roll_move: float = 0.01
    annual_roll_move: float = 0.075
    liquidity_threshold: float = 20_000_000.0  # delta notional, in quote currency
    liquidity_increment: float = 0.00005  # of the delta, for each coin beyond the threshold
    liquidity_cap: float = 0.1
    maintenance_factor: float = 0.8  # of the initial margin
    settlements_apart: bool = True


DERIBIT_BTC = PortfolioMarginRules()


def okx_rules(
    *,
    volatility_range_up: float,
    volatility_range_down: float,
    extreme_part: float,
    price_range: float = 0.12,
    ladder_steps: int = 3,
    extreme_move: float = 0.24,
) -> PortfolioMarginRules:
    """OKX's spot shock (MR1) and extreme move (MR6) for BTC and ETH, with 1.3 x maintenance as initial
    margin.

    Its volatility shocks come from a table of points and percentages by expiry, and only a part of the
    extreme move's loss counts: both have to be given. Theta, vega, basis and rate risk (MR2 to MR5), the
    minimum charge (MR7) and the depeg charge (MR9) are not in here: the figure is a lower bound of OKX's.
    """
    return PortfolioMarginRules(
        price_range=price_range,
        ladder_steps=ladder_steps,
        volatility_range_up=volatility_range_up,
        volatility_range_down=volatility_range_down,
        least_volatility_up=0.0,
        short_term_power=0.0,
        long_term_power=0.0,
        tail_moves=(-extreme_move, extreme_move),
        tail_factor=extreme_part * extreme_move / price_range,
        tail_dampener=0.0,
        least_roll_move=0.0,
        annual_roll_move=0.0,
        liquidity_cap=0.0,
        maintenance_factor=1.0 / 1.3,
        settlements_apart=False,
    )


class PortfolioMargins(NamedTuple):
    """Of each book, in quote currency; shape (books,)."""

    equity: FloatArray
    initial_margin: FloatArray
    maintenance_margin: FloatArray
    margin_ratios: FloatArray  # maintenance margin / equity
    worst_losses: FloatArray
    roll_shocks: FloatArray
    liquidity_shocks: FloatArray
    statuses: StatusArray  # of BookStatus


class RiskUnits(NamedTuple):
    """The positions regrouped: a book for each risk unit, and whose and what it is; shape (units,)."""

    books: Books
    owners: IntArray
    index_prices: FloatArray  # of the unit's underlying
    in_coin: BoolArray  # its currency: coin, else quote


class RiskVectors(NamedTuple):
    """Profits of each risk unit, in its currency."""

    ladder: FloatArray  # shape (units, moves, 3): volatility down, as it is, up
    tail: FloatArray  # shape (units, tail moves): the part that counts


def portfolio_margins(
    *, books: Books, underlying_prices: ArrayLike, rules: PortfolioMarginRules = DERIBIT_BTC
) -> PortfolioMargins:
    """Initial and maintenance margin of every book by the rules of a portfolio margin.

    Parameters
    ----------
    books : Books
        From `app.quant.solvency.books.books_of`. ``years_to_expiry`` counts for dated futures too (the roll
        shock goes by expiry); 0 is a perpetual. Maintenance tiers are not used. Holdings are collateral where
        the settlements are apart, else part of the unit.
    underlying_prices : array_like, shape (underlyings,)
    rules : PortfolioMarginRules
    """
    prices = prices_column(underlying_prices)
    figures = account_figures(books=books, underlying_prices=prices)
    invalid = figures.statuses == BookStatus.INVALID
    books = books._replace(
        quantities=np.where(np.repeat(invalid, np.diff(books.starts)), 0.0, books.quantities)
    )
    units = risk_units(books=books, underlying_prices=prices, rules=rules)
    vectors = risk_vectors(units=units, underlying_prices=prices, rules=rules)
    worth = np.where(units.in_coin, units.index_prices, 1.0)
    losses = -np.minimum(np.minimum(vectors.ladder.min(axis=(1, 2)), vectors.tail.min(axis=1)), 0.0)
    rolls, liquidity = _delta_shocks(units, prices, rules)
    count = books.cash.size
    worst, roll, liquid = (
        np.where(invalid, 0.0, _sums(units.owners, each, count))
        for each in (losses * worth, rolls * units.index_prices, liquidity * units.index_prices)
    )
    initial = worst + roll + liquid
    maintenance = rules.maintenance_factor * initial
    solvent = (figures.statuses == BookStatus.VALID) & (figures.equity > 0.0)
    ratios = np.where(solvent, maintenance / np.where(solvent, figures.equity, 1.0), 0.0)
    return PortfolioMargins(
        figures.equity, initial, maintenance, ratios, worst, roll, liquid, figures.statuses
    )


def risk_units(*, books: Books, underlying_prices: ArrayLike, rules: PortfolioMarginRules) -> RiskUnits:
    """The risk units of sound books."""
    prices = prices_column(underlying_prices)
    owners = np.repeat(np.arange(books.cash.size), np.diff(books.starts))
    coin = np.isin(books.kinds, _IN_COIN) & rules.settlements_apart
    counts = ~((books.kinds == PositionKind.HOLDING) & rules.settlements_apart)
    rows = np.flatnonzero(counts & (books.quantities != 0.0))
    rows = rows[np.lexsort((coin[rows], books.underlyings[rows], owners[rows]))]
    keys = np.stack((owners[rows], books.underlyings[rows], coin[rows].astype(np.int64)))
    begins = np.flatnonzero(np.any(np.diff(keys, prepend=-1, axis=1) != 0, axis=0))
    columns = {
        name: getattr(books, name)[rows] for name in Books._fields if name not in ("starts", "cash", "tiers")
    }
    grouped = Books(
        starts=np.append(begins, rows.size), cash=np.zeros(begins.size), tiers=books.tiers, **columns
    )
    return RiskUnits(grouped, keys[0, begins], prices[keys[1, begins]], keys[2, begins] != 0)


def risk_vectors(
    *, units: RiskUnits, underlying_prices: ArrayLike, rules: PortfolioMarginRules
) -> RiskVectors:
    """What every risk unit gains and loses in every scenario."""
    steps = np.arange(-rules.ladder_steps, rules.ladder_steps + 1) / rules.ladder_steps
    moves, tail_moves = rules.price_range * steps, np.array(rules.tail_moves)
    up, least = rules.volatility_range_up, rules.least_volatility_up
    weights = _term_weights(units.books.years_to_expiry, rules)
    ladder = scenario_grid(
        books=units.books,
        underlying_prices=underlying_prices,
        spot_shocks=moves,
        volatility_shocks=[-rules.volatility_range_down, 0.0, up],
        volatility_weights=weights,
        least_volatilities=[0.0, 0.0, least],
    )
    tail = scenario_grid(
        books=units.books,
        underlying_prices=underlying_prices,
        spot_shocks=tail_moves,
        volatility_shocks=up,
        volatility_weights=weights,
        least_volatilities=least,
    )
    present = (ladder.equity - ladder.profits)[:, :1, :1, 0]
    far = _gained(units, tail.equity[:, :, :, 0], present, 1.0 + tail_moves)[:, :, 0]
    return RiskVectors(
        _gained(units, ladder.equity[:, :, :, 0], present, 1.0 + moves),
        _counted(units, far, tail_moves, rules),
    )


def _gained(units: RiskUnits, values: FloatArray, present: FloatArray, factors: FloatArray) -> FloatArray:
    index = units.index_prices[:, None, None]
    coins = values / (index * factors[None, :, None]) - present / index
    return np.where(units.in_coin[:, None, None], coins, values - present)


def _counted(
    units: RiskUnits, profits: FloatArray, moves: FloatArray, rules: PortfolioMarginRules
) -> FloatArray:
    """The part of the tail that counts. In coin it is as if valued where the ladder ends."""
    reach = np.abs(moves) / rules.price_range
    ladder_end = 1.0 + np.sign(moves) * rules.price_range
    coins = units.in_coin[:, None]
    part = np.where(coins, (1.0 + moves) / ladder_end, 1.0) * rules.tail_factor / reach
    dampener = np.maximum(reach - 1.0, 0.0) * rules.tail_dampener
    dampener = dampener / np.where(coins, ladder_end * units.index_prices[:, None], 1.0)
    counted = profits * part
    kept: FloatArray = np.sign(counted) * np.maximum(np.abs(counted) - dampener, 0.0)
    return kept


def _term_weights(years: FloatArray, rules: PortfolioMarginRules) -> FloatArray:
    days = np.maximum(years * DAYS_PER_YEAR, rules.least_days)
    power = np.where(days < rules.pivot_days, rules.short_term_power, rules.long_term_power)
    weights: FloatArray = np.power(rules.pivot_days / days, power)
    return weights


def _delta_shocks(
    units: RiskUnits, prices: FloatArray, rules: PortfolioMarginRules
) -> tuple[FloatArray, FloatArray]:
    """Roll and liquidity shock of each unit, in coins."""
    books, count = units.books, units.index_prices.size
    owners = np.repeat(np.arange(count), np.diff(books.starts))
    deltas = _plain_deltas(books, prices)
    expiries, group = np.unique(np.stack((owners, books.years_to_expiry)), axis=1, return_inverse=True)
    net = np.abs(_sums(group.reshape(-1), deltas, expiries.shape[1]))
    move = np.maximum(np.expm1(rules.annual_roll_move * expiries[1]), rules.least_roll_move)
    rolls = _sums(expiries[0].astype(np.int64), net * move, count)
    bought = (books.kinds >= FIRST_OPTION) & (books.quantities > 0.0)
    options, rest = (_sums(owners, np.where(mask, deltas, 0.0), count) for mask in (bought, ~bought))
    exposed = np.abs(np.clip(rest + options, np.minimum(rest, 0.0), np.maximum(rest, 0.0)))
    beyond = np.maximum(exposed - rules.liquidity_threshold / units.index_prices, 0.0)
    return rolls, np.minimum(beyond * rules.liquidity_increment, rules.liquidity_cap) * exposed


def _sums(owners: IntArray, column: FloatArray, count: int) -> FloatArray:
    """In stored order: bincount adds one after the other, so neighbours change nothing."""
    sums: FloatArray = np.bincount(owners, column, count).astype(np.float64)
    return sums


def _plain_deltas(books: Books, prices: FloatArray) -> FloatArray:
    """In coins; an inverse contract's at its mark, without the coin profit made so far."""
    sizes = books.quantities * books.multipliers
    marks = books.price_ratios * prices[books.underlyings]
    is_option = books.kinds >= FIRST_OPTION
    per_unit = black_76(
        forwards=marks,
        strikes=np.where(is_option, books.strikes, 1.0),
        years_to_expiry=books.years_to_expiry,
        volatilities=books.volatilities,
        is_call=~np.isin(books.kinds, _PUTS),
    ).deltas
    inverse = books.kinds == PositionKind.INVERSE
    return sizes * np.where(is_option, per_unit, np.where(inverse, 1.0 / marks, 1.0))
