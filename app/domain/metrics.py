"""The registry of metrics: the one vocabulary that policies, conditions, the API and the docs share."""

from dataclasses import dataclass
from enum import StrEnum


class MetricName(StrEnum):
    EQUITY = "equity"
    INITIAL_MARGIN = "initial_margin"
    MAINTENANCE_MARGIN = "maintenance_margin"
    MARGIN_RATIO = "margin_ratio"
    HEALTH_FACTOR = "health_factor"
    LIQUIDATION_DISTANCE = "liquidation_distance"
    LEVERAGE = "leverage"
    NET_DELTA = "net_delta"
    GROSS_DELTA_NOTIONAL = "gross_delta_notional"
    GAMMA = "gamma"
    VEGA = "vega"
    DOLLAR_GAMMA = "dollar_gamma"
    DOLLAR_VEGA = "dollar_vega"
    THETA = "theta"


class Level(StrEnum):
    ACCOUNT = "account"
    UNDERLYING = "underlying"
    PORTFOLIO = "portfolio"


@dataclass(frozen=True, slots=True)
class Metric:
    """`levels`: where it is computed; the portfolio shows the worst account of a margin metric."""

    name: MetricName
    unit: str
    levels: tuple[Level, ...]
    definition: str


_ACCOUNT = (Level.ACCOUNT, Level.PORTFOLIO)
_UNDERLYING = (Level.UNDERLYING,)

METRICS: dict[MetricName, Metric] = {
    m.name: m
    for m in (
        Metric(
            MetricName.EQUITY,
            "valuation currency",
            _ACCOUNT,
            "balances after haircuts + unrealised profit and loss + value of options",
        ),
        Metric(
            MetricName.INITIAL_MARGIN, "valuation currency", _ACCOUNT, "margin needed to open what is held"
        ),
        Metric(
            MetricName.MAINTENANCE_MARGIN,
            "valuation currency",
            _ACCOUNT,
            "margin below which it is liquidated",
        ),
        Metric(
            MetricName.MARGIN_RATIO, "fraction", _ACCOUNT, "maintenance margin / equity; 1 is liquidation"
        ),
        Metric(
            MetricName.HEALTH_FACTOR, "multiple", _ACCOUNT, "equity / maintenance margin; 1 is liquidation"
        ),
        Metric(
            MetricName.LIQUIDATION_DISTANCE,
            "fraction of the price",
            _ACCOUNT,
            "smallest |relative move| of all underlyings together that liquidates",
        ),
        Metric(MetricName.LEVERAGE, "multiple", (Level.PORTFOLIO,), "sum of |delta notional| / equity"),
        Metric(MetricName.NET_DELTA, "units of the underlying", _UNDERLYING, "sum of deltas"),
        Metric(
            MetricName.GROSS_DELTA_NOTIONAL,
            "valuation currency",
            (Level.UNDERLYING, Level.PORTFOLIO),
            "sum of |delta| x price of the underlying",
        ),
        Metric(MetricName.GAMMA, "delta per unit of price", _UNDERLYING, "sum of gammas"),
        Metric(MetricName.VEGA, "valuation currency per 1.00 of volatility", _UNDERLYING, "sum of vegas"),
        Metric(
            MetricName.DOLLAR_GAMMA,
            "valuation currency per 1 % move",
            _UNDERLYING,
            "change of the delta's value as the underlying moves by 1 %",
        ),
        Metric(
            MetricName.DOLLAR_VEGA,
            "valuation currency per volatility point",
            _UNDERLYING,
            "sum of vegas / 100",
        ),
        Metric(MetricName.THETA, "valuation currency per year", _UNDERLYING, "sum of thetas"),
    )
}
