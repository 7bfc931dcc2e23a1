"""Policies, their earlier versions, and what is remembered of them between frames."""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID

from app.adapters.postgres.tables.schema import created, metadata

operator_policies = Table(
    "operator_policies",
    metadata,
    Column("id", UUID(as_uuid=True), primary_key=True),
    Column("ordinal", Integer, Identity(always=True), nullable=False, unique=True),
    Column("version", Integer, nullable=False),
    Column("document", JSONB, nullable=False, comment="domain.policies.Policy, as JSON"),
    Column("binds_all", Boolean, nullable=False, comment="every portfolio, those to come too"),
    Column(
        "binds_tenant",
        ForeignKey("tenants.id", ondelete="CASCADE"),
        comment="the same, of one tenant; neither: the portfolios whose policies it is among",
    ),
    Column("in_line", Boolean, nullable=False, comment="every portfolio has this version, or is released"),
    Column("deleted_at", DateTime(timezone=True)),
    created(),
    CheckConstraint("NOT binds_all OR binds_tenant IS NULL", name="binds_one_way"),
    Index(None, "binds_tenant"),
)

operator_policy_versions = Table(
    "operator_policy_versions",
    metadata,
    Column("operator_policy_id", ForeignKey("operator_policies.id", ondelete="CASCADE"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("document", JSONB, nullable=False),
    created(),
)

policies = Table(
    "policies",
    metadata,
    Column("id", UUID(as_uuid=True), primary_key=True),
    Column("tenant_id", ForeignKey("tenants.id", ondelete="CASCADE"), nullable=False),
    Column("portfolio_id", ForeignKey("portfolios.id", ondelete="CASCADE"), nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("version", Integer, nullable=False, server_default="1"),
    Column("kind", Text, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("instruments", ARRAY(Text), nullable=False, server_default="{}", comment="what it names"),
    Column("document", JSONB, nullable=False, comment="domain.policies.Policy, as JSON"),
    Column(
        "document_digest",
        LargeBinary,
        Computed("sha256(jsonb_send(document))", persisted=True),
        nullable=False,
        comment="SHA-256",
    ),
    Column(
        "operator_policy_id",
        ForeignKey("operator_policies.id", ondelete="CASCADE"),
        comment="whose copy for this portfolio it is; the trader's own without one",
    ),
    Column("deleted_at", DateTime(timezone=True)),
    created(),
    Index(None, "tenant_id", "created_at", "id"),
    Index(None, "portfolio_id"),
    UniqueConstraint("operator_policy_id", "portfolio_id"),
)

policy_versions = Table(
    "policy_versions",
    metadata,
    Column("policy_id", ForeignKey("policies.id", ondelete="CASCADE"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("document", JSONB, nullable=False),
    created(),
)

policy_memory = Table(
    "policy_memory",
    metadata,
    Column("policy_id", UUID(as_uuid=True), primary_key=True, comment="outlives edits, not the policy"),
    Column("portfolio_id", ForeignKey("portfolios.id", ondelete="CASCADE"), nullable=False),
    Column("memory", LargeBinary, nullable=False, comment="engine.memory.PolicyMemory, packed"),
    Index(None, "portfolio_id"),
)
