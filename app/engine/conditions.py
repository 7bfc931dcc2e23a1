"""Condition trees as columns: a tree is compiled once, into rows that a loop evaluates one after the other.

A row is an operation whose arguments are results of rows before it. Operands are read first, by whoever has
the figures (`observation`); then `evaluate` computes the rest. A truth is 1.0 or 0.0, and NaN where it is not
known; false and unknown is false, true or unknown is true (Kleene's logic). The last row is the whole tree.

What a condition must remember stands in registers, floats that belong to the policy; 0.0 is nothing known
yet. The loop only reads them, and says when they would change; `advanced` (engine/registers.py) changes them.
So the state is a function of the frames seen. Times in registers are whole microseconds of the market clock,
which floats hold exactly.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum
from typing import NamedTuple, assert_never

import numpy as np

from app.domain.conditions import (
    AllOf,
    AnyOf,
    Comparison,
    Condition,
    Crosses,
    Direction,
    Dwell,
    Not,
    Op,
    RateOfChange,
)
from app.domain.metrics import MetricRef
from app.quant.arrays import FloatArray, IntArray
from app.quant.compiled import inlined_in_place

US_PER_SECOND = 1_000_000
SAMPLES_PER_WINDOW = 32
SAMPLES = SAMPLES_PER_WINDOW + 1
"""One more than gaps: the oldest sample is a whole window old when the newest is taken."""
_NONE = -1


class Opcode(IntEnum):
    """Operands come first, by what `subject` numbers: nothing, an account, an exposure, or the market's."""

    UNKNOWN = 0
    CONSTANT = 1
    PORTFOLIO_EQUITY = 2
    PORTFOLIO_INITIAL_MARGIN = 3
    PORTFOLIO_MAINTENANCE_MARGIN = 4
    PORTFOLIO_MARGIN_RATIO = 5
    PORTFOLIO_HEALTH_FACTOR = 6
    PORTFOLIO_LEVERAGE = 7
    PORTFOLIO_GROSS_NOTIONAL = 8
    PORTFOLIO_LIQUIDATION_DISTANCE = 9
    ACCOUNT_EQUITY = 10
    ACCOUNT_INITIAL_MARGIN = 11
    ACCOUNT_MAINTENANCE_MARGIN = 12
    ACCOUNT_MARGIN_RATIO = 13
    ACCOUNT_HEALTH_FACTOR = 14
    ACCOUNT_LIQUIDATION_DISTANCE = 15
    NET_DELTA = 20
    DELTA_NOTIONAL = 21
    GROSS_NOTIONAL = 22
    GAMMA = 23
    DOLLAR_GAMMA = 24
    VEGA = 25
    THETA = 26
    MARKET_COLUMN = 30
    CONVERSION = 31
    SUM = 40
    ABOVE = 41
    AT_LEAST = 42
    BOTH = 43
    EITHER = 44
    NOT = 45
    CROSSES_ABOVE = 46
    CROSSES_BELOW = 47
    CHANGE = 48
    RELATIVE_CHANGE = 49
    DWELLS = 50


FIRST_ACCOUNT_OPCODE = int(Opcode.ACCOUNT_EQUITY)
FIRST_EXPOSURE_OPCODE = int(Opcode.NET_DELTA)
FIRST_OPERATION = int(Opcode.SUM)
_FIRST_REMEMBERING = int(Opcode.CROSSES_ABOVE)
_SUM, _ABOVE, _AT_LEAST = int(Opcode.SUM), int(Opcode.ABOVE), int(Opcode.AT_LEAST)
_BOTH, _EITHER, _NOT = int(Opcode.BOTH), int(Opcode.EITHER), int(Opcode.NOT)
_CROSSES_ABOVE, _DWELLS = int(Opcode.CROSSES_ABOVE), int(Opcode.DWELLS)
_CHANGE, _RELATIVE_CHANGE = int(Opcode.CHANGE), int(Opcode.RELATIVE_CHANGE)


class ConditionColumns(NamedTuple):
    """`left` and `right` count the rows of the programme. `subject`: which figure, or the first register.

    `constant`: what an operand is multiplied with, the level of a crossing, or a duration in microseconds.
    """

    opcode: IntArray
    left: IntArray
    right: IntArray
    subject: IntArray
    constant: FloatArray


