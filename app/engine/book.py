"""The book of a shard as columns: positions, balances, accounts, exposures and triggers.

A portfolio stands in the book as one view, a contiguous block in every table in stored order; a changed
portfolio is appended anew and its old block is dead until compaction. What is in flight counts as if done;
while something is, a second view holds what really stands, and only that one can be liquidated.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np

from app.domain.adjustments import IN_FLIGHT_STATES
from app.domain.identifiers import Asset, InstrumentId, PortfolioId
from app.domain.policies import DeltaNeutral, LiquidationGuard
from app.domain.portfolios import Account, Portfolio
from app.engine.columns import Columns
from app.engine.fills import apply_legs_as_if_done
from app.engine.universe import Conversion, Universe
from app.quant.arrays import IntArray

PAPER_VENUE = "paper"
_CONVERSION_FIELDS = ("first", "first_power", "second", "second_power")


class TriggerKind(IntEnum):
    DELTA_OUTSIDE_BAND = 0
    MARGIN_RATIO_AT_LEAST = 1


@dataclass(frozen=True, slots=True)
class View:
    """Blocks of one portfolio, and the market rows its figures depend on; `price_rows` are those whose price
    it needs (an option's own row only brings its volatility).

    `holdings` is the portfolio these rows describe: with what is in flight as if done, or as it stands.
    """

    portfolio: Portfolio
    holdings: Portfolio
    accounts: tuple[int, int]
    positions: tuple[int, int]
    balances: tuple[int, int]
    exposures: tuple[int, int]
    triggers: tuple[int, int]
    rows: IntArray
    price_rows: IntArray
    underlyings: tuple[Asset, ...]
    decides: bool
    liquidates: bool


class Book:
    def __init__(self, universe: Universe) -> None:
        self.universe = universe
        self.views: list[View | None] = []
        self._by_portfolio: dict[PortfolioId, list[int]] = {}
        self._by_row: dict[int, dict[int, None]] = defaultdict(dict)
        self._clear()

    def _clear(self) -> None:
        whole, power = np.int64, np.int8
        conversion = {f"to_value_{f}": power if f.endswith("power") else whole for f in _CONVERSION_FIELDS}
        self.accounts = Columns(ordinal=whole)
        self.positions = Columns(
            instrument=whole, account=whole, exposure=whole, quantity=float, entry_price=float,
            underlying_first=whole, underlying_first_power=power,
            underlying_second=whole, underlying_second_power=power, **conversion,
        )  # fmt: skip
        self.balances = Columns(account=whole, exposure=whole, amount=float, haircut=float, **conversion)
        self.exposures = Columns(ordinal=whole, **conversion)
        self.triggers = Columns(
            policy=whole, kind=power, exposure=whole, account=whole, target=float, limit=float
        )
        self.views = []
        self._by_portfolio = {}
        self._by_row = defaultdict(dict)
        self._dead = 0

    def __len__(self) -> int:
        return len(self._by_portfolio)

    def portfolios(self) -> list[Portfolio]:
        return [self.portfolio(portfolio_id) for portfolio_id in self._by_portfolio]

    def portfolio(self, portfolio_id: PortfolioId) -> Portfolio:
        return self.view(self._by_portfolio[portfolio_id][0]).portfolio

    def __contains__(self, portfolio_id: PortfolioId) -> bool:
        return portfolio_id in self._by_portfolio

    def view(self, number: int) -> View:
        view = self.views[number]
        if view is None:
            raise KeyError(number)
        return view

    def views_of(self, portfolio_id: PortfolioId) -> Sequence[int]:
        return self._by_portfolio.get(portfolio_id, ())

    def views_on(self, rows: Iterable[int]) -> list[int]:
        """Views whose figures depend on any of these market rows, in the order they were put."""
        found: dict[int, None] = {}
        for row in rows:
            if row in self._by_row:
                found |= self._by_row[row]
        return sorted(found)

    def put(self, portfolio: Portfolio) -> None:
        """Adds a portfolio, or replaces it."""
        self.remove(portfolio.id)
        pending = [
            leg for work in portfolio.in_flight if work.state in IN_FLIGHT_STATES for leg in work.remaining
        ]
        as_if_done = apply_legs_as_if_done(portfolio, pending, self.universe.instruments)
        numbers = [self._append(portfolio, as_if_done, decides=True, liquidates=not pending)]
        if pending:
            numbers.append(self._append(portfolio, portfolio, decides=False, liquidates=True))
        self._by_portfolio[portfolio.id] = numbers

    def amend(self, portfolio: Portfolio) -> None:
        """Replaces what is known of a portfolio whose figures stay as they are."""
        for number in self._by_portfolio[portfolio.id]:
            view = self.view(number)
            holdings = replace(view.holdings, in_flight=portfolio.in_flight)
            self.views[number] = replace(view, portfolio=portfolio, holdings=holdings)

    def remove(self, portfolio_id: PortfolioId) -> None:
        for number in self._by_portfolio.pop(portfolio_id, ()):
            for row in self.view(number).rows.tolist():
                del self._by_row[row][number]
            self.views[number] = None
            self._dead += 1
        if self._dead > 1_000 + len(self.views) // 2:
            self.rebuild(self.universe)

    def rebuild(self, universe: Universe) -> None:
        """Compacts; also takes new listings in."""
        kept = self.portfolios()
        self.universe = universe
        self._clear()
        for portfolio in kept:
            self.put(portfolio)

    def _known(self, rows: Iterable[int]) -> IntArray:
        return np.array(sorted(row for row in rows if row < self.universe.size), dtype=np.int64)

    def _append(self, portfolio: Portfolio, holdings: Portfolio, *, decides: bool, liquidates: bool) -> int:
        number = len(self.views)
        builder = _ViewBuilder(self, holdings)
        first_account = self.accounts.length
        accounts = self.accounts.append({"ordinal": range(len(holdings.accounts))})
        for ordinal, account in enumerate(holdings.accounts):
            builder.add_account(first_account + ordinal, account)
        if decides:
            builder.add_triggers(first_account)
        view = View(
            portfolio=portfolio,
            holdings=holdings,
            accounts=accounts,
            exposures=self.exposures.append(builder.exposure_rows()),
            positions=self.positions.append(builder.positions),
            balances=self.balances.append(builder.balances),
            triggers=self.triggers.append(builder.triggers),
            rows=self._known(builder.price_rows | builder.own_rows),
            price_rows=self._known(builder.price_rows),
            underlyings=tuple(builder.underlyings),
            decides=decides,
            liquidates=liquidates,
        )
        self.views.append(view)
        for row in view.rows.tolist():
            self._by_row[row][number] = None
        return number


class _ViewBuilder:
    """Rows of one view, in stored order."""

    def __init__(self, book: Book, holdings: Portfolio) -> None:
        self._universe = book.universe
        self._holdings = holdings
        self._first_exposure = book.exposures.length
        self.underlyings: dict[Asset, Conversion] = {}
        self.price_rows: set[int] = set()
        self.own_rows: set[int] = set()
        self.positions: dict[str, list[float]] = {name: [] for name in book.positions.names}
        self.balances: dict[str, list[float]] = {name: [] for name in book.balances.names}
        self.triggers: dict[str, list[float]] = {name: [] for name in book.triggers.names}

    def add_account(self, row: int, account: Account) -> None:
        for position in account.positions:
            instrument = self._universe.instruments[position.instrument]
            index = self._universe.index[position.instrument]
            underlying = self._conversion(Asset(instrument.underlying))
            self.own_rows.add(index)
            self.price_rows.add(int(self._universe.price_rows[index]))
            _add(
                self.positions,
                instrument=index,
                account=row,
                exposure=self._exposure(Asset(instrument.underlying)),
                quantity=float(position.quantity),
                entry_price=float(position.entry_price),
                **_named("underlying", underlying),
                **_named("to_value", self._conversion(instrument.settlement_asset)),
            )
        for balance in account.balances:
            exposed = balance.asset in self._universe.exposures and balance.asset != self._currency
            _add(
                self.balances,
                account=row,
                exposure=self._exposure(balance.asset) if exposed else -1,
                amount=float(balance.amount),
                haircut=float(balance.haircut),
                **_named("to_value", self._conversion(balance.asset)),
            )

    def add_triggers(self, first_account: int) -> None:
        """One row per policy, and for margin triggers one per account in scope."""
        for number, stored in enumerate(self._holdings.policies):
            match stored.policy:
                case DeltaNeutral() as policy:
                    hedge = self._universe.index[InstrumentId(policy.hedge_instrument)]
                    self.price_rows.add(int(self._universe.price_rows[hedge]))
                    _add(
                        self.triggers,
                        policy=number,
                        kind=TriggerKind.DELTA_OUTSIDE_BAND,
                        exposure=self._exposure(Asset(policy.underlying)),
                        account=-1,
                        target=float(policy.target_delta),
                        limit=float(policy.band),
                    )
                case LiquidationGuard() as policy:
                    for ordinal, account in enumerate(self._holdings.accounts):
                        if policy.account in (None, account.name):
                            _add(
                                self.triggers,
                                policy=number,
                                kind=TriggerKind.MARGIN_RATIO_AT_LEAST,
                                exposure=-1,
                                account=first_account + ordinal,
                                target=float(policy.restore_margin_ratio),
                                limit=float(policy.trigger_margin_ratio),
                            )

    def exposure_rows(self) -> dict[str, list[float]]:
        rows: dict[str, list[float]] = {"ordinal": list(range(len(self.underlyings)))}
        for field in _CONVERSION_FIELDS:
            rows[f"to_value_{field}"] = [getattr(c, field) for c in self.underlyings.values()]
        return rows

    @property
    def _currency(self) -> Asset:
        return self._holdings.valuation_currency

    def _exposure(self, underlying: Asset) -> int:
        if underlying not in self.underlyings:
            self.underlyings[underlying] = self._conversion(underlying)
        return self._first_exposure + list(self.underlyings).index(underlying)

    def _conversion(self, asset: Asset) -> Conversion:
        found = self._universe.conversion(asset, self._currency) or self._universe.unknown
        self.price_rows |= {found.first, found.second}
        return found


def _named(prefix: str, conversion: Conversion) -> dict[str, int]:
    return {f"{prefix}_{field}": value for field, value in conversion._asdict().items()}


def _add(rows: dict[str, list[float]], **values: float) -> None:
    for name, value in values.items():
        rows[name].append(value)
