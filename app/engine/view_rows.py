"""The rows of one view, in stored order. Accounts and exposures are numbered within the view."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from app.domain.conditions import Condition
from app.domain.identifiers import Asset, InstrumentId, PolicyId
from app.domain.instruments import Instrument, InstrumentKind
from app.domain.metrics import MetricRef
from app.domain.policies import StressResponse
from app.domain.portfolios import Account, MarginMode, Portfolio, Position
from app.domain.times import to_ns
from app.engine.conditions import Opcode, Programme, Row, compile_condition, compile_metric
from app.engine.operands import Operands
from app.engine.registers import Registers, fitting
from app.engine.series import SeriesSpec
from app.engine.trigger_rows import NONE, TriggerKind, TriggerRow, trigger_rows
from app.engine.universe import NEVER_NS, Universe
from app.quant.arrays import BoolArray, FloatArray, IntArray

PAPER_VENUE = "paper"
_DISTANCES = (Opcode.ACCOUNT_LIQUIDATION_DISTANCE, Opcode.PORTFOLIO_LIQUIDATION_DISTANCE)


class AccountColumns(NamedTuple):
    """`liquidates`: Ballast itself closes it below maintenance, a paper account that really stands so.

    `lends`: what backs it is its collateral in a pool, not its equity. `portfolio_margin`: it is margined as
    a whole, in scenarios.
    """

    liquidates: BoolArray
    lends: BoolArray
    portfolio_margin: BoolArray


class PositionColumns(NamedTuple):
    """Rates are of the notional: what it needs, initially and to be maintained, and what it backs.

    What is lent is priced at 1 in its own asset; `exposure` is `NONE` where that is cash. `accrued_ns` is
    `NEVER_NS` where the clock is not Ballast's business: elsewhere the venue does it, and at no rate nobody.
    """

    instrument: IntArray
    account: IntArray
    exposure: IntArray
    underlying_value: IntArray
    settlement_value: IntArray
    quantity: FloatArray
    entry_price: FloatArray
    price_row: IntArray
    initial_rate: FloatArray
    maintenance_rate: FloatArray
    backing_rate: FloatArray
    accrued_ns: IntArray


class BalanceColumns(NamedTuple):
    """`exposure` is `NONE` for cash."""

    account: IntArray
    exposure: IntArray
    asset_value: IntArray
    amount: FloatArray
    haircut: FloatArray


class ExposureColumns(NamedTuple):
    underlying_value: IntArray


class Remembering(NamedTuple):
    """A policy whose condition remembers, and where its rows and registers begin within the view's."""

    policy: int
    programme: Programme
    condition: int
    register: int


