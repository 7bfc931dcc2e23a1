"""From sizes of levers to legs: trades in whole lots, collateral to eight decimals.

What moves the same instrument in the same account is one deal. Between which two numbers of lots it lies
follows from its size; which of them is taken is decided where goals are known.
"""

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from math import isnan
from typing import TypeVar, assert_never

from msgspec import Struct

from app.domain.adjustments import Leg, LendingAction, LendingLeg, TradeLeg, TransferLeg
from app.domain.identifiers import AccountId, Asset, InstrumentId
from app.domain.portfolios import Portfolio
from app.engine.moves import Lend, Lever, Trade, Transfer
from app.engine.rounding import amount_down, amount_up, lots, price
from app.engine.valuation import Market
from app.quant.arrays import FloatArray

_NEARLY = 1e-9
"""Of a lot: what a float of the solution may be off a whole number of them."""

_NOTHING = Decimal(0)
_ALIKE = 0.2

Place = tuple[int, InstrumentId]


Kind = TypeVar("Kind", Trade, Transfer)


class Deal(Struct, frozen=True):
    """`wanted` contracts to be bought, or sold when negative, and what is near it that can be.

    `effects` are those of one contract more on that side. It `closes` where nothing that trades it opens.
    """

    account: int
    instrument: InstrumentId
    wanted: float
    choices: tuple[Decimal, ...]
    effects: dict[int, float]
    closes: bool

    @property
    def nearest(self) -> int:
        return min(range(len(self.choices)), key=lambda at: abs(float(self.choices[at]) - self.wanted))


def deals_of(
    levers: Sequence[Lever], sizes: FloatArray, market: Market, holdings: Portfolio, *, least: float
) -> list[Deal]:
    """`least`: in value, what is less is not traded at all."""
    wanted, closes = dict[Place, float](), dict[Place, bool]()
    ways: dict[Place, list[tuple[Trade, float]]] = {}
    for lever, size in zip(levers, sizes.tolist(), strict=True):
        for move in lever.moves:
            if isinstance(move, Trade):
                place = (move.account, move.instrument)
                ways.setdefault(place, []).append((move, lever.upper * abs(move.contracts)))
                if size > 0.0:
                    wanted[place] = wanted.get(place, 0.0) + move.contracts * size
                    closes[place] = closes.get(place, True) and move.closes
    deals = []
    for place, contracts in wanted.items():
        found = [way for way in ways[place] if way[0].contracts * contracts > 0.0]
        if found:
            most = sum(upper for _, upper in found)
            choices = _choices(place, contracts, most, market, holdings, least)
            beyond = next((trade for trade, _ in found if not trade.closes), found[0][0])
            deals.append(Deal(*place, contracts, choices, beyond.effects, closes[place]))
    return deals


def _choices(
    place: Place, wanted: float, most: float, market: Market, holdings: Portfolio, least: float
) -> tuple[Decimal, ...]:
    """Whole lots below and above, within the limit; what is held may be closed though it be no whole lots."""
    instrument, held = market.instrument(place[1]), holdings.accounts[place[0]].position(place[1]).quantity
    lot = instrument.lot_size
    off = float(lot) * _NEARLY
    if abs(wanted) <= off:
        return (_NOTHING,)
    further = off if wanted > 0.0 else -off
    below = lots(wanted + further, lot, away_from_zero=False)
    above = lots(wanted - further, lot, away_from_zero=True)
    size = abs(float(held))
    if float(held) * wanted < 0.0 and abs(wanted) <= size + off and abs(above) > abs(held):
        above = -held
        below = above if abs(wanted) >= size - off else below
    found = [below] if abs(float(above)) > most * (1.0 + _NEARLY) + off else [below, above]
    least = max(least, float(instrument.minimum_notional) * market.value_of(Asset(instrument.quote)))
    taken = (each if market.notional(instrument, each) >= least else _NOTHING for each in found)
    return tuple(dict.fromkeys(taken))


def legs_of(
    levers: Sequence[Lever],
    sizes: FloatArray,
    deals: Iterable[tuple[Deal, Decimal]],
    market: Market,
    holdings: Portfolio,
) -> list[Leg]:
    """Each finds in the wallet what it needs: what comes out of a pool is first, what goes into one last."""
    deals = list(deals)
    lent = list(_lent(levers, sizes, _shares(deals), holdings))
    legs: list[Leg] = [leg for leg in lent if leg.action.sign < 0]
    legs += _transfers(levers, sizes, holdings)
    for deal, quantity in deals:
        account = holdings.accounts[deal.account]
        unit_price = market.unit(market.instrument(deal.instrument)).price
        if quantity and not isnan(unit_price):
            held = account.position(deal.instrument).quantity
            reduces = held * quantity < 0 and abs(quantity) <= abs(held) if held else deal.closes
            legs.append(TradeLeg(account.id, deal.instrument, quantity, price(unit_price), reduces=reduces))
    legs += (leg for leg in lent if leg.action.sign > 0)
    return legs


def _transfers(levers: Sequence[Lever], sizes: FloatArray, holdings: Portfolio) -> Iterator[TransferLeg]:
    """Rounded up, as far as there is something to give."""
    amounts: dict[Transfer, float] = {}
    for move, size in _moved(levers, sizes, Transfer):
        amounts[move] = amounts.get(move, 0.0) + size
    left: dict[tuple[AccountId | None, Asset], Decimal] = {}
    for move, wanted in amounts.items():
        place = (move.source, move.asset)
        there = left.get(place, _available(holdings, *place))
        sent = min(amount_up(wanted), amount_down(there), move.most)
        if sent > move.fee and sent >= move.least:
            left[place] = there - sent
            yield TransferLeg(move.destination, move.asset, sent, source=move.source, fee=move.fee)


def _shares(deals: Iterable[tuple[Deal, Decimal]]) -> dict[Place, float]:
    """How much of what is wanted whole lots leave."""
    return {
        (deal.account, deal.instrument): float(quantity) / deal.wanted if deal.wanted else 0.0
        for deal, quantity in deals
    }


def _lent(
    levers: Sequence[Lever], sizes: FloatArray, shares: dict[Place, float], holdings: Portfolio
) -> Iterator[LendingLeg]:
    """What is lent to be traded, or out of what was, follows the lots of that trade."""
    amounts: dict[tuple[int, InstrumentId, LendingAction, bool], float] = {}
    for lever, size in zip(levers, sizes.tolist(), strict=True):
        trades = [move for move in lever.moves if isinstance(move, Trade)]
        share = min((shares.get((t.account, t.instrument), 0.0) for t in trades), default=1.0)
        for move in lever.moves:
            if isinstance(move, Lend) and size * share > 0.0:
                key = (move.account, move.instrument, move.action, move.reduces)
                amounts[key] = amounts.get(key, 0.0) + move.amount * size * share
    for (ordinal, name, action, reduces), amount in amounts.items():
        yield LendingLeg(holdings.accounts[ordinal].id, name, action, amount_up(amount), reduces)


def _available(holdings: Portfolio, source: AccountId | None, asset: Asset) -> Decimal:
    if source is None:
        return sum((r.available for r in holdings.reserves if r.asset == asset), Decimal(0))
    return sum((b.amount for b in holdings.account(source).balances if b.asset == asset), Decimal(0))


def _moved(levers: Sequence[Lever], sizes: FloatArray, kind: type[Kind]) -> Iterator[tuple[Kind, float]]:
    for lever, size in zip(levers, sizes.tolist(), strict=True):
        for move in lever.moves if size > 0.0 else ():
            if isinstance(move, kind):
                yield move, size


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
