"""Who uses the service, by which keys, and what was answered to requests that may come twice."""

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID

from app.adapters.postgres.tables.schema import created, metadata

tenants = Table(
    "tenants",
    metadata,
    Column("id", UUID(as_uuid=True), primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("event_sequence", BigInteger, nullable=False, server_default="0"),
    created(),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", UUID(as_uuid=True), primary_key=True),
    Column("tenant_id", ForeignKey("tenants.id", ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),
    Column("hash", LargeBinary, nullable=False, unique=True, comment="SHA-256 of the whole key"),
    Column("prefix", String(16), nullable=False, comment="shown to people, never enough to use"),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("revoked_at", DateTime(timezone=True)),
    created(),
    Index(None, "tenant_id", "created_at"),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("tenant_id", ForeignKey("tenants.id", ondelete="CASCADE"), primary_key=True),
    Column("key", Text, primary_key=True),
    Column("fingerprint", LargeBinary, nullable=False, comment="SHA-256 of method, path and body"),
    Column("status", Integer, nullable=False),
    Column("response", LargeBinary, nullable=False),
    Column("headers", JSONB, nullable=False),
    created(),
)
