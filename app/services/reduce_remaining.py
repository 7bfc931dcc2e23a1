"""Which legs of a recommendation a reported trade or transfer carries out, and what is left of it."""

from decimal import Decimal

from msgspec.structs import replace

from app.domain.adjustment_events import adjustment_event
from app.domain.adjustments import AdjustmentState, Fill, Leg, LendingLeg, TradeLeg, TransferLeg
from app.domain.errors import Conflict, InvalidInput
from app.domain.identifiers import AdjustmentId, TenantId
from app.domain.portfolios import Portfolio
from app.ports.management import AdjustmentRecord, UnitOfWork
from app.services.supersede_adjustments import moved


async def lock_reported(
    unit: UnitOfWork, portfolio: Portfolio, adjustment_id: AdjustmentId
) -> AdjustmentRecord:
    """Only what the client was asked to do itself can be reported; the executor reports the rest."""
    record = await unit.adjustments.lock(portfolio.tenant_id, adjustment_id)
    if record.adjustment.portfolio_id != portfolio.id:
        raise InvalidInput("that adjustment belongs to another portfolio", path="/adjustment_id")
    if record.adjustment.state is not AdjustmentState.RECOMMENDED:
        raise Conflict(
            f"adjustment {adjustment_id} is {record.adjustment.state}; fills are reported of recommended ones"
        )
    return record


def reduce_remaining(remaining: tuple[Leg, ...], done: Leg) -> tuple[Leg, ...]:
    """`remaining` less what was done; InvalidInput when none of its legs is meant by it."""
    for index, leg in enumerate(remaining):
        if _same_pocket(leg, done):
            left = _less(leg, done)
            return (*remaining[:index], *((left,) if left is not None else ()), *remaining[index + 1 :])
    raise _no_such_leg()


def leg_number(legs: tuple[Leg, ...], done: Leg) -> int:
    """The place of the leg among those planned."""
    for index, leg in enumerate(legs):
        if _same_pocket(leg, done):
            return index
    raise _no_such_leg()


async def save_reported(
    unit: UnitOfWork, tenant_id: TenantId, record: AdjustmentRecord, done: Leg, fill: Fill, *, time_ns: int
) -> None:
    """Executed once nothing remains; until then it stays recommended, for what remains."""
    reduced = replace(record, remaining=reduce_remaining(record.remaining, done))
    if reduced.remaining:
        await unit.adjustments.save(reduced)
        return
    executed = moved(reduced, AdjustmentState.EXECUTED, "reported by the client")
    await unit.adjustments.save(executed)
    event = adjustment_event(tenant_id, executed.adjustment, time_ns, outcome=executed.outcome, fills=[fill])
    await unit.append([event])


def _same_pocket(leg: Leg, done: Leg) -> bool:
    match leg, done:
        case TradeLeg(), TradeLeg():
            same = (leg.account_id, leg.instrument) == (done.account_id, done.instrument)
            return same and leg.quantity * done.quantity > 0
        case TransferLeg(), TransferLeg():
            return (leg.account_id, leg.source, leg.asset) == (done.account_id, done.source, done.asset)
        case LendingLeg(), LendingLeg():
            same = (leg.account_id, leg.instrument) == (done.account_id, done.instrument)
            return same and leg.action.sign == done.action.sign
        case _:
            return False


def _less(leg: Leg, done: Leg) -> Leg | None:
    match leg, done:
        case TradeLeg(), TradeLeg():
            left = leg.quantity - done.quantity
            return replace(leg, quantity=left) if left * leg.quantity > Decimal(0) else None
        case TransferLeg() | LendingLeg(), TransferLeg() | LendingLeg():
            amount = leg.amount - done.amount
            return replace(leg, amount=amount) if amount > 0 else None
        case _:
            return None


def _no_such_leg() -> InvalidInput:
    return InvalidInput("this carries out no leg that is left of that adjustment", path="/adjustment_id")
