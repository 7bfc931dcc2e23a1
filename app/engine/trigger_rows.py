"""What the policies of a portfolio compare, as rows of the book: a figure, and the interval it may be in.

A row fires when its value is below `low` or above `high`. Levels that fire when they are reached are stored
as the neighbouring float, so that one comparison serves all. Where the interval itself depends on the market
(a share of the gross, a band that weighs cost against gamma) the loop makes it from `parameters`.
"""

from collections.abc import Iterator, Sequence
from enum import IntEnum
from math import inf, nextafter
from typing import NamedTuple, assert_never

from app.domain.conditions import Condition
from app.domain.families.delta_neutral import CostAwareBand, DeltaNeutral, FixedBand, FractionOfGrossBand
from app.domain.families.liquidation_guard import LiquidationGuard
from app.domain.families.volatility_target import (
    ForecastVolatility,
    ImpliedVolatility,
    RealizedVolatility,
)
from app.domain.identifiers import Asset
from app.domain.metrics import Level, MetricName, MetricRef
from app.domain.policies import (
    AnyPolicy,
    CapitalEfficiency,
    GammaBand,
    LeverageBand,
    Rule,
    StressResponse,
    VolatilityTarget,
)
from app.domain.portfolios import Account
from app.engine.series import Realized, SeriesSpec
from app.quant.arrays import FloatArray, IntArray

NONE = -1
_DAYS_PER_YEAR = 365.0
_BASIS_POINT = 1e-4
_TRUE = 0.5  # a truth is 1.0 or 0.0


class TriggerKind(IntEnum):
    DELTA = 0
    DELTA_OF_GROSS = 1
    DELTA_WHALLEY_WILMOTT = 2
    DELTA_ZAKAMOULINE = 3
    MARGIN_RATIO = 4
    LIQUIDATION_DISTANCE = 5
    LEVERAGE = 6
    DOLLAR_GAMMA = 7
    DOLLAR_VEGA = 8
    HEALTH = 9
    METRIC = 10
    RULE = 11
    VOLATILITY = 12
    ADVERSE_MARGIN_RATIO = 13


class TriggerColumns(NamedTuple):
    """`policy` counts the portfolio's policies; `exposure` or `account` is what is compared.

    `low` and `high` of a delta are its distances from `target`. `parameters` is where further ones begin. A
    programme of conditions, with its registers, is counted from where those of the view begin.
    """

    policy: IntArray
    kind: IntArray
    exposure: IntArray
    account: IntArray
    target: FloatArray
    low: FloatArray
    high: FloatArray
    parameters: IntArray
    condition: IntArray
    condition_stop: IntArray
    register: IntArray


class ParameterColumns(NamedTuple):
    value: FloatArray


class TriggerRow(NamedTuple):
    kind: TriggerKind
    underlying: Asset | None = None
    account: int = NONE
    target: float = 0.0
    low: float = -inf
    high: float = inf
    parameters: Sequence[float] = ()
    condition: Condition | MetricRef | SeriesSpec | None = None


def trigger_rows(
    policy: AnyPolicy, accounts: Sequence[Account], *, cost_rate: float, tier: int
) -> Iterator[TriggerRow]:
    """`cost_rate`: of the cheapest hedge, for a band without its own. `tier`: that of a stress response."""
    match policy:
        case DeltaNeutral():
            yield _delta_row(policy, cost_rate)
        case LiquidationGuard():
            yield from (_guard_row(policy, at) for at in in_scope(accounts, policy.account))
        case LeverageBand():
            low, high = float(policy.minimum), float(policy.maximum)
            scope = [NONE] if policy.account is None else in_scope(accounts, policy.account)
            yield from (TriggerRow(TriggerKind.LEVERAGE, account=at, low=low, high=high) for at in scope)
        case GammaBand():
            yield from _greek_rows(policy)
        case CapitalEfficiency():
            yield from _pocket_rows(policy, accounts)
        case Rule():
            yield TriggerRow(TriggerKind.RULE, high=_TRUE, condition=policy.condition)
        case StressResponse():
            yield _stress_row(policy, tier)
        case VolatilityTarget():
            yield from _volatility_rows(policy, accounts)
        case _:
            assert_never(policy)


def in_scope(accounts: Sequence[Account], name: str | None) -> list[int]:
    """Ordinals of the accounts of that name, or of all."""
    return [ordinal for ordinal, account in enumerate(accounts) if name in (None, account.name)]


def _stress_row(policy: StressResponse, tier: int) -> TriggerRow:
    """Between where the present tier (0: none) is left again, and where the next one begins."""
    calm, worst = (inf, -inf) if policy.falls else (-inf, inf)
    leaves = float(policy.tiers[tier - 1].leaves_at) if tier > 0 else calm
    enters = float(policy.tiers[tier].enters_at) if tier < len(policy.tiers) else worst
    low, high = sorted((leaves, nextafter(enters, calm)))
    return TriggerRow(TriggerKind.METRIC, low=low, high=high, condition=MetricRef.parse(policy.metric))


