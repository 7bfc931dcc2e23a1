"""Open adjustments that a newer statement replaces."""

from collections.abc import Collection, Sequence

from msgspec.structs import replace

from app.domain.adjustment_events import adjustment_event
from app.domain.adjustments import AdjustmentState, check_transition
from app.domain.identifiers import PolicyId
from app.domain.portfolios import Portfolio
from app.ports.management import AdjustmentRecord, UnitOfWork

RECOMMENDED = frozenset({AdjustmentState.RECOMMENDED})
NOT_STARTED = frozenset({AdjustmentState.RECOMMENDED, AdjustmentState.APPROVED, AdjustmentState.QUEUED})


def moved(record: AdjustmentRecord, state: AdjustmentState, outcome: str = "") -> AdjustmentRecord:
    """The record one step on, where the table of states has that step."""
    check_transition(record.adjustment.state, state)
    return replace(record, adjustment=replace(record.adjustment, state=state), outcome=outcome)


async def supersede_adjustments(
    unit: UnitOfWork,
    portfolio: Portfolio,
    *,
    states: Collection[AdjustmentState],
    policy_id: PolicyId | None = None,
    because: str,
    time_ns: int,
) -> None:
    """Those that no executor has taken. The portfolio is locked; the caller touches it."""
    records = await unit.adjustments.lock_open(portfolio.id, states, policy_id)
    await supersede(unit, records, because=because, time_ns=time_ns)


async def supersede(
    unit: UnitOfWork, records: Sequence[AdjustmentRecord], *, because: str, time_ns: int
) -> None:
    superseded = [moved(record, AdjustmentState.SUPERSEDED, because) for record in records]
    ids = [record.adjustment.id for record in superseded]
    await unit.adjustments.end(ids, AdjustmentState.SUPERSEDED, because)
    await unit.append(
        [adjustment_event(r.tenant_id, r.adjustment, time_ns, outcome=because) for r in superseded]
    )
