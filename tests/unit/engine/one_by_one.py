"""What the arbiter does for all policies of a portfolio at once, and what one after the other would."""

from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from math import inf

from msgspec.structs import replace

from app.domain.adjustments import Adjustment, Leg, TradeLeg
from app.domain.identifiers import Asset, PolicyId
from app.domain.instruments import Instrument, InstrumentKind, Settlement
from app.domain.market import Frame
from app.domain.policies import (
    AnyPolicy,
    DeltaNeutral,
    GammaBand,
    LeverageBand,
    LiquidationGuard,
    Rule,
    VolatilityTarget,
)
from app.domain.portfolios import Portfolio
from app.engine.book import Book
from app.engine.decide import affected, decide
from app.engine.fills import apply_legs_as_if_done
from app.engine.market_view import MarketView
from app.engine.risk import RiskReport, portfolio_risk
from app.engine.universe import Universe


@dataclass
class Desk:
    """One frame of a market, on which portfolios are decided, traded and priced."""

    universe: Universe
    frame: Frame
    market: MarketView
    block: object = field(init=False)

    def __post_init__(self) -> None:
        self.block = MarketView(self.universe).advance([self.frame])

    def adjustment(self, holdings: Portfolio) -> Adjustment | None:
        """The only one: who acts at all acts in one plan."""
        book = Book(self.universe)
        book.put(holdings)
        verdict = decide(book, {}, self.block, affected(book, self.block)).get(holdings.id)
        found = verdict.adjustments if verdict else []
        assert len(found) <= 1
        return found[0] if found else None

    def done(self, holdings: Portfolio, legs: Sequence[Leg]) -> Portfolio:
        return apply_legs_as_if_done(holdings, legs, self.universe.instruments)

    def risk(self, holdings: Portfolio) -> RiskReport:
        return portfolio_risk(holdings, self.market)

    def cost(self, legs: Sequence[Leg]) -> float:
        """Fees and slippage in the valuation currency, reckoned from the legs themselves."""
        return sum(self.leg_cost(leg, abs(float(leg.quantity))) for leg in legs if isinstance(leg, TradeLeg))

    def leg_cost(self, leg: TradeLeg, contracts: float) -> float:
        instrument = self.universe.instruments[leg.instrument]
        rate = float(instrument.taker_fee_rate) + float(instrument.slippage_bps) * 1e-4
        return contracts * self.notional(instrument, float(leg.reference_price)) * rate

    def notional(self, instrument: Instrument, price: float) -> float:
        """Of a contract, in the valuation currency."""
        size = float(instrument.multiplier)
        coin_margined = instrument.settlement is Settlement.INVERSE
        traded = (
            size / price if coin_margined and instrument.kind is not InstrumentKind.OPTION else size * price
        )
        return traded * self.value(instrument.settlement_asset)

    def value(self, asset: Asset) -> float:
        return self.block.value(0, self.universe.conversion(asset, Asset("USDT")))

    def volatility(self, option: str) -> float:
        return next(c.value for c in self.frame.changes if c.instrument == option)

    def lot_cost(self, legs: Sequence[Leg]) -> float:
        """Of one lot of everything that is traded."""
        return sum(
            self.leg_cost(leg, float(self.universe.instruments[leg.instrument].lot_size))
            for leg in legs
            if isinstance(leg, TradeLeg)
        )

    def delta_lot(self, names: Sequence[str], underlying: str) -> float:
        """Coins in a lot of everything that may hedge."""
        found = (self.universe.instruments[name] for name in names)
        return sum(
            float(i.lot_size) * (float(i.multiplier) / self.value(Asset(underlying)) * 1.1
            if i.settlement is Settlement.INVERSE and i.kind is not InstrumentKind.OPTION
            else float(i.multiplier))
            for i in found
        )  # fmt: skip


@dataclass
class OneByOne:
    """Every policy alone, the most urgent first, on the holdings as they become."""

    holdings: Portfolio
    cost: float
    legs: list[Leg]


def one_by_one(desk: Desk, holdings: Portfolio) -> OneByOne:
    policies, cost, legs = holdings.policies, 0.0, list[Leg]()
    for stored in sorted(policies, key=lambda each: each.policy.priority):
        adjustment = desk.adjustment(replace(holdings, policies=(stored,)))
        if adjustment is not None:
            holdings = desk.done(holdings, adjustment.legs)
            cost += desk.cost(adjustment.legs)
            legs += adjustment.legs
    return OneByOne(replace(holdings, policies=policies), cost, legs)


