"""Adjustments as clients see and answer them."""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Uuid, any_, exists, literal, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.adapters.postgres.adjustment_rows import adjustment_of, remaining_of
from app.adapters.postgres.tables.adjustments import adjustments
from app.adapters.postgres.tables.policies import policies
from app.domain.adjustment_json import legs_to_json
from app.domain.adjustments import AdjustmentState
from app.domain.errors import Conflict, NotFound
from app.domain.identifiers import AdjustmentId, OperatorPolicyId, PolicyId, PortfolioId, TenantId
from app.ports.management import AdjustmentRecord, Page, Place

_LOCK_NOT_AVAILABLE = "55P03"


class AdjustmentRows:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def get(self, tenant_id: TenantId, adjustment_id: AdjustmentId) -> AdjustmentRecord:
        return await self._read(tenant_id, adjustment_id, lock=False)

    async def lock(self, tenant_id: TenantId, adjustment_id: AdjustmentId) -> AdjustmentRecord:
        try:
            return await self._read(tenant_id, adjustment_id, lock=True)
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) == _LOCK_NOT_AVAILABLE:
                raise Conflict(f"adjustment {adjustment_id} is being taken by an executor") from error
            raise

    async def _read(
        self, tenant_id: TenantId, adjustment_id: AdjustmentId, *, lock: bool
    ) -> AdjustmentRecord:
        query = select(adjustments).where(
            adjustments.c.tenant_id == tenant_id, adjustments.c.id == adjustment_id
        )
        found = await self._connection.execute(query.with_for_update(nowait=True) if lock else query)
        row = found.one_or_none()
        if row is None:
            raise NotFound("adjustment", adjustment_id)
        return _record(row)

    async def lock_open(
        self,
        portfolio_id: PortfolioId,
        states: Collection[AdjustmentState],
        policy_id: PolicyId | None = None,
    ) -> list[AdjustmentRecord]:
        query = select(adjustments).where(
            adjustments.c.portfolio_id == portfolio_id, adjustments.c.state.in_(sorted(states))
        )
        if policy_id is not None:
            query = query.where(_serves(policy_id))
        ordered = query.order_by(adjustments.c.generation, adjustments.c.sequence, adjustments.c.id)
        found = await self._connection.execute(ordered.with_for_update(skip_locked=True))
        return [_record(row) for row in found]

    async def lock_open_of_operator(
        self,
        operator_policy_id: OperatorPolicyId,
        portfolio_ids: Collection[PortfolioId],
        states: Collection[AdjustmentState],
    ) -> list[AdjustmentRecord]:
        copy = policies.alias()
        query = (
            select(adjustments)
            .join(copy, copy.c.portfolio_id == adjustments.c.portfolio_id)
            .where(
                copy.c.operator_policy_id == operator_policy_id,
                adjustments.c.portfolio_id == any_(_array(portfolio_ids)),
                adjustments.c.state.in_(sorted(states)),
                or_(adjustments.c.policy_id == copy.c.id, copy.c.id == any_(adjustments.c.policies)),
            )
            .order_by(adjustments.c.portfolio_id, adjustments.c.generation, adjustments.c.sequence)
        )
        found = await self._connection.execute(query.with_for_update(of=adjustments, skip_locked=True))
        return [_record(row) for row in found]

    async def end(self, ids: Collection[AdjustmentId], state: AdjustmentState, outcome: str) -> None:
        await self._connection.execute(
            update(adjustments)
            .where(adjustments.c.id == any_(_array(ids)))
            .values(state=state.value, outcome=outcome)
        )

    async def save(self, record: AdjustmentRecord, *, fill_time_ns: int | None = None) -> None:
        values: dict[str, Any] = {
            "state": record.adjustment.state.value,
            "legs": legs_to_json(record.adjustment.legs),
            "remaining": legs_to_json(record.remaining),
            "outcome": record.outcome,
        }
        if fill_time_ns is not None:
            values["fill_time_ns"] = fill_time_ns
        await self._connection.execute(
            update(adjustments).where(adjustments.c.id == record.adjustment.id).values(**values)
        )

    async def page(
        self,
        tenant_id: TenantId,
        *,
        portfolio_id: PortfolioId | None,
        policy_id: PolicyId | None,
        state: AdjustmentState | None,
        after: Place | None,
        limit: int,
    ) -> Page[AdjustmentRecord]:
        """Newest first."""
        query = select(adjustments).where(adjustments.c.tenant_id == tenant_id)
        if portfolio_id is not None:
            query = query.where(adjustments.c.portfolio_id == portfolio_id)
        if policy_id is not None:
            of_policy = select(policies.c.portfolio_id).where(policies.c.id == policy_id)
            query = query.where(adjustments.c.portfolio_id == of_policy.scalar_subquery(), _serves(policy_id))
        if state is not None:
            query = query.where(adjustments.c.state == state.value)
        if after is not None:
            place = tuple_(adjustments.c.created_at, adjustments.c.id)
            query = query.where(place < tuple_(after.created_at, after.id))
        ordered = query.order_by(adjustments.c.created_at.desc(), adjustments.c.id.desc()).limit(limit + 1)
        rows = (await self._connection.execute(ordered)).all()
        following = Place(rows[limit - 1].created_at, rows[limit - 1].id) if len(rows) > limit else None
        return Page(tuple(_record(row) for row in rows[:limit]), following)

    async def any_in(self, portfolio_id: PortfolioId, state: AdjustmentState) -> bool:
        found = exists().where(adjustments.c.portfolio_id == portfolio_id, adjustments.c.state == state.value)
        return bool(await self._connection.scalar(select(found)))


def _array(ids: Collection[UUID]) -> ColumnElement[Any]:
    """One parameter, however many there are."""
    return literal(list(ids), ARRAY(Uuid(as_uuid=True)))


def _serves(policy_id: PolicyId) -> ColumnElement[bool]:
    return or_(adjustments.c.policy_id == policy_id, adjustments.c.policies.contains([policy_id]))


def _record(row: Row[tuple[object, ...]]) -> AdjustmentRecord:
    columns = row._asdict()
    return AdjustmentRecord(row.tenant_id, adjustment_of(columns), remaining_of(columns), row.outcome)