class RegisterColumns(NamedTuple):
    value: FloatArray


class Operand(NamedTuple):
    """A figure times a constant."""

    opcode: Opcode
    subject: int = _NONE
    constant: float = 1.0


class Row(NamedTuple):
    """Of `ConditionColumns`."""

    opcode: Opcode
    left: int
    right: int
    subject: int
    constant: float


@dataclass(frozen=True, slots=True)
class Programme:
    """A compiled tree. `paths`: JSON pointers of the conditions and metrics whose results the rows are."""

    rows: tuple[Row, ...]
    paths: tuple[str, ...]
    registers: int


Resolve = Callable[[MetricRef], tuple[Operand, ...]]
"""What a metric is made of: operands that are added up. One that cannot be read is `UNKNOWN`."""


def compile_condition(tree: Condition, resolve: Resolve) -> Programme:
    compiler = _Compiler(resolve)
    compiler.condition(tree, "")
    return Programme(tuple(compiler.rows), tuple(compiler.paths), compiler.registers)


def compile_metric(metric: MetricRef, resolve: Resolve) -> Programme:
    """A programme that comes to a figure instead of a truth."""
    compiler = _Compiler(resolve)
    compiler.metric(metric, "")
    return Programme(tuple(compiler.rows), tuple(compiler.paths), compiler.registers)


