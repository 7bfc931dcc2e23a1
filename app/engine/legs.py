"""Legs: what the sizes of levers come to as trades and transfers, and when two plans are alike."""

from collections.abc import Iterable, Sequence
from math import isnan
from typing import assert_never

from app.domain.adjustments import Leg, LendingLeg, TradeLeg, TransferLeg
from app.domain.identifiers import InstrumentId
from app.domain.portfolios import Account
from app.engine.levers import Lever, Market, Trade, Transfer
from app.engine.rounding import amount_up, lots, price
from app.quant.arrays import FloatArray

_ROUNDING = 1e-9
"""Of a lot: what a float of the solution may be off a whole number of them."""
_ALIKE = 0.2


def legs_of(
    levers: Iterable[Lever], sizes: FloatArray, market: Market, accounts: tuple[Account, ...]
) -> list[Leg]:
    """Trades of one instrument in one account are netted and rounded to lots; collateral moves first."""
    contracts: dict[tuple[int, InstrumentId], float] = {}
    rounds_up: dict[tuple[int, InstrumentId], bool] = {}
    moved: dict[Transfer, float] = {}
    for lever, size in zip(levers, sizes.tolist(), strict=True):
        for move in lever.moves if size > 0.0 else ():
            if isinstance(move, Trade):
                key = (move.account, move.instrument)
                contracts[key] = contracts.get(key, 0.0) + move.contracts * size
                rounds_up[key] = rounds_up.get(key, False) or lever.rounds_up
            else:
                moved[move] = moved.get(move, 0.0) + size
    legs: list[Leg] = []
    for move, amount in moved.items():
        sent = min(amount_up(amount), move.most)
        if sent > move.fee and sent >= move.least:
            legs.append(TransferLeg(move.destination, move.asset, sent, source=move.source, fee=move.fee))
    for (ordinal, name), wanted in contracts.items():
        leg = _trade_leg(accounts[ordinal], market, name, wanted, rounds_up=rounds_up[ordinal, name])
        if leg is not None:
            legs.append(leg)
    return legs


def _trade_leg(
    account: Account, market: Market, name: InstrumentId, wanted: float, *, rounds_up: bool
) -> TradeLeg | None:
    """What rounds up never turns a position round."""
    instrument = market.instrument(name)
    held = account.position(name).quantity
    off = float(instrument.lot_size) * _ROUNDING
    nudged = wanted - off if (wanted > 0.0) == rounds_up else wanted + off
    quantity = lots(nudged, instrument.lot_size, away_from_zero=rounds_up)
    reduces = held * quantity < 0 and abs(quantity) <= abs(held)
    if rounds_up and held * quantity < 0 and abs(wanted) <= abs(float(held)) < abs(quantity):
        quantity, reduces = -held, True
    unit_price = market.unit(instrument).price
    if quantity == 0 or isnan(unit_price):
        return None
    return TradeLeg(account.id, name, quantity, price(unit_price), reduces=reduces)


def is_like(legs: Sequence[Leg], others: Sequence[Leg]) -> bool:
    """The same moves, each within a fifth of the other's size."""
    sizes, known = _sizes(legs), _sizes(others)
    return sizes.keys() == known.keys() and all(
        abs(size - known[key]) <= _ALIKE * abs(known[key]) for key, size in sizes.items()
    )


def _sizes(legs: Sequence[Leg]) -> dict[tuple[object, ...], float]:
    sizes: dict[tuple[object, ...], float] = {}
    for leg in legs:
        key = _what(leg)
        sizes[key] = sizes.get(key, 0.0) + float(leg.quantity if isinstance(leg, TradeLeg) else leg.amount)
    return sizes


def _what(leg: Leg) -> tuple[object, ...]:
    match leg:
        case TradeLeg():
            return (leg.account_id, leg.instrument)
        case TransferLeg():
            return (leg.source, leg.account_id, leg.asset)
        case LendingLeg():
            return (leg.account_id, leg.instrument, leg.action)
        case _:
            assert_never(leg)
