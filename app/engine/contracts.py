"""What one contract bought or sold does to its position, and to the cash that it is settled in.

Filled as on paper, between ticks: off the mark by the slippage, the fee on top. Closing an inverse contract
gives back the delta that it had from its entry, and its profit becomes coins with a delta of their own.
"""

from typing import NamedTuple

from app.domain.instruments import Instrument, InstrumentKind, Settlement
from app.engine.metrics import UnitFigures

_BASIS_POINT = 1e-4


class Filled(NamedTuple):
    """Changes: of the position's `worth` and of `cash` in the settlement asset; of the position's `delta`."""

    worth: float
    cash: float
    delta: float


def opened(instrument: Instrument, unit: UnitFigures, sign: int) -> Filled:
    """One more, bought (1) or sold (-1), where the position grows by it."""
    at, contract = _filled_at(instrument, unit, sign), sign * float(instrument.multiplier)
    fee = _fee(instrument, at)
    if instrument.kind is InstrumentKind.OPTION:
        return Filled(contract * unit.price, -contract * at - fee, sign * unit.delta)
    if instrument.settlement is Settlement.INVERSE:
        return Filled(contract * (unit.price - at) / (at * unit.price), -fee, contract / at)
    return Filled(contract * (unit.price - at), -fee, contract)


def closed(instrument: Instrument, unit: UnitFigures, sign: int, entry: float) -> Filled:
    """One of a position from `entry` bought back (1) or sold (-1): its profit goes into cash."""
    if instrument.kind is InstrumentKind.OPTION:
        return opened(instrument, unit, sign)
    at, contract = _filled_at(instrument, unit, sign), sign * float(instrument.multiplier)
    fee = _fee(instrument, at)
    if instrument.settlement is Settlement.INVERSE:
        given_up = contract * (unit.price - entry) / (entry * unit.price)
        return Filled(given_up, -contract * (at - entry) / (entry * at) - fee, contract / entry)
    return Filled(contract * (unit.price - entry), -contract * (at - entry) - fee, contract)


def traded_spot(instrument: Instrument, unit: UnitFigures, sign: int) -> float:
    """What the quote balance gains as one is bought (1) or sold (-1)."""
    at = _filled_at(instrument, unit, sign)
    return -sign * float(instrument.multiplier) * at - _fee(instrument, at)


def _filled_at(instrument: Instrument, unit: UnitFigures, sign: int) -> float:
    return unit.price * (1.0 + sign * float(instrument.slippage_bps) * _BASIS_POINT)


def _fee(instrument: Instrument, at: float) -> float:
    """On the notional, an option's on its premium."""
    contract, rate = float(instrument.multiplier), float(instrument.taker_fee_rate)
    inverse = instrument.settlement is Settlement.INVERSE and instrument.kind is not InstrumentKind.OPTION
    return rate * (contract / at if inverse else contract * at)