class _Compiler:
    """Every method adds rows and answers the number of the last one, whose result is what was asked for."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self.rows: list[Row] = []
        self.paths: list[str] = []
        self.registers = 0

    def condition(self, node: Condition, path: str) -> int:
        match node:
            case AllOf() | AnyOf():
                opcode = Opcode.BOTH if isinstance(node, AllOf) else Opcode.EITHER
                found, *others = [self.condition(part, path + step) for step, part in node.parts]
                for other in others:
                    found = self._add(path, opcode, found, other)
                return found
            case Not():
                part = self.condition(node.condition, path + "/condition")
                return self._add(path, Opcode.NOT, part, part)
            case Comparison():
                metric = self.metric(node.metric, path + "/metric")
                if node.other is not None:
                    return self._compared(node.op, metric, self.metric(node.other, path + "/other"), path)
                return self._compared(node.op, metric, self._value(node.value, path), path)
            case Crosses():
                above = node.direction is Direction.ABOVE
                opcode = Opcode.CROSSES_ABOVE if above else Opcode.CROSSES_BELOW
                metric = self.metric(node.metric, path + "/metric")
                return self._remembering(path, opcode, metric, 1, float(node.value))
            case RateOfChange():
                opcode = Opcode.RELATIVE_CHANGE if node.relative else Opcode.CHANGE
                metric = self.metric(node.metric, path + "/metric")
                window_us = float(node.window_seconds * US_PER_SECOND)
                change = self._remembering(path + "/change", opcode, metric, 2 * SAMPLES, window_us)
                return self._compared(node.op, change, self._value(node.value, path), path)
            case Dwell():
                part = self.condition(node.condition, path + "/condition")
                return self._remembering(path, Opcode.DWELLS, part, 1, float(node.seconds * US_PER_SECOND))
            case _:
                assert_never(node)

    def metric(self, metric: MetricRef, path: str) -> int:
        first, *others = [
            self._add(path, operand.opcode, _NONE, _NONE, operand.subject, operand.constant)
            for operand in self._resolve(metric)
        ]
        for other in others:
            first = self._add(path, Opcode.SUM, first, other)
        return first

    def _value(self, value: Decimal | None, path: str) -> int:
        constant = float("nan") if value is None else float(value)
        return self._add(path + "/value", Opcode.CONSTANT, _NONE, _NONE, _NONE, constant)

    def _compared(self, op: Op, left: int, right: int, path: str) -> int:
        match op:
            case Op.ABOVE:
                return self._add(path, Opcode.ABOVE, left, right)
            case Op.BELOW:
                return self._add(path, Opcode.ABOVE, right, left)
            case Op.AT_LEAST:
                return self._add(path, Opcode.AT_LEAST, left, right)
            case Op.AT_MOST:
                return self._add(path, Opcode.AT_LEAST, right, left)
            case _:
                assert_never(op)

    def _remembering(self, path: str, opcode: Opcode, left: int, registers: int, constant: float) -> int:
        register = self.registers
        self.registers += registers
        return self._add(path, opcode, left, left, register, constant)

    def _add(
        self, path: str, opcode: Opcode, left: int, right: int, subject: int = _NONE, constant: float = 1.0
    ) -> int:
        self.rows.append(Row(opcode, left, right, subject, constant))
        self.paths.append(path)
        return len(self.rows) - 1


@inlined_in_place
def evaluate(
    first: int,
    stop: int,
    at: int,
    conditions: ConditionColumns,
    results: FloatArray,
    registers: FloatArray,
    first_register: int,
    time_us: float,
) -> tuple[float, bool]:
    """The truth of a programme, rows `first` to `stop`, and whether its registers are due to change.

    The result of row `first` stands in `results[at]`; those of the operands are there already.
    """
    due = False
    for row in range(first, stop):
        opcode = conditions.opcode[row]
        if opcode < FIRST_OPERATION:
            continue
        left = results[at + conditions.left[row]]
        if opcode < _FIRST_REMEMBERING:
            result = _combined(opcode, left, results[at + conditions.right[row]])
        else:
            register, constant = first_register + conditions.subject[row], conditions.constant[row]
            result = _remembered(opcode, left, registers, register, constant, time_us)
            due = due or _is_due(opcode, left, registers[register], constant, time_us)
        results[at + row - first] = result
    return results[at + stop - first - 1], due


@inlined_in_place
def _combined(opcode: int, left: float, right: float) -> float:
    if opcode == _BOTH and (left == 0.0 or right == 0.0):
        return 0.0
    if opcode == _EITHER and (left == 1.0 or right == 1.0):
        return 1.0
    if np.isnan(left) or np.isnan(right):
        return np.nan
    if opcode == _SUM:
        return left + right
    if opcode == _ABOVE:
        return 1.0 if left > right else 0.0
    if opcode == _AT_LEAST:
        return 1.0 if left >= right else 0.0
    if opcode == _NOT:
        return 1.0 - left
    return 1.0 if opcode == _BOTH else 0.0


@inlined_in_place
def _remembered(
    opcode: int, value: float, registers: FloatArray, register: int, constant: float, time_us: float
) -> float:
    known = registers[register]
    if opcode in (_CHANGE, _RELATIVE_CHANGE):
        before = _sample_before(registers, register, time_us - constant)
        if opcode == _CHANGE:
            return value - before
        return (value - before) / abs(before) if before != 0.0 else np.nan
    if np.isnan(value):
        return np.nan
    if opcode == _DWELLS:
        return 1.0 if value == 1.0 and known > 0.0 and time_us - known >= constant else 0.0
    there = value > constant if opcode == _CROSSES_ABOVE else value < constant
    came_from = -known if opcode == _CROSSES_ABOVE else known
    if not there or came_from < 0.0:
        return 0.0
    return 1.0 if came_from > 0.0 else np.nan


@inlined_in_place
def _sample_before(registers: FloatArray, register: int, time_us: float) -> float:
    """The newest sample at or before a time; NaN where there is none. The newest stand first."""
    value: float = np.nan
    for at in range(register, register + 2 * SAMPLES, 2):
        if registers[at] == 0.0:
            break
        if registers[at] <= time_us:
            value = registers[at + 1]
            break
    return value


@inlined_in_place
def _is_due(opcode: int, value: float, known: float, constant: float, time_us: float) -> bool:
    """What is not known neither begins nor ends anything."""
    if np.isnan(value):
        return False
    if opcode == _DWELLS:
        return (value == 1.0) != (known > 0.0)
    if opcode in (_CHANGE, _RELATIVE_CHANGE):
        return known == 0.0 or time_us - known >= constant / SAMPLES_PER_WINDOW
    return (value > constant and known <= 0.0) or (value < constant and known >= 0.0)
