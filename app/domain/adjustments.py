"""Adjustments and decisions: what is to be done, what was concluded, and the one table of states."""

from decimal import Decimal
from enum import StrEnum
from typing import Literal

from msgspec import Struct

from app.domain.errors import IllegalTransition
from app.domain.identifiers import (
    AccountId,
    AdjustmentId,
    Asset,
    DecisionId,
    FillId,
    InstrumentId,
    PolicyId,
    PortfolioId,
)
from app.domain.market import StreamPosition


class AdjustmentState(StrEnum):
    RECOMMENDED = "recommended"
    APPROVED = "approved"
    QUEUED = "queued"
    EXECUTING = "executing"
    EXECUTED = "executed"
    PARTIALLY_EXECUTED = "partially_executed"
    FAILED = "failed"
    REJECTED = "rejected"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"


_S = AdjustmentState
TRANSITIONS: dict[AdjustmentState, frozenset[AdjustmentState]] = {
    _S.RECOMMENDED: frozenset({_S.APPROVED, _S.EXECUTED, _S.REJECTED, _S.EXPIRED, _S.SUPERSEDED}),
    _S.APPROVED: frozenset({_S.QUEUED, _S.REJECTED, _S.EXPIRED, _S.SUPERSEDED}),
    _S.QUEUED: frozenset({_S.EXECUTING, _S.REJECTED, _S.EXPIRED, _S.SUPERSEDED}),
    _S.EXECUTING: frozenset({_S.EXECUTED, _S.PARTIALLY_EXECUTED, _S.FAILED}),
    _S.EXECUTED: frozenset(),
    _S.PARTIALLY_EXECUTED: frozenset(),
    _S.FAILED: frozenset(),
    _S.REJECTED: frozenset(),
    _S.EXPIRED: frozenset(),
    _S.SUPERSEDED: frozenset(),
}
OPEN_STATES = frozenset(state for state, following in TRANSITIONS.items() if following)
IN_FLIGHT_STATES = frozenset({_S.QUEUED, _S.EXECUTING})
AWAITING_STATES = frozenset({_S.RECOMMENDED, _S.APPROVED})


def check_transition(old: AdjustmentState, new: AdjustmentState) -> None:
    if new not in TRANSITIONS[old]:
        allowed = ", ".join(sorted(TRANSITIONS[old]))
        ways = f"it may become {allowed}" if allowed else "that is its end"
        raise IllegalTransition(f"an adjustment that is {old} cannot become {new}; {ways}")


class TradeLeg(Struct, frozen=True, gc=False):
    """Buy (positive) or sell `quantity` contracts; `reference_price` is the mark it was planned on."""

    account_id: AccountId
    instrument: InstrumentId
    quantity: Decimal
    reference_price: Decimal
    reduces: bool
    type: Literal["trade"] = "trade"


class TransferLeg(Struct, frozen=True, gc=False):
    """Collateral into `account_id`, from `source`: None is the portfolio's reserve, on either side.

    `amount` leaves the source, and less the `fee` it arrives: what venues keep of a withdrawal.
    """

    account_id: AccountId | None
    asset: Asset
    amount: Decimal
    source: AccountId | None = None
    fee: Decimal = Decimal(0)
    type: Literal["transfer"] = "transfer"


class LendingAction(StrEnum):
    SUPPLY = "supply"
    WITHDRAW = "withdraw"
    BORROW = "borrow"
    REPAY = "repay"

    @property
    def sign(self) -> int:
        """Of the change of the position, which is collateral when positive and debt when negative."""
        return 1 if self in (LendingAction.SUPPLY, LendingAction.REPAY) else -1


class LendingLeg(Struct, frozen=True, gc=False):
    """`amount` of the asset between the account's balances and its position in a lending pool."""

    account_id: AccountId
    instrument: InstrumentId
    action: LendingAction
    amount: Decimal
    reduces: bool
    type: Literal["lending"] = "lending"


Leg = TradeLeg | TransferLeg | LendingLeg


class MissReason(StrEnum):
    """What kept a plan from a target.

    - `no_permitted_action`: nothing that the policy may do moves the figure.
    - `reserve_exhausted`: the reserves that may be used are used up.
    - `position_exhausted`: what may be reduced is closed.
    - `trade_limit`: the policy's limits on trades or turnover are reached.
    - `cost_cap`: more would cost more than the policy allows.
    - `higher_priority`: more would push a policy that comes first out of its limits.
    - `lot_rounding`: the target lies between two lots, or what is missing is dust.
    - `price_unknown`: a price that the figure needs is not known.
    - `venue_limit`: more would leave an account below its initial margin, or is more than a pool takes.
    """

    NO_PERMITTED_ACTION = "no_permitted_action"
    RESERVE_EXHAUSTED = "reserve_exhausted"
    POSITION_EXHAUSTED = "position_exhausted"
    TRADE_LIMIT = "trade_limit"
    COST_CAP = "cost_cap"
    HIGHER_PRIORITY = "higher_priority"
    LOT_ROUNDING = "lot_rounding"
    PRICE_UNKNOWN = "price_unknown"
    VENUE_LIMIT = "venue_limit"


class Miss(Struct, frozen=True, gc=False):
    """A target that a plan does not reach: figures in the registry's units, as printed decimals."""

    policy_id: PolicyId
    figure: str
    wanted: str
    reached: str
    why: MissReason


