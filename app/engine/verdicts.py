"""What the core concludes for one portfolio, and how a conclusion is put into words."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf, isnan

from app.domain.adjustments import (
    Adjustment,
    AdjustmentState,
    Decision,
    Fill,
    InFlight,
    Leg,
    LendingLeg,
    TradeLeg,
)
from app.domain.events import EventType, NewEvent
from app.domain.identifiers import Asset, PolicyId
from app.domain.market import Frame
from app.domain.metrics import MetricName
from app.domain.policies import StoredPolicy
from app.domain.portfolios import Account, Portfolio
from app.domain.values import decimal_text
from app.engine.memory import PolicyMemory
from app.engine.metrics import Figures
from app.engine.rounding import metric_text

Memories = dict[PolicyId, PolicyMemory]


@dataclass(frozen=True, slots=True)
class Ended:
    """Work that nobody has begun and that is over: its time passed, or a newer plan took its place."""

    work: InFlight
    state: AdjustmentState
    outcome: str


@dataclass(slots=True)
class Verdict:
    """Everything one portfolio's frames led to, to be committed together or not at all.

    `before` is what was decided on: its revision is what the commit checks. `after` has other holdings
    when an account was liquidated or the clock did something, and then another revision.
    """

    before: Portfolio
    after: Portfolio
    decisions: list[Decision] = field(default_factory=list)
    adjustments: list[Adjustment] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)
    fills: list[Fill] = field(default_factory=list)
    events: list[NewEvent] = field(default_factory=list)
    memories: Memories = field(default_factory=dict)

    @classmethod
    def of_nothing(cls, portfolio: Portfolio) -> "Verdict":
        return cls(before=portfolio, after=portfolio)

    @property
    def changes_state(self) -> bool:
        return self.after.state is not self.before.state

    @property
    def must_commit(self) -> bool:
        """Memory alone may wait for the next checkpoint."""
        return bool(self.decisions or self.events)


def worst_ratio(ratios: Sequence[float]) -> float:
    """One that is unknown makes the whole unknown: it may be the worst."""
    return next((ratio for ratio in ratios if isnan(ratio)), max(ratios, default=0.0))


def leverage_of(*, gross_notional: float, equity: float) -> float:
    """Unknown where the equity is, without bound where nothing is left of it."""
    return inf if equity <= 0.0 else gross_notional / equity


def metric_texts(underlyings: Sequence[Asset], figures: Figures, pair: int) -> dict[str, str]:
    """The figures of a pair under their registered names; margin metrics show the worst account."""
    accounts, exposures = figures.account_slice(pair), figures.exposure_slice(pair)
    equity = float(sum(figures.accounts.equity[accounts].tolist()))
    gross = float(sum(figures.exposures.gross_notional[exposures].tolist()))
    ratios = figures.accounts.margin_ratio[accounts].tolist()
    texts = {
        MetricName.EQUITY.value: metric_text(equity),
        MetricName.MARGIN_RATIO.value: metric_text(worst_ratio(ratios)),
        MetricName.LEVERAGE.value: metric_text(leverage_of(gross_notional=gross, equity=equity)),
    }
    for underlying, delta in zip(underlyings, figures.exposures.delta[exposures].tolist(), strict=True):
        texts[f"{MetricName.NET_DELTA}.{underlying}"] = metric_text(delta)
    return texts


def notified_event(stored: StoredPolicy, message: str, portfolio: Portfolio, frame: Frame) -> NewEvent:
    data = {
        "portfolio_id": str(portfolio.id),
        "policy_id": str(stored.id),
        "policy_version": stored.version,
        "policy": stored.policy.name,
        "message": message,
        "market_position": frame.position.entry_id,
    }
    return NewEvent(EventType.POLICY_NOTIFIED, portfolio.tenant_id, portfolio.id, frame.time_ns, data)


def liquidated_event(
    account: Account, fills: Sequence[Fill], equity: float, portfolio: Portfolio, frame: Frame
) -> NewEvent:
    data = {
        "portfolio_id": str(portfolio.id),
        "account_id": str(account.id),
        "account": account.name,
        "equity_before": metric_text(equity),
        "market_position": frame.position.entry_id,
        "fills": [
            {
                "instrument": fill.instrument,
                "quantity": decimal_text(fill.quantity),
                "price": decimal_text(fill.price),
                "fee": decimal_text(fill.fee),
                "fee_asset": fill.asset,
            }
            for fill in fills
        ],
    }
    return NewEvent(EventType.ACCOUNT_LIQUIDATED, portfolio.tenant_id, portfolio.id, frame.time_ns, data)


def reduces_risk(legs: Sequence[Leg]) -> bool:
    return all(leg.reduces for leg in legs if isinstance(leg, TradeLeg | LendingLeg))
