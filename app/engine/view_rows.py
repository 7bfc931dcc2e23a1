"""The rows of one view, in stored order. Accounts and exposures are numbered within the view."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from app.domain.conditions import Condition
from app.domain.identifiers import Asset, InstrumentId
from app.domain.portfolios import Account, Portfolio
from app.engine.conditions import Programme, Row, compile_condition
from app.engine.operands import Operands
from app.engine.trigger_rows import NONE, trigger_rows
from app.engine.universe import Universe
from app.quant.arrays import BoolArray, FloatArray, IntArray

PAPER_VENUE = "paper"


class AccountColumns(NamedTuple):
    """Whether Ballast itself closes it below maintenance: a paper account that really stands so."""

    liquidates: BoolArray


class PositionColumns(NamedTuple):
    instrument: IntArray
    account: IntArray
    exposure: IntArray
    underlying_value: IntArray
    settlement_value: IntArray
    quantity: FloatArray
    entry_price: FloatArray


class BalanceColumns(NamedTuple):
    """`exposure` is `NONE` for cash."""

    account: IntArray
    exposure: IntArray
    asset_value: IntArray
    amount: FloatArray
    haircut: FloatArray


class ExposureColumns(NamedTuple):
    underlying_value: IntArray


class ViewRows:
    def __init__(self, universe: Universe, holdings: Portfolio, *, liquidates: bool) -> None:
        self._universe = universe
        self._holdings = holdings
        self.underlyings: dict[Asset, int] = {}
        self.conversions: dict[int, None] = {}
        self.marks: dict[int, None] = {}
        self.accounts: list[tuple[bool]] = []
        self.positions: list[Sequence[Any]] = []
        self.balances: list[Sequence[Any]] = []
        self.exposures: list[tuple[int]] = []
        self.triggers: list[Sequence[Any]] = []
        self.parameters: list[tuple[float]] = []
        self.conditions: list[Row] = []
        self.registers: list[tuple[float]] = []
        self.read: dict[int, None] = {}
        for ordinal, account in enumerate(holdings.accounts):
            self.accounts.append((liquidates and account.venue == PAPER_VENUE,))
            self._add_positions(ordinal, account)
            self._add_balances(ordinal, account)

    def _add_positions(self, ordinal: int, account: Account) -> None:
        universe = self._universe
        for position in account.positions:
            instrument = universe.instruments[position.instrument]
            row = universe.index[position.instrument]
            underlying = Asset(instrument.underlying)
            self._mark(row)
            self.positions.append(
                (
                    row,
                    ordinal,
                    self._exposure(underlying),
                    self._conversion(underlying),
                    self._conversion(instrument.settlement_asset),
                    float(position.quantity),
                    float(position.entry_price),
                )
            )

    def _add_balances(self, ordinal: int, account: Account) -> None:
        for balance in account.balances:
            asset = balance.asset
            exposed = asset in self._universe.exposures and asset != self._holdings.valuation_currency
            self.balances.append(
                (
                    ordinal,
                    self._exposure(asset) if exposed else NONE,
                    self._conversion(asset),
                    float(balance.amount),
                    float(balance.haircut),
                )
            )

    def add_triggers(self, first_parameter: int) -> None:
        """`first_parameter`: where the first of `parameters` will stand."""
        for number, stored in enumerate(self._holdings.policies):
            for name in stored.policy.instruments:
                self._mark(self._universe.index[InstrumentId(name)])
            for row in trigger_rows(
                stored.policy, self._holdings.accounts, self._cheapest(stored.policy.instruments)
            ):
                exposure = NONE if row.underlying is None else self._exposure(row.underlying)
                at = first_parameter + len(self.parameters)
                self.parameters += [(value,) for value in row.parameters]
                self.triggers.append(
                    (number, row.kind, exposure, row.account, row.target, row.low, row.high, at)
                )

    def _cheapest(self, names: Sequence[str]) -> float:
        universe = self._universe
        rates = (universe.cost_rates[universe.index[InstrumentId(name)]] for name in names)
        return min((float(rate) for rate in rates), default=0.0)

    def add_condition(self, tree: Condition) -> Programme:
        """Appended to `conditions` and `registers`, where those of the view begin anew."""
        operands = Operands(
            self._universe,
            self._holdings,
            exposure=self._exposure,
            conversion=self._conversion,
            read=self.read,
        )
        programme = compile_condition(tree, operands.resolve)
        self.conditions += programme.rows
        self.registers += [(0.0,)] * programme.registers
        return programme

    def _mark(self, row: int) -> None:
        self.marks[int(self._universe.terms.price_row[row])] = None

    def _exposure(self, underlying: Asset) -> int:
        if underlying not in self.underlyings:
            self.underlyings[underlying] = len(self.underlyings)
            self.exposures.append((self._conversion(underlying),))
        return self.underlyings[underlying]

    def _conversion(self, asset: Asset) -> int:
        found = self._universe.conversion(asset, self._holdings.valuation_currency)
        self.conversions[found] = None
        return found