def _volatility_rows(policy: VolatilityTarget, accounts: Sequence[Account]) -> Iterator[TriggerRow]:
    """The leverage in the underlying, as a share of what its volatility allows."""
    scope = [NONE] if policy.account is None else in_scope(accounts, policy.account)
    band, limits = float(policy.band), (policy.minimum_leverage, policy.maximum_leverage)
    for ordinal in scope:
        yield TriggerRow(
            TriggerKind.VOLATILITY,
            Asset(policy.underlying),
            account=ordinal,
            target=float(policy.target_volatility_annual),
            low=1.0 - band,
            high=1.0 + band,
            parameters=tuple(float(limit) for limit in limits),
            condition=volatility_of(policy),
        )


def volatility_of(policy: VolatilityTarget) -> MetricRef | SeriesSpec:
    source = policy.volatility
    match source:
        case ImpliedVolatility():
            return MetricRef(MetricName.IMPLIED_VOLATILITY, Level.INSTRUMENT, source.instrument)
        case ForecastVolatility():
            return MetricRef(MetricName.FORECAST_VOLATILITY, Level.INSTRUMENT, source.instrument)
        case RealizedVolatility():
            return Realized.of(source)
        case _:
            assert_never(source)


def _greek_rows(policy: GammaBand) -> Iterator[TriggerRow]:
    limits = (
        (TriggerKind.DOLLAR_GAMMA, policy.minimum_dollar_gamma, policy.maximum_dollar_gamma),
        (TriggerKind.DOLLAR_VEGA, policy.minimum_dollar_vega, policy.maximum_dollar_vega),
    )
    for kind, minimum, maximum in limits:
        if minimum is not None or maximum is not None:
            low = -inf if minimum is None else float(minimum)
            high = inf if maximum is None else float(maximum)
            yield TriggerRow(kind, Asset(policy.underlying), low=low, high=high)


def _pocket_rows(policy: CapitalEfficiency, accounts: Sequence[Account]) -> Iterator[TriggerRow]:
    for pocket in policy.pockets:
        for ordinal in in_scope(accounts, pocket.account):
            yield TriggerRow(
                TriggerKind.HEALTH,
                account=ordinal,
                target=float(pocket.floor_value),
                low=float(pocket.minimum_health),
                high=float(pocket.maximum_health),
            )


def _delta_row(policy: DeltaNeutral, cost_rate: float) -> TriggerRow:
    underlying, target, band = Asset(policy.underlying), float(policy.target_delta), policy.band
    match band:
        case FixedBand():
            return TriggerRow(
                TriggerKind.DELTA, underlying, target=target, low=float(band.below), high=float(band.above)
            )
        case FractionOfGrossBand():
            return TriggerRow(
                TriggerKind.DELTA_OF_GROSS,
                underlying,
                target=target,
                low=float(band.below),
                high=float(band.above),
            )
        case CostAwareBand():
            kind = {
                "whalley_wilmott": TriggerKind.DELTA_WHALLEY_WILMOTT,
                "zakamouline": TriggerKind.DELTA_ZAKAMOULINE,
            }[band.kind]
            cost = cost_rate if band.cost_bps is None else float(band.cost_bps) * _BASIS_POINT
            return TriggerRow(
                kind,
                underlying,
                target=target,
                low=float(band.floor),
                high=float(band.cap),
                parameters=(
                    float(band.risk_aversion),
                    cost,
                    float(band.horizon_days) / _DAYS_PER_YEAR,
                    float(band.rate_annual),
                    float(band.volatility_annual),
                ),
            )
        case _:
            assert_never(band)


def _guard_row(policy: LiquidationGuard, ordinal: int) -> TriggerRow:
    level, kind = float(policy.trigger), TriggerKind.MARGIN_RATIO
    parameters: tuple[float, ...] = ()
    if policy.confidence_multiple:
        kind, parameters = TriggerKind.ADVERSE_MARGIN_RATIO, (float(policy.confidence_multiple),)
    match policy.metric:
        case MetricName.MARGIN_RATIO:
            high = nextafter(level, -inf)
            return TriggerRow(kind, account=ordinal, high=high, parameters=parameters)
        case MetricName.HEALTH_FACTOR:
            high = nextafter(float(1 / policy.trigger), -inf)
            return TriggerRow(kind, account=ordinal, high=high, parameters=parameters)
        case MetricName.LIQUIDATION_DISTANCE:
            return TriggerRow(TriggerKind.LIQUIDATION_DISTANCE, account=ordinal, low=nextafter(level, inf))
        case _:
            assert_never(policy.metric)
