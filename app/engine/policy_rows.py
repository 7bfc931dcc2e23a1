"""The rows of policies: what a policy compares, once for all portfolios in which it reads the same.

The rows of a policy depend on the names of a portfolio's accounts, and on its valuation currency; only what
reads a reserve depends on more of it. Underlyings are numbers of assets here; the layout of a view makes them
exposures. So a million portfolios need as many of these as there are different policies.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
from msgspec import Struct

from app.domain.identifiers import InstrumentId
from app.domain.metrics import MetricRef
from app.domain.policies import AnyPolicy, StressResponse
from app.domain.portfolios import Portfolio
from app.engine.conditions import Opcode, Programme, Row, compile_condition, compile_metric
from app.engine.operands import Operands
from app.engine.registers import Registers
from app.engine.series import SeriesSpec
from app.engine.trigger_rows import NONE, TriggerKind, TriggerRow, trigger_rows
from app.engine.universe import Universe
from app.quant.arrays import BoolArray, FloatArray, IntArray

_DISTANCES = (Opcode.ACCOUNT_LIQUIDATION_DISTANCE, Opcode.PORTFOLIO_LIQUIDATION_DISTANCE)
_MOST_KEPT = 10_000


class Compiled(NamedTuple):
    """A trigger's programme that remembers, and where its rows and registers begin within the policy's."""

    programme: Programme
    condition: int
    register: int


class PolicyRows(Struct, frozen=True):
    """`triggers` and `conditions` have the columns of their tables (`TRIGGER_FIELDS`), counted from the
    policy's own beginning. `marks` are the rows whose prices its instruments are marked by.
    """

    triggers: FloatArray
    parameters: FloatArray
    conditions: FloatArray
    marks: IntArray
    registers: int
    remembering: tuple[Compiled, ...]
    asks_distance: bool
    asks_spread: bool
    reads_reserves: bool


class PolicyTables(NamedTuple):
    """The rows of several policies, one after the other; `..._start` says where those of each begin."""

    triggers: FloatArray
    trigger_start: IntArray
    parameters: FloatArray
    parameter_start: IntArray
    conditions: FloatArray
    condition_start: IntArray
    marks: IntArray
    mark_start: IntArray
    registers: IntArray
    asks_distance: BoolArray
    asks_spread: BoolArray


TRIGGER_FIELDS = ("kind", "asset", "account", "target", "low", "high", "parameters", "condition",
                  "condition_stop", "register")  # fmt: skip


class PolicyCatalogue:
    """Of one universe. Rows are kept for as long as the policy they were made of."""

    def __init__(self, universe: Universe) -> None:
        self._universe = universe
        self._kept: dict[tuple[Any, ...], tuple[AnyPolicy, PolicyRows]] = {}
        self._tables: dict[tuple[int, ...], tuple[Sequence[PolicyRows], PolicyTables]] = {}

    def of(self, holdings: Portfolio, policy: AnyPolicy, known: Registers) -> PolicyRows:
        """`known`: what it remembers, which may decide what it waits for."""
        tier = int(known[0]) if known and isinstance(policy, StressResponse) else 0
        names = tuple(account.name for account in holdings.accounts)
        key = (id(policy), tier, holdings.valuation_currency, names)
        kept = self._kept.get(key)
        if kept is not None and not kept[1].reads_reserves:
            return kept[1]
        rows = _Compiler(self._universe, holdings, policy, tier).rows()
        if len(self._kept) >= _MOST_KEPT:
            self._kept.clear()
        self._kept[key] = policy, rows
        return rows

    def tables(self, policies: Sequence[PolicyRows]) -> PolicyTables:
        """Of a portfolio's policies, which are the same each time that it changes."""
        key = tuple(map(id, policies))
        if key not in self._tables:
            if len(self._tables) >= _MOST_KEPT:
                self._tables.clear()
            self._tables[key] = policies, tables_of_policies(policies)
        return self._tables[key][1]


