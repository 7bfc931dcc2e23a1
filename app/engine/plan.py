"""The plan that brings a portfolio back to its target: closed forms, one policy at a time.

Delta: a contract traded at P adds `multiplier` units of delta when linear and `multiplier / P` when inverse.

Margin: an account with equity E, maintenance M and gross notional N returns to the ratio r by collateral x
and by closing the fraction f of every position at the cost rate c (fee and slippage):

    (1 - f) M = r (E + x - f c N)   so   x = M / r - E  and  f = (M - r (E + x)) / (M - r c N).

Collateral costs nothing here, so it comes first as far as the reserve allows; closing does the rest. Every
position shrinks alike, which keeps the shape of what is hedged with what.
"""

from decimal import Decimal
from math import isfinite, isnan
from typing import assert_never

from msgspec import Struct

from app.domain.adjustments import Leg, TradeLeg, TransferLeg
from app.domain.identifiers import Asset, InstrumentId
from app.domain.instruments import Instrument, InstrumentKind, Settlement
from app.domain.policies import Cure, DeltaNeutral, LiquidationGuard
from app.domain.portfolios import Account, Portfolio
from app.domain.times import NS_PER_SECOND
from app.engine.market_view import FrameBlock
from app.engine.rounding import amount_up, lots, price


class Situation(Struct, frozen=True):
    """What a plan is made from: holdings (with what is in flight), a frame, and the figure that fired."""

    holdings: Portfolio
    block: FrameBlock
    k: int
    figure: float
    account: Account | None = None
    equity: float = 0.0
    maintenance: float = 0.0

    def instrument(self, name: str) -> Instrument:
        return self.block.universe.instruments[InstrumentId(name)]

    def mark(self, instrument: Instrument) -> float:
        universe = self.block.universe
        return self.block.price(self.k, int(universe.terms.price_row[universe.index[instrument.id]]))

    def value_of(self, asset: Asset) -> float:
        """Of one unit, in the valuation currency; NaN when unknown."""
        conversion = self.block.universe.conversion(asset, self.holdings.valuation_currency)
        return self.block.value(self.k, conversion)

    def price_rows(self, asset: Asset) -> list[int]:
        """The instruments by whose prices it is valued."""
        conversion = self.block.universe.conversion(asset, self.holdings.valuation_currency)
        return self.block.price_rows(self.k, marks=(), conversions=(conversion,))

    def notional(self, instrument: Instrument, quantity: Decimal) -> float:
        """In the valuation currency."""
        units = abs(float(quantity)) * float(instrument.multiplier)
        if instrument.settlement is Settlement.INVERSE:
            return units / self.mark(instrument) * self.value_of(Asset(instrument.underlying))
        return units * self.mark(instrument) * self.value_of(Asset(instrument.quote))

    def cost_rate(self, instrument: Instrument) -> float:
        universe = self.block.universe
        return float(universe.cost_rates[universe.index[instrument.id]])


def plan(policy: DeltaNeutral | LiquidationGuard, situation: Situation) -> tuple[Leg, ...]:
    """Legs to trade; none when nothing can or need be done."""
    match policy:
        case DeltaNeutral():
            return _plan_delta(policy, situation)
        case LiquidationGuard():
            return _plan_margin(policy, situation)
        case _:
            assert_never(policy)


def expected_cost(legs: tuple[Leg, ...], situation: Situation) -> float:
    """Fees and slippage, in the valuation currency."""
    total = 0.0
    for leg in legs:
        if isinstance(leg, TradeLeg):
            instrument = situation.instrument(leg.instrument)
            total += situation.notional(instrument, leg.quantity) * situation.cost_rate(instrument)
    return total


def hedge_account(policy: DeltaNeutral, portfolio: Portfolio, instrument: Instrument) -> Account | None:
    """The named account, or the first on the instrument's venue."""
    for account in portfolio.accounts:
        if policy.hedge_account in (None, account.name) and account.venue == instrument.venue:
            return account
    return None


def _plan_delta(policy: DeltaNeutral, situation: Situation) -> tuple[Leg, ...]:
    instrument = situation.instrument(policy.hedge_instrument)
    account = hedge_account(policy, situation.holdings, instrument)
    mark = situation.mark(instrument)
    if account is None or isnan(mark):
        return ()
    per_contract = float(instrument.multiplier)
    if instrument.settlement is Settlement.INVERSE:
        per_contract /= mark
    wanted = (float(policy.target_delta) - situation.figure) / per_contract
    quantity = lots(wanted, instrument.lot_size, away_from_zero=False)
    if quantity == 0:
        return ()
    held = account.position(instrument.instrument_id).quantity
    reduces = held * quantity < 0 and abs(quantity) <= abs(held)
    return (TradeLeg(account.id, instrument.instrument_id, quantity, price(mark), reduces=reduces),)


def _plan_margin(policy: LiquidationGuard, situation: Situation) -> tuple[Leg, ...]:
    ratio = float(policy.restore_margin_ratio)
    equity = situation.equity
    legs: list[Leg] = []
    if Cure.TOP_UP in policy.cures:
        maximum_age_ns = policy.guards.maximum_price_age_seconds * NS_PER_SECOND
        top_ups, added = _top_up(situation, situation.maintenance / ratio - equity, maximum_age_ns)
        legs += top_ups
        equity += added
    if Cure.REDUCE in policy.cures and situation.maintenance > ratio * equity:
        legs += _reduce(situation, ratio, equity)
    return tuple(legs)


def _top_up(situation: Situation, needed: float, maximum_age_ns: int) -> tuple[list[Leg], float]:
    """Transfers in the reserve's stored order, and the collateral value that they add.

    What is valued by older prices may be worth less by now, and stays where it is.
    """
    account, legs, added = situation.account, list[Leg](), 0.0
    if account is None:
        return legs, added
    haircuts = {b.asset: float(b.haircut) for b in account.balances}
    for reserve in situation.holdings.reserves:
        counted = situation.value_of(reserve.asset) * (1.0 - haircuts.get(reserve.asset, 0.0))
        if needed - added <= 0.0 or not reserve.available or not counted > 0.0:
            continue
        if situation.block.oldest_age_ns(situation.k, situation.price_rows(reserve.asset)) > maximum_age_ns:
            continue
        amount = min(amount_up((needed - added) / counted), reserve.available)
        legs.append(TransferLeg(account.id, reserve.asset, amount))
        added += float(amount) * counted
    return legs, added


def _reduce(situation: Situation, ratio: float, equity: float) -> list[Leg]:
    account = situation.account
    if account is None:
        return []
    held = [(p, situation.instrument(p.instrument)) for p in account.positions]
    costs = sum(situation.notional(i, p.quantity) * situation.cost_rate(i) for p, i in held)
    relief = situation.maintenance - ratio * costs
    fraction = (situation.maintenance - ratio * equity) / relief if relief > 0.0 else 1.0
    fraction = min(max(fraction, 0.0), 1.0) if isfinite(fraction) else 1.0
    legs: list[Leg] = []
    for position, instrument in held:
        mark = situation.mark(instrument)
        if isnan(mark) or instrument.kind is InstrumentKind.OPTION:
            continue
        wanted = lots(fraction * float(position.quantity), instrument.lot_size, away_from_zero=True)
        quantity = -wanted if abs(wanted) < abs(position.quantity) else -position.quantity
        if quantity:
            legs.append(TradeLeg(account.id, instrument.instrument_id, quantity, price(mark), reduces=True))
    return legs
