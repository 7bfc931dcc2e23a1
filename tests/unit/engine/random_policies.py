"""Policies by chance for a portfolio as it stands, most of them set so that they fire."""

from decimal import Decimal

import numpy as np

from app.domain.families.liquidation_guard import TopUpSource
from app.domain.families.rule import Hedge
from app.domain.instruments import Instrument, InstrumentKind
from app.domain.policies import (
    AnyPolicy,
    Cure,
    DeltaNeutral,
    GammaBand,
    Guards,
    LeverageBand,
    LiquidationGuard,
    Mode,
    Rule,
    VolatilityTarget,
)
from app.domain.portfolios import Portfolio
from app.engine.risk import RiskReport
from tests.unit.engine.random_portfolios import PRICES, Chance

OPEN = Guards(
    cooldown_seconds=0, minimum_notional=0, maximum_trades_per_hour=None, maximum_reversals_per_hour=None,
    maximum_slippage_bps=None,
)  # fmt: skip
"""Nothing is held back."""


def decimal(value: float) -> Decimal:
    return Decimal(f"{value:.4g}")


class PolicyChance:
    """`shares`: whether all trade the same instruments; else each has its own as far as there are any."""

    def __init__(self, chance: Chance, holdings: Portfolio, risk: RiskReport, *, shares: bool) -> None:
        self._chance, self._holdings, self._risk, self._shares = chance, holdings, risk, shares
        self._priority = 0
        self._hedges = {asset: self._futures(asset) for asset in PRICES}
        worst = max(risk.accounts, key=lambda account: account.margin_ratio)
        self._guarded = worst.name
        others = [account.name for account in risk.accounts if account is not worst]
        self._trading = others[0] if others and not shares else None

    def _futures(self, asset: str) -> list[str]:
        found = [i.id for i in self._chance.derivatives() if i.underlying == asset and not _is_option(i)]
        return self._chance.some(found, most=2) if self._shares else self._chance.some(found, most=5)

    def _hedge(self, asset: str) -> tuple[str, ...]:
        """The same two for all, or one that no other policy trades (the last is left for the rest)."""
        pool = self._hedges[asset]
        if self._shares:
            return tuple(pool)
        return (pool.pop() if len(pool) > 1 else pool[0],)

    def _uniform(self, low: float, high: float) -> float:
        return float(self._chance.random.uniform(low, high))

    def _terms(self, name: str) -> dict[str, object]:
        self._priority += 1
        return {"name": name, "mode": Mode.AUTO, "priority": self._priority, "guards": OPEN}

    def policies(self) -> list[AnyPolicy]:
        """From three to six, the most urgent first: as a trader would rank them, or anyhow."""
        deltas = [self.neutral, self.neutral, self.volatility, self.rule]
        kinds = [
            self.guard, self.leverage,
            *(lambda asset=asset: self.gamma(asset) for asset in PRICES),
            *(lambda asset=asset: self._chance.among(deltas)(asset) for asset in PRICES),
        ]  # fmt: skip
        count = int(self._chance.random.integers(3, len(kinds) + 1))
        order = self._chance.random.permutation(len(kinds))[:count]
        if self._chance.random.random() < 0.7:
            order = np.sort(order)
        return [policy for policy in (kinds[at]() for at in order) if policy is not None]

    def neutral(self, asset: str) -> DeltaNeutral | None:
        delta = self._of(asset, "net_delta")
        if not delta:
            return None
        band = decimal(abs(delta) * self._uniform(0.1, 1.3))
        return DeltaNeutral(
            underlying=asset,
            band=band,
            hedge_instruments=self._hedge(asset),
            hedge_account=self._trading,
            **self._terms(f"{asset} flat"),
        )

    def guard(self) -> LiquidationGuard | None:
        """Of the account that is nearest to liquidation; others trade elsewhere unless they share."""
        worst = next(account for account in self._risk.accounts if account.name == self._guarded)
        if not 0.0 < worst.margin_ratio < 0.95:
            return None
        kept_back = {"top_up_from": (TopUpSource(asset="USDT", keep=Decimal(50)),)}
        trigger = min(worst.margin_ratio * self._uniform(0.5, 1.05), 1.0)
        return LiquidationGuard(
            trigger=decimal(trigger), restore=decimal(trigger * self._uniform(0.6, 0.95)),
            account=worst.name, **self._chance.among([kept_back, {"cures": (Cure.REDUCE,)}]),
            **self._terms("alive"),
        )  # fmt: skip

    def leverage(self) -> LeverageBand | None:
        if not 0.2 < self._risk.leverage < 50.0:
            return None
        target = self._risk.leverage * self._uniform(0.5, 1.3)
        return LeverageBand(
            trade_instruments=self._chance.among([(), self._hedge("BTC")]),
            minimum=decimal(target * 0.8), target=decimal(target), maximum=decimal(target * 1.2),
            **self._terms("levered"),
        )  # fmt: skip

    def gamma(self, asset: str) -> GammaBand | None:
        """By options and futures together."""
        found = next((u for u in self._risk.underlyings if u.underlying == asset), None)
        if found is None or not found.gamma:
            return None
        limit = decimal(abs(found.gamma * found.price**2 * 0.01) * self._uniform(0.3, 1.2))
        side = {"maximum_dollar_gamma": limit} if found.gamma > 0 else {"minimum_dollar_gamma": -limit}
        options = [i.id for i in self._chance.derivatives() if i.underlying == asset and _is_option(i)]
        return GammaBand(
            underlying=asset, options=tuple(self._chance.some(options, most=2)),
            hedge_instruments=self._hedge(asset), account=self._trading, **side,
            **self._terms(f"{asset} gamma"),
        )  # fmt: skip

    def volatility(self, asset: str) -> VolatilityTarget | None:
        if not self._of(asset, "net_delta"):
            return None
        return VolatilityTarget.model_validate(
            {
                "underlying": asset, "volatility": {"kind": "implied", "instrument": f"{asset}-CALL"},
                "target_volatility_annual": decimal(self._uniform(0.1, 1.0)),
                "trade_instruments": self._hedge(asset), **self._terms(f"{asset} sized"),
            }
        )  # fmt: skip

    def rule(self, asset: str) -> Rule:
        above = {"kind": "comparison", "metric": "equity", "op": "above", "value": "-1000000000"}
        target = decimal(self._of(asset, "net_delta") * self._uniform(-0.5, 0.5))
        action = Hedge(
            underlying=asset,
            target_delta=target,
            hedge_instruments=self._hedge(asset),
            hedge_account=self._trading,
        )
        return Rule.model_validate({"condition": above, "actions": (action,), **self._terms("ruled")})

    def _of(self, asset: str, figure: str) -> float:
        return next((getattr(u, figure) for u in self._risk.underlyings if u.underlying == asset), 0.0)


def _is_option(instrument: Instrument) -> bool:
    return instrument.kind is InstrumentKind.OPTION