class ViewRows:
    """`underlyings` are numbered first, in this order, whether or not they are still held."""

    def __init__(
        self,
        universe: Universe,
        holdings: Portfolio,
        *,
        liquidates: bool,
        underlyings: Sequence[Asset] = (),
    ) -> None:
        self._universe = universe
        self._holdings = holdings
        self.underlyings: dict[Asset, int] = {}
        self.conversions: dict[int, None] = {}
        self.marks: dict[int, None] = {}
        self.accounts: list[tuple[bool, bool, bool]] = []
        self.portfolio_margin = False
        self.options = 0
        self.positions: list[Sequence[Any]] = []
        self.balances: list[Sequence[Any]] = []
        self.exposures: list[tuple[int]] = []
        self.triggers: list[Sequence[Any]] = []
        self.parameters: list[tuple[float]] = []
        self.conditions: list[Row] = []
        self.registers: list[tuple[float]] = []
        self.read: dict[int, None] = {}
        self.remembering: list[Remembering] = []
        self.due_ns = NEVER_NS
        self.asks_distance = False
        for underlying in underlyings:
            self._exposure(underlying)
        for ordinal, account in enumerate(holdings.accounts):
            on_paper = liquidates and account.venue == PAPER_VENUE
            mode = account.margin_mode
            self.accounts.append((on_paper, mode is MarginMode.LENDING, mode is MarginMode.PORTFOLIO))
            self.portfolio_margin |= mode is MarginMode.PORTFOLIO
            self._add_positions(ordinal, account, on_paper=on_paper)
            self._add_balances(ordinal, account)

    def _add_positions(self, ordinal: int, account: Account, *, on_paper: bool) -> None:
        universe = self._universe
        for position in account.positions:
            instrument = universe.instruments[position.instrument]
            row = universe.index[position.instrument]
            underlying = Asset(instrument.underlying)
            lent = instrument.kind is InstrumentKind.LENDING
            self.options += instrument.kind is InstrumentKind.OPTION
            by_the_clock = on_paper and (not lent or instrument.interest_rate_annual(position.quantity) > 0)
            if by_the_clock:
                self.due_ns = min(self.due_ns, _due_ns(position, instrument))
            if not lent:
                self._mark(row)
            self.positions.append(
                (
                    row,
                    ordinal,
                    self._exposure(underlying) if not lent or self._is_exposed(underlying) else NONE,
                    self._conversion(underlying),
                    self._conversion(instrument.settlement_asset),
                    float(position.quantity),
                    float(position.entry_price),
                    universe.one_row if lent else int(universe.terms.price_row[row]),
                    *(_loan_rates(position, instrument) if lent else universe.margin_rates[row]),
                    position.accrued_ns if by_the_clock else NEVER_NS,
                )
            )

    def _add_balances(self, ordinal: int, account: Account) -> None:
        for balance in account.balances:
            asset = balance.asset
            self.balances.append(
                (
                    ordinal,
                    self._exposure(asset) if self._is_exposed(asset) else NONE,
                    self._conversion(asset),
                    float(balance.amount),
                    float(balance.haircut),
                )
            )

    def add_triggers(self, first_parameter: int, registers: Mapping[PolicyId, Registers]) -> None:
        """`first_parameter`: where the first of `parameters` will stand."""
        for number, stored in enumerate(self._holdings.policies):
            for name in stored.policy.instruments:
                self._mark(self._universe.index[InstrumentId(name)])
            known = registers.get(stored.id, ())
            for row in trigger_rows(
                stored.policy,
                self._holdings.accounts,
                cost_rate=self._cheapest(stored.policy.instruments),
                tier=int(known[0]) if known and isinstance(stored.policy, StressResponse) else 0,
            ):
                self.asks_distance |= row.kind is TriggerKind.LIQUIDATION_DISTANCE
                exposure = NONE if row.underlying is None else self._exposure(row.underlying)
                at = first_parameter + len(self.parameters)
                self.parameters += [(value,) for value in row.parameters]
                programme = self._programme(number, row, known)
                self.triggers.append(
                    (number, row.kind, exposure, row.account, row.target, row.low, row.high, at, *programme)
                )

    def _programme(self, number: int, row: TriggerRow, known: Registers) -> tuple[int, int, int]:
        """Where the programme of a trigger begins and ends, and its registers begin."""
        begins, register = len(self.conditions), len(self.registers)
        if isinstance(row.condition, MetricRef):
            self.add_metric(row.condition)
        elif isinstance(row.condition, SeriesSpec):
            self.add_series(row.condition)
        elif row.condition is not None:
            programme = self.add_condition(row.condition, known)
            if programme.registers:
                self.remembering.append(Remembering(number, programme, begins, register))
        return begins, len(self.conditions), register

    def _cheapest(self, names: Sequence[str]) -> float:
        universe = self._universe
        rates = (universe.cost_rates[universe.index[InstrumentId(name)]] for name in names)
        return min((float(rate) for rate in rates), default=0.0)

    def add_condition(self, tree: Condition, known: Registers = ()) -> Programme:
        """Appended to `conditions` and `registers`, where those of the view begin anew."""
        programme = compile_condition(tree, self._operands().resolve)
        self._add_rows(programme)
        self.registers += [(value,) for value in fitting(programme, known)]
        return programme

    def add_metric(self, metric: MetricRef) -> None:
        """As a programme that comes to its value."""
        self._add_rows(compile_metric(metric, self._operands().resolve))

    def add_series(self, spec: SeriesSpec) -> None:
        """Likewise."""
        operand = self._operands().of_series(spec)
        self.conditions.append(Row(operand.opcode, NONE, NONE, operand.subject, operand.constant))

    def _add_rows(self, programme: Programme) -> None:
        self.conditions += programme.rows
        self.asks_distance |= any(row.opcode in _DISTANCES for row in programme.rows)

    def _operands(self) -> Operands:
        return Operands(
            self._universe,
            self._holdings,
            exposure=self._exposure,
            conversion=self._conversion,
            read=self.read,
        )

    def _mark(self, row: int) -> None:
        self.marks[int(self._universe.terms.price_row[row])] = None

    def _is_exposed(self, asset: Asset) -> bool:
        return asset in self._universe.exposures and asset != self._holdings.valuation_currency

    def _exposure(self, underlying: Asset) -> int:
        if underlying not in self.underlyings:
            self.underlyings[underlying] = len(self.underlyings)
            self.exposures.append((self._conversion(underlying),))
        return self.underlyings[underlying]

    def _conversion(self, asset: Asset) -> int:
        found = self._universe.conversion(asset, self._holdings.valuation_currency)
        self.conversions[found] = None
        return found


def _loan_rates(position: Position, instrument: Instrument) -> tuple[float, float, float]:
    """A debt is what is to be maintained. Initially collateral needs threshold less loan-to-value of itself:
    that is within the backing as long as the pool would lend as much, debt <= Σ collateral x loan-to-value.
    """
    if position.quantity < 0:
        return 1.0, 1.0, 0.0
    threshold = float(instrument.liquidation_threshold)
    return threshold - float(instrument.loan_to_value), 0.0, threshold


def _due_ns(position: Position, instrument: Instrument) -> int:
    """When the clock may next change it: its expiry, or the boundary after those that were paid."""
    interval_ns = instrument.accrual_interval_ns
    if interval_ns:
        return (position.accrued_ns // interval_ns + 1) * interval_ns
    return to_ns(instrument.expiry) if instrument.expiry else NEVER_NS
