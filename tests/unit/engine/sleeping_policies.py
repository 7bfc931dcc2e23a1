"""Policies of every family for holdings by chance; triggers are near to where figures are, apart or far.

Families by how tight their bounds should be, and those for which there are none.
"""

from collections.abc import Callable

import numpy as np

from app.domain.market import TickKind
from app.domain.portfolios import Portfolio
from app.engine.risk import RiskReport
from tests.unit.engine.market_histories import PERP, SPOT
from tests.unit.engine.sleeping_books import (
    APART,
    Chance,
    Family,
    Terms,
    carry,
    decimal,
    dollar_coins,
    inverse,
    loan,
    margined_as_a_whole,
    optional_pockets,
    options,
    perpetual,
    pockets,
    several,
    sized,
    spot,
    two_underlyings,
)

Making = Callable[[Chance, Portfolio, RiskReport], Terms]
_COST = 2e-4


def guard(chance: Chance, _: Portfolio, risk: RiskReport) -> Terms:
    ratio = min(max(risk.margin_ratio, 0.005) * chance.times(), 0.95)
    return {
        "kind": "liquidation_guard", "trigger": decimal(ratio, 6), "restore": decimal(0.8 * ratio, 6),
        "reduce_options": True, "cures": ["reduce"],
    }  # fmt: skip


def health_guard(chance: Chance, holdings: Portfolio, risk: RiskReport) -> Terms:
    terms = guard(chance, holdings, risk)
    levels = {name: decimal(1.0 / float(terms[name]), 6) for name in ("trigger", "restore")}
    return terms | levels | {"metric": "health_factor"}


def emergency(chance: Chance, holdings: Portfolio, risk: RiskReport) -> Terms:
    terms = guard(chance, holdings, risk)
    last = (1.0 + 3.0 * float(terms["trigger"])) / 4.0
    return terms | {"emergency": {"trigger": decimal(last, 6), "cooldown_seconds": 10}}


def distance_guard(chance: Chance, _: Portfolio, risk: RiskReport) -> Terms:
    least = risk.liquidation_distance if np.isfinite(risk.liquidation_distance) else 0.9
    return {
        "kind": "liquidation_guard", "metric": "liquidation_distance", "cures": ["reduce"],
        "trigger": decimal(0.5 * least, 6), "restore": decimal(0.7 * least, 6),
    }  # fmt: skip


def leverage(chance: Chance, holdings: Portfolio, risk: RiskReport) -> Terms:
    apart = chance.random.permutation([chance.times(), chance.uniform(*APART)])
    low, high = risk.leverage / apart[0], risk.leverage * apart[1]
    return {
        "kind": "leverage_band", "minimum": decimal(low, 6), "maximum": decimal(high, 6),
        "target": decimal((low + high) / 2.0, 6),
        "trade_instruments": [] if holdings.accounts[0].positions else [SPOT],
    }  # fmt: skip


def _flat(band: Terms) -> Terms:
    return {"kind": "delta_neutral", "underlying": "BTC", "hedge_instruments": [PERP], "band": band}


def fixed_band(chance: Chance, _: Portfolio, risk: RiskReport) -> Terms:
    (underlying,) = risk.underlyings
    gross = underlying.gross_delta_notional / underlying.price
    width = abs(underlying.net_delta) * chance.times() + 0.02 * gross
    return _flat({"kind": "fixed", "below": decimal(width, 8), "above": decimal(width, 8)})


def share_band(chance: Chance, _: Portfolio, risk: RiskReport) -> Terms:
    (underlying,) = risk.underlyings
    share = abs(underlying.net_delta) * underlying.price / underlying.gross_delta_notional
    share = decimal(min(share * chance.times() + 0.01, 1.0), 6)
    return _flat({"kind": "fraction_of_gross", "below": share, "above": share})


def cost_aware(kind: str) -> Making:
    def terms(chance: Chance, _: Portfolio, risk: RiskReport) -> Terms:
        """As averse as makes a band of Whalley and Wilmott some times what the delta is off by."""
        (underlying,) = risk.underlyings
        gross = underlying.gross_delta_notional / underlying.price
        off = abs(underlying.net_delta) * chance.times() + 0.02 * abs(underlying.gamma) * underlying.price
        averse = 1.5 * _COST * underlying.price * underlying.gamma**2 / off**3
        floor = 0.0 if underlying.gamma else 1.05 * abs(underlying.net_delta)
        band = {"kind": kind, "risk_aversion": decimal(max(averse, 1e-9), 15), "cost_bps": 2}
        band |= {"floor": decimal(max(floor, 0.02 * gross), 8), "cap": decimal(10.0 * (off + gross), 8)}
        return _flat(band)

    return terms


def volatility(source: Terms) -> Making:
    def terms(chance: Chance, _: Portfolio, risk: RiskReport) -> Terms:
        """As high as what is exposed now, or as a year's volatility may be."""
        (underlying,) = risk.underlyings
        exposed = abs(underlying.net_delta) * underlying.price / risk.equity
        told = chance.known(TickKind.IMPLIED_VOL, "BTC-CALL-100")
        return {
            "kind": "volatility_target", "underlying": "BTC", "volatility": source, "maximum_leverage": 100,
            "target_volatility_annual": decimal(exposed * told, 6),
            "band": decimal(chance.uniform(0.1, 0.6), 3),
        }  # fmt: skip

    return terms


