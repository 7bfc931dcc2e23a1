"""The operator's policies, and their copies among the policies of the portfolios that they bind.

One statement brings a batch of portfolios in line: locked in the order of ids, their revisions moved, their
copies written or taken away. Evaluators wait for those locks, so a batch is small, and what one transaction
leaves is found by `behind`. Whoever creates a portfolio holds off writers of operator policies until it is
committed, so that neither misses the other.
"""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from app.adapters.postgres.event_rows import to_json
from app.adapters.postgres.portfolio_rows import load_portfolios
from app.domain.errors import NotFound
from app.domain.identifiers import OperatorPolicyId, PortfolioId, TenantId
from app.domain.policies import POLICY, AnyPolicy
from app.domain.portfolios import Portfolio
from app.ports.operator_policies import Binding, OperatorPolicyRecord

_READ: Final = """
SELECT o.id, o.ordinal, o.version, o.document, o.binds_all, o.binds_tenant, o.in_line, t.name AS tenant,
    ARRAY(SELECT p.portfolio_id FROM policies p WHERE p.operator_policy_id = o.id AND p.version = o.version
        AND p.deleted_at IS NULL AND NOT o.binds_all AND o.binds_tenant IS NULL ORDER BY p.portfolio_id
    ) AS portfolios,
    (SELECT count(*) FROM policies p WHERE p.operator_policy_id = o.id AND p.version = o.version
        AND p.deleted_at IS NULL) AS bound
FROM operator_policies o LEFT JOIN tenants t ON t.id = o.binds_tenant
WHERE o.deleted_at IS NULL
"""
_LOCK = "SELECT FROM operator_policies WHERE id = $1 AND deleted_at IS NULL FOR NO KEY UPDATE"
_WRITE = """
WITH written AS (
    INSERT INTO operator_policies (id, version, document, binds_all, binds_tenant, in_line)
    VALUES ($1, $2, $3, $4, $5, false)
    ON CONFLICT (id) DO UPDATE SET version = EXCLUDED.version, document = EXCLUDED.document,
        binds_all = EXCLUDED.binds_all, binds_tenant = EXCLUDED.binds_tenant, in_line = false
    RETURNING id, version, document
)
INSERT INTO operator_policy_versions (operator_policy_id, version, document) SELECT * FROM written
"""
_DELETE = """
UPDATE operator_policies SET deleted_at = now(), version = version + 1, in_line = false WHERE id = $1
"""

# The next $3 portfolios that are behind the operator policy $1: those that it binds without its version yet
# (of named ones $2 says which), and those that it binds no more.
_BRING_IN_LINE = """
WITH batch AS (
    SELECT p.id, b.binds
    FROM operator_policies o CROSS JOIN portfolios p
    LEFT JOIN policies c ON c.operator_policy_id = o.id AND c.portfolio_id = p.id AND c.deleted_at IS NULL
    CROSS JOIN LATERAL (SELECT o.deleted_at IS NULL
        AND (o.binds_all OR p.tenant_id = o.binds_tenant OR p.id = ANY($2::uuid[])) IS TRUE AS binds) AS b
    WHERE o.id = $1 AND p.deleted_at IS NULL AND c.version IS DISTINCT FROM o.version
        AND (b.binds OR c.id IS NOT NULL)
    ORDER BY b.binds DESC, p.id LIMIT $3
), concerned AS MATERIALIZED (
    SELECT p.id, p.tenant_id, b.binds FROM portfolios p JOIN batch b USING (id)
    WHERE p.deleted_at IS NULL ORDER BY p.id FOR NO KEY UPDATE OF p
), bound AS (
    INSERT INTO policies (id, tenant_id, portfolio_id, ordinal, version, kind, enabled, instruments, document,
        operator_policy_id)
    SELECT md5(o.id::text || c.id::text)::uuid, c.tenant_id, c.id, o.ordinal, o.version, $4, $5, $6,
        o.document, o.id
    FROM concerned c, operator_policies o WHERE c.binds AND o.id = $1
    ON CONFLICT (operator_policy_id, portfolio_id) DO UPDATE SET version = EXCLUDED.version,
        kind = EXCLUDED.kind, enabled = EXCLUDED.enabled, instruments = EXCLUDED.instruments,
        document = EXCLUDED.document, deleted_at = NULL
), released AS (
    UPDATE policies p SET deleted_at = now(), enabled = false FROM concerned c
    WHERE NOT c.binds AND p.operator_policy_id = $1 AND p.portfolio_id = c.id
), settled AS (
    UPDATE operator_policies SET in_line = (SELECT count(*) FROM batch) < $3 WHERE id = $1
)
UPDATE portfolios p SET revision = p.revision + 1 FROM concerned c WHERE p.id = c.id RETURNING p.id
"""
_BEHIND = """
SELECT id, document FROM operator_policies WHERE NOT in_line ORDER BY ordinal LIMIT 1
FOR NO KEY UPDATE SKIP LOCKED
"""