class _Compiler:
    def __init__(self, universe: Universe, holdings: Portfolio, policy: AnyPolicy, tier: int) -> None:
        self._universe, self._policy, self._tier = universe, policy, tier
        self._operands = Operands(universe, holdings)
        self._accounts = holdings.accounts
        self._conditions: list[Row] = []
        self._registers = 0
        self._remembering: list[Compiled] = []
        self._asks_distance = self._asks_spread = False

    def rows(self) -> PolicyRows:
        universe, named = self._universe, self._policy.instruments
        instruments = [universe.index[InstrumentId(name)] for name in named]
        cheapest = min((float(universe.cost_rates[row]) for row in instruments), default=0.0)
        triggers: list[tuple[float, ...]] = []
        parameters: list[float] = []
        for row in trigger_rows(self._policy, self._accounts, cost_rate=cheapest, tier=self._tier):
            self._asks_distance |= row.kind is TriggerKind.LIQUIDATION_DISTANCE
            self._asks_spread |= row.kind is TriggerKind.ADVERSE_MARGIN_RATIO
            asset = NONE if row.underlying is None else universe.asset(row.underlying)
            bounds = (row.account, row.target, row.low, row.high, len(parameters))
            triggers.append((row.kind, asset, *bounds, *self._programme(row)))
            parameters += row.parameters
        return PolicyRows(
            triggers=np.array(triggers, dtype=np.float64).reshape(-1, len(TRIGGER_FIELDS)),
            parameters=np.array(parameters, dtype=np.float64),
            conditions=np.array(self._conditions, dtype=np.float64).reshape(-1, len(Row._fields)),
            marks=universe.terms.price_row[np.array(instruments, dtype=np.int64)],
            registers=self._registers,
            remembering=tuple(self._remembering),
            asks_distance=self._asks_distance,
            asks_spread=self._asks_spread,
            reads_reserves=self._operands.reads_reserves,
        )

    def _programme(self, row: TriggerRow) -> tuple[int, int, int]:
        """Where it begins and ends, and its registers begin."""
        begins, register = len(self._conditions), self._registers
        programme = self._compiled(row)
        if programme is not None:
            self._conditions += programme.rows
            self._registers += programme.registers
            self._asks_distance |= any(each.opcode in _DISTANCES for each in programme.rows)
            if programme.registers:
                self._remembering.append(Compiled(programme, begins, register))
        return begins, len(self._conditions), register

    def _compiled(self, row: TriggerRow) -> Programme | None:
        condition = row.condition
        if condition is None:
            return None
        if isinstance(condition, MetricRef):
            return compile_metric(condition, self._operands.resolve)
        if isinstance(condition, SeriesSpec):
            operand = self._operands.of_series(condition)
            return Programme((Row(operand.opcode, NONE, NONE, operand.subject, operand.constant),), ("",), 0)
        return compile_condition(condition, self._operands.resolve)


def tables_of_policies(policies: Sequence[PolicyRows]) -> PolicyTables:
    if not policies:
        return _NO_POLICIES
    triggers = [each.triggers for each in policies]
    parameters, conditions = [each.parameters for each in policies], [each.conditions for each in policies]
    marks = [each.marks for each in policies]
    return PolicyTables(
        triggers=np.concatenate(triggers),
        trigger_start=_starts(triggers),
        parameters=np.concatenate(parameters),
        parameter_start=_starts(parameters),
        conditions=np.concatenate(conditions),
        condition_start=_starts(conditions),
        marks=np.concatenate(marks),
        mark_start=_starts(marks),
        registers=np.array([each.registers for each in policies], dtype=np.int64),
        asks_distance=np.array([each.asks_distance for each in policies], dtype=bool),
        asks_spread=np.array([each.asks_spread for each in policies], dtype=bool),
    )


def _starts(parts: Sequence[FloatArray | IntArray]) -> IntArray:
    return np.array([0, *accumulate(map(len, parts))], dtype=np.int64)


_NO_POLICIES = PolicyTables(
    triggers=np.zeros((0, len(TRIGGER_FIELDS))),
    trigger_start=np.zeros(1, dtype=np.int64),
    parameters=np.zeros(0),
    parameter_start=np.zeros(1, dtype=np.int64),
    conditions=np.zeros((0, len(Row._fields))),
    condition_start=np.zeros(1, dtype=np.int64),
    marks=np.zeros(0, dtype=np.int64),
    mark_start=np.zeros(1, dtype=np.int64),
    registers=np.zeros(0, dtype=np.int64),
    asks_distance=np.zeros(0, dtype=bool),
    asks_spread=np.zeros(0, dtype=bool),
)
