"""Where events are delivered to, and what became of each."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, UUID

from app.adapters.postgres.tables.schema import created, metadata

webhook_endpoints = Table(
    "webhook_endpoints",
    metadata,
    Column("id", UUID(as_uuid=True), primary_key=True),
    Column("tenant_id", ForeignKey("tenants.id", ondelete="CASCADE"), nullable=False),
    Column("url", Text, nullable=False),
    Column("description", Text, nullable=False, server_default=""),
    Column("secret", LargeBinary, nullable=False, comment="the raw bytes behind whsec_"),
    Column("event_types", ARRAY(Text), nullable=False, comment="empty: all"),
    Column("enabled", Boolean, nullable=False, server_default="true"),
    Column("deleted_at", DateTime(timezone=True)),
    created(),
    Column("version", Integer, nullable=False, server_default="1"),
    Column(
        "portfolios",
        ARRAY(UUID(as_uuid=True)),
        nullable=False,
        server_default=text("'{}'::uuid[]"),
        comment="empty: all",
    ),
    Column("rate_limit", Integer, comment="attempts a second; null: none"),
    Column("ordered", Boolean, nullable=False, server_default="false"),
    Column("old_secrets", ARRAY(LargeBinary), nullable=False, server_default=text("'{}'::bytea[]")),
    Column(
        "old_secrets_until",
        ARRAY(DateTime(timezone=True)),
        nullable=False,
        server_default=text("'{}'::timestamptz[]"),
        comment="how long each of old_secrets signs too",
    ),
    Column(
        "disabled_reason",
        Text,
        nullable=False,
        server_default="",
        comment="why the service switched it off; empty: it did not",
    ),
    Column("operator_told", Boolean, nullable=False, server_default="true"),
    CheckConstraint("rate_limit BETWEEN 1 AND 1000", name="rate_in_range"),
    Index(None, "tenant_id", "created_at"),
)

webhook_queues = Table(
    "webhook_queues",
    metadata,
    Column("endpoint_id", ForeignKey("webhook_endpoints.id", ondelete="CASCADE"), primary_key=True),
    Column(
        "due_at",
        DateTime(timezone=True),
        nullable=False,
        server_default=func.now(),
        comment="when a courier looks at it next",
    ),
    Column(
        "paused_until",
        DateTime(timezone=True),
        nullable=False,
        server_default="-infinity",
        comment="what arrives does not wake it before",
    ),
    Column("failures", Integer, nullable=False, server_default="0", comment="in a row"),
    Column("failing_since", DateTime(timezone=True)),
    Column(
        "rate_spent_until",
        DateTime(timezone=True),
        nullable=False,
        server_default="-infinity",
        comment="the time that what was sent takes at the endpoint's rate",
    ),
    Index("ix_webhook_queues_working", "due_at", postgresql_where=text("failures = 0")),
    Index("ix_webhook_queues_failing", "due_at", postgresql_where=text("failures > 0")),
)

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=True),
    Column("endpoint_id", ForeignKey("webhook_endpoints.id", ondelete="CASCADE"), nullable=False),
    Column("portfolio_id", UUID(as_uuid=True)),
    Column("sequence", BigInteger),
    Column("state", Text, nullable=False, server_default="pending"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("next_attempt_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("claimed_until", DateTime(timezone=True)),
    Column("last_status", Integer),
    Column("last_error", Text, nullable=False, server_default=""),
    Column("delivered_at", DateTime(timezone=True)),
    created(),
    Column(
        "retries",
        Integer,
        nullable=False,
        server_default="0",
        comment="failures since it was created or sent again on request",
    ),
    Column("test_event", LargeBinary, comment="what to send, where no event is"),
    CheckConstraint("state IN ('pending', 'delivered', 'failed')", name="state_known"),
    CheckConstraint("(portfolio_id IS NULL) = (test_event IS NOT NULL)", name="of_an_event"),
    UniqueConstraint("portfolio_id", "sequence", "endpoint_id"),
    ForeignKeyConstraint(
        ["portfolio_id", "sequence"], ["events.portfolio_id", "events.sequence"], ondelete="CASCADE"
    ),
    Index(None, "endpoint_id", "id"),
    Index(
        "ix_webhook_deliveries_due",
        "endpoint_id",
        "next_attempt_at",
        postgresql_where=text("state = 'pending'"),
    ),
    Index(
        "ix_webhook_deliveries_in_order",
        "endpoint_id",
        text("portfolio_id DESC"),  # so that nobody takes the unique index for it
        "sequence",
        postgresql_where=text("state = 'pending'"),
    ),
    postgresql_with={"fillfactor": 60},  # claims are written in place
)

webhook_attempts = Table(
    "webhook_attempts",
    metadata,
    Column("delivery_id", ForeignKey("webhook_deliveries.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("endpoint_id", UUID(as_uuid=True), nullable=False),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("status", Integer, comment="null: no answer came"),
    Column("latency_ms", Integer, nullable=False),
    Column(
        "response",
        Text,
        nullable=False,
        server_default="",
        comment="how the answer began, or why none came",
    ),
    Index(None, "endpoint_id", "at"),
)