_HOLD_OFF_WRITERS = "LOCK TABLE operator_policies IN SHARE MODE"
_BINDING = """
SELECT id, ordinal, version, document FROM operator_policies
WHERE deleted_at IS NULL AND (binds_all OR binds_tenant = $1)
"""
_BIND = """
INSERT INTO policies (id, tenant_id, portfolio_id, ordinal, version, kind, enabled, instruments, document,
    operator_policy_id)
VALUES (md5($1::uuid::text || $3::uuid::text)::uuid, $2, $3, $4, $5, $6, $7, $8, $9, $1)
"""


class OperatorPolicyRows:
    """`touched` collects whose revision moved, to be hinted after the commit."""

    def __init__(self, raw: Any, *, touched: set[UUID]) -> None:
        self._raw = raw
        self._touched = touched

    async def get(self, operator_policy_id: OperatorPolicyId) -> OperatorPolicyRecord:
        row = await self._raw.fetchrow(f"{_READ} AND o.id = $1", operator_policy_id)
        if row is None:
            raise NotFound("operator policy", operator_policy_id)
        return _record(row)

    async def lock(self, operator_policy_id: OperatorPolicyId) -> OperatorPolicyRecord:
        await self._raw.execute(_LOCK, operator_policy_id)
        return await self.get(operator_policy_id)

    async def page(self, *, after: int, limit: int) -> list[OperatorPolicyRecord]:
        rows = await self._raw.fetch(f"{_READ} AND o.ordinal > $1 ORDER BY o.ordinal LIMIT $2", after, limit)
        return [_record(row) for row in rows]

    async def write(self, record: OperatorPolicyRecord) -> None:
        binding, document = record.binding, record.policy.model_dump(mode="json")
        await self._raw.execute(
            _WRITE, record.id, record.version, to_json(document), binding.all, binding.tenant_id
        )

    async def delete(self, operator_policy_id: OperatorPolicyId) -> None:
        await self._raw.execute(_DELETE, operator_policy_id)

    async def behind(self) -> tuple[OperatorPolicyId, AnyPolicy] | None:
        row = await self._raw.fetchrow(_BEHIND)
        return None if row is None else (row["id"], POLICY.validate_json(row["document"]))

    async def bring_in_line(
        self,
        operator_policy_id: OperatorPolicyId,
        policy: AnyPolicy,
        named: Sequence[PortfolioId] = (),
        *,
        limit: int,
    ) -> list[PortfolioId]:
        rows = await self._raw.fetch(
            _BRING_IN_LINE,
            operator_policy_id,
            list(named),
            limit,
            policy.kind,
            policy.enabled,
            list(policy.instruments),
        )
        self._touched |= {row["id"] for row in rows}
        return [row["id"] for row in rows]

    async def bind_new(self, portfolio: Portfolio) -> None:
        await self._raw.execute(_HOLD_OFF_WRITERS)
        rows = await self._raw.fetch(_BINDING, portfolio.tenant_id)
        copies = ((row, POLICY.validate_json(row["document"])) for row in rows)
        await self._raw.executemany(
            _BIND,
            [
                (
                    row["id"],
                    portfolio.tenant_id,
                    portfolio.id,
                    row["ordinal"],
                    row["version"],
                    policy.kind,
                    policy.enabled,
                    list(policy.instruments),
                    row["document"],
                )
                for row, policy in copies
            ],
        )

    async def portfolios(self, ids: Sequence[PortfolioId]) -> list[Portfolio]:
        return await load_portfolios(self._raw, ids)

    async def tenant_named(self, name: str) -> TenantId | None:
        tenant_id: TenantId | None = await self._raw.fetchval("SELECT id FROM tenants WHERE name = $1", name)
        return tenant_id


def _record(row: Any) -> OperatorPolicyRecord:
    return OperatorPolicyRecord(
        id=row["id"],
        ordinal=row["ordinal"],
        version=row["version"],
        policy=POLICY.validate_json(row["document"]),
        binding=Binding(
            all=row["binds_all"],
            tenant_id=row["binds_tenant"],
            tenant=row["tenant"],
            portfolios=tuple(row["portfolios"]),
        ),
        bound=row["bound"],
        in_line=row["in_line"],
    )
