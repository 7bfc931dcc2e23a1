"""The log of events, which is the outbox too."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, UUID

from app.adapters.postgres.tables.schema import created, metadata

events = Table(
    "events",
    metadata,
    Column(
        "portfolio_id",
        UUID(as_uuid=True),
        primary_key=True,
        comment="whose log: what belongs to no portfolio has its tenant's id",
    ),
    Column("sequence", BigInteger, primary_key=True),
    Column("tenant_id", UUID(as_uuid=True), nullable=False),
    Column("type", Text, nullable=False),
    Column("version", SmallInteger, nullable=False),
    Column("time_ns", BigInteger, nullable=False),
    Column("data", JSONB, nullable=False),
    Column(
        "dispatched",
        Boolean,
        nullable=False,
        server_default="false",
        comment="webhook deliveries were created and the stream has it",
    ),
    Column(
        "transaction_id",
        BigInteger,
        nullable=False,
        server_default=text("pg_current_xact_id()::text::bigint"),
    ),
    created(),
    Index("ix_events_undispatched", "created_at", postgresql_where=text("NOT dispatched")),
    Index(None, "tenant_id", "created_at"),
    Index(None, "tenant_id", "transaction_id"),
)
