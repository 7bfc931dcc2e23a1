"""Policies, their versions, and what was decided from them."""

from collections.abc import Collection, Mapping
from uuid import UUID

import msgspec
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Row,
    Select,
    Table,
    func,
    insert,
    literal,
    select,
    tuple_,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from app.adapters.postgres.tables.adjustments import decisions
from app.adapters.postgres.tables.policies import (
    operator_policy_versions,
    policies,
    policy_memory,
    policy_versions,
)
from app.domain.adjustments import Decision, Outcome, Reason
from app.domain.errors import NotFound
from app.domain.identifiers import PolicyId, PortfolioId, TenantId
from app.domain.market import StreamPosition
from app.domain.policies import POLICY, AnyPolicy
from app.ports.management import PolicyRecord, PolicyVersion

_Record = tuple[object, object, int, object, object]


class PolicyRows:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def get(self, tenant_id: TenantId, policy_id: PolicyId) -> PolicyRecord:
        found = await self._connection.execute(_of(tenant_id).where(policies.c.id == policy_id))
        row = found.one_or_none()
        if row is None:
            raise NotFound("policy", policy_id)
        return _record(row)

    async def of_portfolio(self, tenant_id: TenantId, portfolio_id: PortfolioId) -> list[PolicyRecord]:
        found = await self._connection.execute(
            _of(tenant_id)
            .where(policies.c.portfolio_id == portfolio_id)
            .order_by(policies.c.operator_policy_id.is_(None), policies.c.ordinal, policies.c.id)
        )
        return [_record(row) for row in found]

    async def add(
        self, tenant_id: TenantId, portfolio_id: PortfolioId, policy_id: PolicyId, policy: AnyPolicy
    ) -> PolicyRecord:
        ordinal = await self._connection.scalar(
            select(func.coalesce(func.max(policies.c.ordinal), 0) + 1).where(
                policies.c.portfolio_id == portfolio_id
            )
        )
        record = PolicyRecord(policy_id, portfolio_id, 1, policy)
        await self._connection.execute(
            insert(policies).values(
                id=policy_id, tenant_id=tenant_id, portfolio_id=portfolio_id, ordinal=ordinal, **_row(record)
            )
        )
        await self._keep_version(record)
        return record

    async def replace(self, record: PolicyRecord) -> None:
        await self._connection.execute(
            update(policies).where(policies.c.id == record.id).values(**_row(record))
        )
        await self._keep_version(record)

    async def delete(self, policy_id: PolicyId) -> None:
        await self._connection.execute(
            update(policies).where(policies.c.id == policy_id).values(deleted_at=func.now(), enabled=False)
        )

    async def memories(self, portfolio_ids: Collection[PortfolioId]) -> Mapping[PolicyId, bytes]:
        found = await self._connection.execute(
            select(policy_memory.c.policy_id, policy_memory.c.memory).where(
                policy_memory.c.portfolio_id.in_(portfolio_ids)
            )
        )
        return {PolicyId(row.policy_id): row.memory for row in found}

    async def versions(
        self, tenant_id: TenantId, policy_id: PolicyId, *, before: int | None, limit: int
    ) -> list[PolicyVersion]:
        """Newest first."""
        record = await self.get(tenant_id, policy_id)
        table: Table = policy_versions
        owner: ColumnElement[bool] = policy_versions.c.policy_id == policy_id
        if record.operator:
            table = operator_policy_versions
            owner = operator_policy_versions.c.operator_policy_id == record.operator_policy_id
        query = select(table.c.version, table.c.document, table.c.created_at).where(owner)
        if before is not None:
            query = query.where(table.c.version < literal(before, BigInteger))
        found = await self._connection.execute(query.order_by(table.c.version.desc()).limit(limit))
        return [
            PolicyVersion(row.version, POLICY.validate_json(row.document), row.created_at) for row in found
        ]

    async def decisions(
        self,
        tenant_id: TenantId,
        policy_id: PolicyId,
        *,
        before: tuple[StreamPosition, UUID] | None,
        limit: int,
    ) -> list[Decision]:
        """Newest first, by the market's sequence."""
        place = (decisions.c.generation, decisions.c.sequence, decisions.c.id)
        query = select(decisions).where(
            decisions.c.tenant_id == tenant_id, decisions.c.policy_id == policy_id
        )
        if before is not None:
            position, id_ = before
            query = query.where(tuple_(*place) < tuple_(position.generation, position.sequence, id_))
        ordered = query.order_by(*(column.desc() for column in place)).limit(limit)
        return [_decision(row) for row in await self._connection.execute(ordered)]

    async def _keep_version(self, record: PolicyRecord) -> None:
        await self._connection.execute(
            insert(policy_versions).values(
                policy_id=record.id, version=record.version, document=record.policy.model_dump(mode="json")
            )
        )


def _of(tenant_id: TenantId) -> Select[_Record]:
    columns = (
        policies.c.id,
        policies.c.portfolio_id,
        policies.c.version,
        policies.c.document,
        policies.c.operator_policy_id,
    )
    return select(*columns).where(policies.c.tenant_id == tenant_id, policies.c.deleted_at.is_(None))


def _row(record: PolicyRecord) -> dict[str, object]:
    return {
        "version": record.version,
        "kind": record.policy.kind,
        "enabled": record.policy.enabled,
        "instruments": list(record.policy.instruments),
        "document": record.policy.model_dump(mode="json"),
    }


def _record(row: Row[_Record]) -> PolicyRecord:
    policy = POLICY.validate_json(row.document)
    return PolicyRecord(row.id, row.portfolio_id, row.version, policy, row.operator_policy_id)


def _decision(row: Row[tuple[object, ...]]) -> Decision:
    return Decision(
        id=row.id,
        portfolio_id=row.portfolio_id,
        policy_id=row.policy_id,
        policy_version=row.policy_version,
        portfolio_revision=row.portfolio_revision,
        position=StreamPosition(row.generation, row.sequence),
        time_ns=row.time_ns,
        outcome=Outcome(row.outcome),
        reason=Reason(row.reason),
        conditions=msgspec.json.decode(row.conditions),
        inputs=msgspec.json.decode(row.inputs),
        repeats_before=row.repeats_before,
        adjustment_id=row.adjustment_id,
    )
