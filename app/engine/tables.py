"""What the loop over views is given and fills: tables of the book, a block of the market, and results."""

from typing import NamedTuple

from app.engine.conditions import ConditionColumns, RegisterColumns
from app.engine.frame_block import RecordNumbers
from app.engine.trigger_rows import ParameterColumns, TriggerColumns
from app.engine.universe import ConversionColumns, PathColumns, Terms
from app.engine.view_rows import (
    AccountColumns,
    BalanceColumns,
    ExposureColumns,
    PositionColumns,
    ViewColumns,
)
from app.quant.arrays import BoolArray, FloatArray, IntArray


class PairColumns(NamedTuple):
    """Views to look at, and on which frame of the block each."""

    number: IntArray
    frame: IntArray


class Tables(NamedTuple):
    """Of the book."""

    views: ViewColumns
    accounts: AccountColumns
    positions: PositionColumns
    balances: BalanceColumns
    exposures: ExposureColumns
    triggers: TriggerColumns
    parameters: ParameterColumns
    conditions: ConditionColumns
    registers: RegisterColumns


class Market(NamedTuple):
    """A block of frames, and what its instruments and conversions are.

    `clock_ns` is the time before the block and after each of its frames.
    """

    clock_ns: IntArray
    standing: RecordNumbers
    value: FloatArray
    terms: Terms
    conversions: ConversionColumns
    paths: PathColumns


class Worths(NamedTuple):
    """What a unit of each conversion is worth, on the frame that it was last asked for."""

    frame: IntArray
    value: FloatArray


class OptionUnits(NamedTuple):
    """Per unit of the underlying, shape (options,): NaN where price or volatility is not known.

    `forward` is the price that marks it, `value` in the settlement asset, greeks raw and in the quote. `mark`
    and the requirements of one sold, which the mark is part of, are in coin.
    """

    forward: FloatArray
    value: FloatArray
    delta: FloatArray
    gamma: FloatArray
    vega: FloatArray
    theta: FloatArray
    mark: FloatArray
    initial: FloatArray
    maintenance: FloatArray


class OptionFigures(NamedTuple):
    """Of the options that all pairs hold, in the order in which these hold them.

    Signed holdings: values in the settlement asset, greeks in the quote.
    """

    value: FloatArray
    delta: FloatArray
    gamma: FloatArray
    forward: FloatArray


class TriggerFigures(NamedTuple):
    """What was compared, the interval it may be in, and whether it is outside."""

    value: FloatArray
    low: FloatArray
    high: FloatArray
    fired: BoolArray


class ConditionFigures(NamedTuple):
    """What the rows of the programmes came to: figures, constants, and truths as 1.0, 0.0 or NaN."""

    result: FloatArray


class Findings(NamedTuple):
    """Of each pair: a trigger fired; an account that Ballast closes is below maintenance; the margin ratio of
    one came to another level; the clock came to a holding that Ballast keeps; what a condition remembers
    would change.
    """

    fired: BoolArray
    broken: BoolArray
    crossed: BoolArray
    due: BoolArray
    advances: BoolArray