class InFlight(Struct, frozen=True):
    """An open adjustment as the decision core sees it.

    `remaining` are the unfilled legs: they count as if done while queued or executing, and not at all
    while only recommended or approved.
    """

    id: AdjustmentId
    policy_id: PolicyId
    state: AdjustmentState
    expires_at_ns: int
    remaining: tuple[Leg, ...]
    policies: tuple[PolicyId, ...] = ()

    def serves(self, policy_id: PolicyId) -> bool:
        return policy_id == self.policy_id or policy_id in self.policies


class Adjustment(Struct, frozen=True):
    """A plan for one portfolio. Costs are in the valuation currency; metrics are printed decimals."""

    id: AdjustmentId
    portfolio_id: PortfolioId
    policy_id: PolicyId
    policy_version: int
    state: AdjustmentState
    mode: str
    priority: int
    risk_reducing: bool
    legs: tuple[Leg, ...]
    expected_cost: Decimal
    metrics_before: dict[str, str]
    metrics_after: dict[str, str]
    reaches_target: bool
    position: StreamPosition
    decided_at_ns: int
    expires_at_ns: int
    policies: tuple[PolicyId, ...] = ()
    misses: tuple[Miss, ...] = ()

    @property
    def operator(self) -> bool:
        """Whether a policy of the operator leads it: those rank below zero."""
        return self.priority < 0


class Outcome(StrEnum):
    ACTED = "acted"
    SUPPRESSED = "suppressed"


class Reason(StrEnum):
    """Why a fired policy acted or did not.

    - `target_reached`, `target_missed`: it acted; the plan reaches all that it wants, or says what it misses.
    - `cooldown`: it rests after acting.
    - `open_adjustment`: an earlier adjustment of its own is still open.
    - `dust`: what would be traded is below the least notional, or rounds to no lot.
    - `stale_price`: a price that it needs is too old.
    - `price_quality`: a price is too uncertain, or from too few sources.
    - `no_cure`: nothing that it is allowed to do helps.
    - `portfolio_halted`: the portfolio is halted.
    - `reduce_only`: positions may only be reduced, and that does not help.
    - `not_yet`: its trigger has not held for the dwell time.
    - `trades_per_hour`, `turnover_per_day`: it has traded as much as it may.
    - `oscillation`: it has changed direction as often as it may within the hour.
    - `cost_cap`: the plan costs more than it allows.
    - `slippage`: every instrument that would help costs more to cross than it allows.
    - `maximum_trade`: what it may trade at most is too little to be traded.
    - `price_moved_less`: the price has moved less than it wants since it last acted.
    - `notified`: all it does is tell; it was told.
    """

    TARGET_REACHED = "target_reached"
    TARGET_MISSED = "target_missed"
    COOLDOWN = "cooldown"
    OPEN_ADJUSTMENT = "open_adjustment"
    DUST = "dust"
    STALE_PRICE = "stale_price"
    PRICE_QUALITY = "price_quality"
    NO_CURE = "no_cure"
    PORTFOLIO_HALTED = "portfolio_halted"
    REDUCE_ONLY = "reduce_only"
    NOT_YET = "not_yet"
    TRADES_PER_HOUR = "trades_per_hour"
    TURNOVER_PER_DAY = "turnover_per_day"
    OSCILLATION = "oscillation"
    COST_CAP = "cost_cap"
    SLIPPAGE = "slippage"
    MAXIMUM_TRADE = "maximum_trade"
    PRICE_MOVED_LESS = "price_moved_less"
    NOTIFIED = "notified"


class Decision(Struct, frozen=True):
    """What one evaluation of a fired policy concluded, and from which inputs.

    A suppression that repeats frame after frame is recorded once; `repeats_before` of the policy's next
    record says how often the previous one was repeated.
    """

    id: DecisionId
    portfolio_id: PortfolioId
    policy_id: PolicyId
    policy_version: int
    portfolio_revision: int
    position: StreamPosition
    time_ns: int
    outcome: Outcome
    reason: Reason
    conditions: dict[str, str]
    inputs: dict[str, str]
    repeats_before: int = 0
    adjustment_id: AdjustmentId | None = None


class Fill(Struct, frozen=True, gc=False):
    """What a venue did: for one leg, or of itself, which has no adjustment.

    `quantity` and `price` for trades; transfers have quantity = amount and price 0. `account_id` is where a
    transfer went and `source` where it came from; None is the reserve. Of lending, `quantity` is the change
    of the position and the price is 0; a loan is liquidated at values in the portfolio's valuation currency.
    Of itself a venue liquidates, settles what expired (at `price`, without a fee), lets funding be paid (on
    `quantity` contracts at the mark `price`, the `fee` being what was paid, negative where it was received)
    and adds interest (`quantity` to the position). `fee` in `asset`.
    """

    id: FillId
    portfolio_id: PortfolioId
    account_id: AccountId | None
    adjustment_id: AdjustmentId | None
    leg: int
    instrument: InstrumentId | None
    asset: Asset
    quantity: Decimal
    price: Decimal
    fee: Decimal
    time_ns: int
    kind: Literal["trade", "transfer", "lending", "liquidation", "expiry", "funding", "interest"] = "trade"
    source: AccountId | None = None
