"""What was decided, what is to be changed, and what was filled of it.

Each row copies the tenant of its portfolio, which vouches for it: with a foreign key to the tenant's one row,
every commit would lock that row.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID

from app.adapters.postgres.tables.schema import MONEY, created, metadata, one_of
from app.domain.adjustments import AdjustmentState, Outcome

adjustments = Table(
    "adjustments",
    metadata,
    Column("id", UUID(as_uuid=True), primary_key=True),
    Column("tenant_id", UUID(as_uuid=True), nullable=False),
    Column("portfolio_id", ForeignKey("portfolios.id", ondelete="CASCADE"), nullable=False),
    Column("policy_id", UUID(as_uuid=True), nullable=False),
    Column("policy_version", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("priority", SmallInteger, nullable=False),
    Column("risk_reducing", Boolean, nullable=False),
    Column("legs", JSONB, nullable=False, comment="what was planned; never changed"),
    Column("remaining", JSONB, nullable=False, comment="unfilled legs"),
    Column("expected_cost", MONEY, nullable=False),
    Column("metrics_before", JSONB, nullable=False),
    Column("metrics_after", JSONB, nullable=False),
    Column("reaches_target", Boolean, nullable=False),
    Column(
        "policies", ARRAY(UUID(as_uuid=True)), nullable=False, server_default="{}", comment="all it serves"
    ),
    Column("misses", JSONB, nullable=False, server_default="[]"),
    Column("generation", BigInteger, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("decided_at_ns", BigInteger, nullable=False),
    Column("expires_at_ns", BigInteger, nullable=False),
    Column("fill_time_ns", BigInteger, comment="market time of the frame it fills on"),
    Column("claimed_by", Text),
    Column("claimed_until", DateTime(timezone=True)),
    Column("outcome", Text, nullable=False, server_default="", comment="why it ended, in words"),
    created(),
    one_of("state", AdjustmentState),
    Index(None, "tenant_id", "created_at", "id"),
    Index(
        "ix_adjustments_open",
        "portfolio_id",
        postgresql_where=text("state IN ('recommended', 'approved', 'queued', 'executing')"),
    ),
    Index(
        "ix_adjustments_queue",
        text("risk_reducing DESC"),
        "priority",
        "decided_at_ns",
        "id",
        postgresql_where=text("state IN ('queued', 'executing')"),
    ),
    Index(None, "portfolio_id", "created_at"),
)

decisions = Table(
    "decisions",
    metadata,
    Column("id", UUID(as_uuid=True), primary_key=True),
    Column("tenant_id", UUID(as_uuid=True), nullable=False),
    Column("portfolio_id", ForeignKey("portfolios.id", ondelete="CASCADE"), nullable=False),
    Column("policy_id", UUID(as_uuid=True), nullable=False),
    Column("policy_version", Integer, nullable=False),
    Column("portfolio_revision", BigInteger, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("time_ns", BigInteger, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("conditions", JSONB, nullable=False),
    Column("inputs", JSONB, nullable=False),
    Column("repeats_before", BigInteger, nullable=False),
    Column("adjustment_id", UUID(as_uuid=True)),
    created(),
    one_of("outcome", Outcome),
    Index(None, "tenant_id", "policy_id", "generation", "sequence"),
    Index(None, "portfolio_id"),
)

fills = Table(
    "fills",
    metadata,
    Column("id", UUID(as_uuid=True), primary_key=True),
    Column("tenant_id", UUID(as_uuid=True), nullable=False),
    Column("portfolio_id", ForeignKey("portfolios.id", ondelete="CASCADE"), nullable=False),
    Column(
        "account_id", ForeignKey("accounts.id", ondelete="CASCADE"), comment="null: a transfer to the reserve"
    ),
    Column(
        "source_account_id",
        ForeignKey("accounts.id", ondelete="CASCADE"),
        comment="where a transfer came from; null: the reserve",
    ),
    Column("adjustment_id", ForeignKey("adjustments.id", ondelete="CASCADE")),
    Column("leg", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("instrument_id", ForeignKey("instruments.id")),
    Column("asset", Text, nullable=False),
    Column("quantity", MONEY, nullable=False),
    Column("price", MONEY, nullable=False),
    Column("fee", MONEY, nullable=False),
    Column("time_ns", BigInteger, nullable=False),
    created(),
    Index(None, "tenant_id", "created_at", "id"),
    Index(None, "portfolio_id", "time_ns"),
    CheckConstraint(
        "account_id IS NOT NULL OR (kind = 'transfer' AND source_account_id IS NOT NULL)",
        name="of_an_account",
    ),
    Index(None, "account_id"),
    Index(None, "source_account_id"),
    Index(None, "adjustment_id"),
    Index(None, "instrument_id"),
)
