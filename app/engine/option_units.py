"""Figures of one unit of options, each on a frame of the block: holdings are multiples of them."""

from typing import NamedTuple

import numpy as np

from app.domain.times import NS_PER_YEAR
from app.engine.frame_block import FrameBlock
from app.engine.tables import OptionUnits, PairColumns
from app.engine.view_rows import PositionColumns, ViewColumns
from app.quant.arrays import BoolArray, FloatArray, IntArray
from app.quant.black_scholes import black_76
from app.quant.compiled import compiled_in_place
from app.quant.margin import coin_option_requirements


class LastMet(NamedTuple):
    """Of every instrument, the frame that it was last met on, and its number then."""

    frame: IntArray
    number: IntArray


_NOTHING: FloatArray = np.zeros(0)
NO_UNITS = OptionUnits(*(_NOTHING,) * len(OptionUnits._fields))


def option_units(block: FrameBlock, frames: IntArray, instruments: IntArray) -> OptionUnits:
    """Black-76 at zero rate on the price of the instrument that marks it, as the coin exchanges do."""
    universe, terms = block.universe, block.universe.terms
    forwards = block.values(frames, terms.price_row[instruments])
    volatilities = block.values(frames, universe.volatility_columns[instruments])
    strikes, calls = terms.strike[instruments], terms.call[instruments]
    left_ns = np.maximum(terms.expiry_ns[instruments] - block.times_ns[frames], 0)
    known = np.isfinite(forwards) & np.isfinite(volatilities)
    priced = black_76(
        forwards=np.where(known, forwards, 1.0),
        strikes=strikes,
        years_to_expiry=left_ns / NS_PER_YEAR,
        volatilities=np.where(known, volatilities, 0.0),
        is_call=calls,
    )
    values, deltas, gammas, vegas, thetas = (np.where(known, figure, np.nan) for figure in priced[:5])
    marks = values / forwards
    needed = coin_option_requirements(
        quantities=-1.0,
        multipliers=1.0,
        strikes=strikes,
        underlying_prices=forwards,
        mark_prices_in_coin=marks,
        is_call=calls,
    )
    return OptionUnits(
        forward=forwards,
        value=np.where(terms.inverse[instruments], marks, values),
        delta=deltas,
        gamma=gammas,
        vega=vegas,
        theta=thetas,
        mark=marks,
        initial=needed.initial,
        maintenance=needed.maintenance,
    )


def units_held(
    block: FrameBlock, pairs: PairColumns, views: ViewColumns, positions: PositionColumns
) -> tuple[OptionUnits, IntArray]:
    """Units of all options that the pairs hold, each once a frame; and which of them each holding is."""
    options = int(views.options[pairs.number].sum())
    of_holding: IntArray = np.empty(options, dtype=np.int64)
    if not options:
        return NO_UNITS, of_holding
    terms = block.universe.terms
    met = LastMet(np.full(terms.option.size, -1), np.empty(terms.option.size, dtype=np.int64))
    found = np.empty((2, options), dtype=np.int64)
    count = _distinct(pairs, views, positions, terms.option, met, found, of_holding)
    instruments, frames = found[:, :count]
    return option_units(block, frames, instruments), of_holding


@compiled_in_place
def _distinct(
    pairs: PairColumns,
    views: ViewColumns,
    positions: PositionColumns,
    option: BoolArray,
    met: LastMet,
    found: IntArray,
    of_holding: IntArray,
) -> int:
    """How many (instrument, frame) the options of the pairs are, in which frames follow each other."""
    count = at = 0
    for j in range(pairs.number.size):
        view, k = pairs.number[j], pairs.frame[j]
        if views.options[view] == 0:
            continue
        for row in range(views.position[view], views.position_stop[view]):
            instrument = positions.instrument[row]
            if not option[instrument]:
                continue
            if met.frame[instrument] != k:
                met.frame[instrument], met.number[instrument] = k, count
                found[0, count], found[1, count] = instrument, k
                count += 1
            of_holding[at] = met.number[instrument]
            at += 1
    return count