def greeks_within(greek: str) -> Making:
    def terms(chance: Chance, _: Portfolio, risk: RiskReport) -> Terms:
        (underlying,) = risk.underlyings
        present = underlying.gamma * underlying.price**2 if greek == "gamma" else underlying.vega
        limit = abs(present) / 100.0 * chance.times() + 0.01
        return {
            "kind": "gamma_band", "underlying": "BTC", "scale_options": True, "hedge_instruments": [PERP],
            f"minimum_dollar_{greek}": decimal(-limit, 6), f"maximum_dollar_{greek}": decimal(limit, 6),
        }  # fmt: skip

    return terms


def efficiency(chance: Chance, _: Portfolio, risk: RiskReport) -> Terms:
    def pocket(name: str, health: float) -> Terms:
        low, high = max(health / chance.uniform(*APART), 1.01), health * chance.uniform(*APART)
        levels = (low, (low + high) / 2.0, high)
        names = ("minimum_health", "target_health", "maximum_health")
        return {"account": name, **{at: decimal(level, 4) for at, level in zip(names, levels, strict=True)}}

    names = [account.name for account in risk.accounts]
    ways = [(name, "reserve") for name in names] + [("reserve", name) for name in names]
    return {
        "kind": "capital_efficiency",
        "pockets": [pocket(account.name, min(account.health_factor, 1e6)) for account in risk.accounts],
        "routes": [{"source": one, "destination": other, "asset": "USDT"} for one, other in ways],
    }


def stress_of(metric: str, times: float) -> Making:
    def terms(chance: Chance, _: Portfolio, risk: RiskReport) -> Terms:
        level = times * (chance.price if metric.startswith("price") else 0.2)
        tier = {"name": "red", "above": decimal(level, 4), "recover_below": decimal(0.9 * level, 4)}
        return {
            "kind": "stress_response", "metric": metric, "re_risk": False,
            "tiers": [tier | {"exposure_multiplier": "0.5"}],
        }  # fmt: skip

    return terms


def thin_margin(chance: Chance, _: Portfolio, risk: RiskReport) -> Terms:
    thin = {"kind": "comparison", "metric": "margin_ratio", "op": "above", "value": "0.9"}
    return {"kind": "rule", "condition": thin, "actions": [{"kind": "scale", "factor": "0.5"}]}


IMPLIED = {"kind": "implied", "instrument": "BTC-CALL-100"}
REALIZED = {"kind": "realized", "instrument": PERP}
LINEAR = (
    Family("delta_neutral, fixed", "contracts", carry, fixed_band),
    Family("delta_neutral, fraction_of_gross", "contracts", carry, share_band),
    Family("delta_neutral, whalley_wilmott", "contracts", carry, cost_aware("whalley_wilmott")),
    Family("liquidation_guard, margin_ratio", "contracts", perpetual, guard),
    Family("liquidation_guard, health_factor", "contracts", perpetual, health_guard),
    Family("liquidation_guard, emergency", "contracts", perpetual, emergency),
    Family("liquidation_guard, of a loan", "coins", loan, health_guard),
    Family("leverage_band, spot", "coins", spot, leverage),
    Family("leverage_band, margin account", "contracts", perpetual, leverage),
    Family("leverage_band, of a loan", "coins", loan, leverage),
    Family("volatility_target, implied", "contracts", sized, volatility(IMPLIED)),
    Family("volatility_target, realized", "contracts", sized, volatility(REALIZED)),
    Family("capital_efficiency", "contracts", pockets, efficiency),
    Family("stress_response, index", "contracts", perpetual, stress_of("stress.MARKET", 6.0)),
    Family("stress_response, price", "contracts", perpetual, stress_of(f"price.{PERP}", 1.5)),
    Family("rule", "contracts", perpetual, thin_margin),
)
OPTIONAL = (
    Family("delta_neutral, fixed", "contracts", options, fixed_band),
    Family("delta_neutral, fraction_of_gross", "contracts", options, share_band),
    Family("delta_neutral, whalley_wilmott", "contracts", options, cost_aware("whalley_wilmott")),
    Family("delta_neutral, zakamouline", "contracts", options, cost_aware("zakamouline")),
    Family("liquidation_guard, margin_ratio", "contracts", options, guard),
    Family("leverage_band", "contracts", options, leverage),
    Family("volatility_target, implied", "contracts", options, volatility(IMPLIED)),
    Family("gamma_band, gamma", "contracts", options, greeks_within("gamma")),
    Family("gamma_band, vega", "contracts", options, greeks_within("vega")),
    Family("capital_efficiency", "contracts", optional_pockets, efficiency),
)
OTHERS = tuple(
    Family(f"{name}, {held}", "venues", holdings, terms)
    for held, holdings in (
        ("perpetual valued by spot", perpetual),
        ("inverse", inverse),
        ("spot, linear and inverse", several),
        ("collateral in USDC", dollar_coins),
        ("bitcoin and ether", two_underlyings),
    )
    for name, terms in (("liquidation_guard", guard), ("leverage_band", leverage))
)
ALWAYS_AWAKE = (
    Family("liquidation_guard, liquidation_distance", "contracts", perpetual, distance_guard),
    Family("portfolio margin", "contracts", margined_as_a_whole, guard),
)