def missed(
    desk: Desk, holdings: Portfolio, acted: Container[PolicyId], before: RiskReport, after: RiskReport
) -> dict[tuple[PolicyId, str], float]:
    """By how much policies that acted miss their targets, and those that rest their limits.

    In the figures' own units, and reckoned from the report of risk alone. Zero is met: to a lot of each
    instrument that may be traded for it, to half a percent for leverage.
    """
    found: dict[tuple[PolicyId, str], float] = {}
    acting = (stored.policy for stored in holdings.policies if stored.id in acted)
    deltas = {asset for policy in acting for asset in _delta_set_by(policy)}
    for stored in holdings.policies:
        acts = stored.id in acted
        match stored.policy:
            case DeltaNeutral() as policy:
                figures = _delta(desk, policy, after, acted=acts)
            case LiquidationGuard() as policy:
                figures = _guard(policy, after, acted=acts)
            case LeverageBand() as policy:
                figures = _leverage(policy, before, after, acted=acts)
            case GammaBand() as policy:
                figures = _gamma(policy, after)
                if acts and policy.underlying not in deltas:
                    figures |= _kept_delta(desk, policy, before, after)
            case VolatilityTarget() as policy:
                figures = _sized(desk, policy, after, acted=acts)
            case Rule() as policy:
                figures = _hedged(desk, policy, after)
        found |= {(stored.id, name): value for name, value in figures.items()}
    return found


def _delta_set_by(policy: AnyPolicy) -> list[str]:
    match policy:
        case DeltaNeutral() | VolatilityTarget():
            return [policy.underlying]
        case Rule():
            return [action.underlying for action in policy.actions]
        case _:
            return []


def _of(report: RiskReport, asset: str):
    return next((u for u in report.underlyings if u.underlying == asset), None)


def _delta_of(report: RiskReport, asset: str) -> float:
    found = _of(report, asset)
    return found.net_delta if found else 0.0


def _outside(value: float, low: float, high: float) -> float:
    return max(low - value, value - high, 0.0)


def _delta(desk: Desk, policy: DeltaNeutral, after: RiskReport, *, acted: bool) -> dict[str, float]:
    name, value = f"net_delta.{policy.underlying}", _delta_of(after, policy.underlying)
    if not acted:
        return {name: _outside(value, -float(policy.band.below), float(policy.band.above))}
    lot = desk.delta_lot(policy.hedge_instruments, policy.underlying)
    return {name: _outside(value, -lot, lot)}


def _kept_delta(desk: Desk, policy: GammaBand, before: RiskReport, after: RiskReport) -> dict[str, float]:
    kept, value = (_delta_of(report, policy.underlying) for report in (before, after))
    lot = desk.delta_lot(policy.hedge_instruments, policy.underlying)
    return {f"net_delta.{policy.underlying}": _outside(value, kept - lot, kept + lot)}


def _hedged(desk: Desk, policy: Rule, after: RiskReport) -> dict[str, float]:
    (action,) = policy.actions
    lot = desk.delta_lot(action.hedge_instruments, action.underlying)
    value, target = _delta_of(after, action.underlying), float(action.target_delta)
    return {f"net_delta.{action.underlying}": _outside(value, target - lot, target + lot)}


def _sized(desk: Desk, policy: VolatilityTarget, after: RiskReport, *, acted: bool) -> dict[str, float]:
    """Of |delta| x price / equity against target / implied volatility, within its limits: the share of it."""
    volatility = desk.volatility(policy.volatility.instrument)
    allowed = min(float(policy.target_volatility_annual) / volatility, float(policy.maximum_leverage))
    delta = _delta_of(after, policy.underlying)
    share = abs(delta) * desk.value(Asset(policy.underlying)) / after.equity / allowed
    slack = 1e-3 if acted else float(policy.band)
    lot = desk.delta_lot(policy.trade_instruments, policy.underlying)
    slack += lot * desk.value(Asset(policy.underlying)) / after.equity / allowed
    return {f"share_of_target.{policy.underlying}": _outside(share, 1 - slack, 1 + slack)}


def _guard(policy: LiquidationGuard, after, *, acted: bool) -> dict[str, float]:
    account = next(a for a in after.accounts if a.name == policy.account)
    level = float(policy.restore if acted else policy.trigger) * (1 + 3e-6)
    return {f"margin_ratio@{policy.account}": _outside(account.margin_ratio, -inf, level)}


def _leverage(policy: LeverageBand, before, after, *, acted: bool) -> dict[str, float]:
    if not acted:
        low, high = float(policy.minimum), float(policy.maximum)
        return {"leverage": _outside(after.leverage, low, high)}
    level = max(float(policy.minimum), min(float(policy.maximum), float(policy.target)))
    slack = 0.006 * max(before.equity / after.equity, 1.0)
    return {"leverage": _outside(after.leverage, level - slack, level + slack)}


def _gamma(policy: GammaBand, after: RiskReport) -> dict[str, float]:
    """The report has gamma per unit of a price that may be off the options' forward by a basis."""
    asset, found = policy.underlying, _of(after, policy.underlying)
    gamma = found.gamma * found.price**2 * 0.01 if found else 0.0
    low = -inf if policy.minimum_dollar_gamma is None else float(policy.minimum_dollar_gamma)
    high = inf if policy.maximum_dollar_gamma is None else float(policy.maximum_dollar_gamma)
    basis = 5e-3 * abs(gamma)
    return {f"dollar_gamma.{asset}": _outside(gamma, low - basis, high + basis)}
