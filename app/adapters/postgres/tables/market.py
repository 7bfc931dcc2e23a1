"""What is traded, the one sequence of frames of a market, and who works on which part of it."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import JSONB

from app.adapters.postgres.tables.schema import created, metadata

instruments = Table(
    "instruments",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("underlying", Text, nullable=False),
    Column("terms", JSONB, nullable=False, comment="domain.instruments.Instrument, as JSON"),
    created(),
    Index(None, "underlying"),
)

markets = Table(
    "markets",
    metadata,
    Column("name", Text, primary_key=True),
    Column("generation", BigInteger, nullable=False, server_default="0"),
    Column("generation_reason", Text, nullable=False, server_default=""),
    Column("clock", Text, nullable=False, comment="live or replay"),
    Column("shards", Integer, nullable=False),
    Column("oracle_owner", Text),
    Column("oracle_epoch", BigInteger, nullable=False, server_default="0"),
    Column("oracle_lease_until", DateTime(timezone=True)),
    CheckConstraint("clock IN ('live', 'replay')", name="clock_known"),
    CheckConstraint("shards BETWEEN 1 AND 1024", name="shards_in_range"),
)

shards = Table(
    "shards",
    metadata,
    Column("shard", Integer, primary_key=True),
    Column("owner", Text),
    Column("epoch", BigInteger, nullable=False, server_default="0"),
    Column("lease_until", DateTime(timezone=True)),
    Column("generation", BigInteger, nullable=False, server_default="0"),
    Column("sequence", BigInteger, nullable=False, server_default="0"),
    Column("time_ns", BigInteger, nullable=False, server_default="0"),
    Column("snapshot_sequence", BigInteger, nullable=False, server_default="0"),
    Column("snapshot", LargeBinary, comment="market view at snapshot_sequence, packed"),
)

workers = Table(
    "workers",
    metadata,
    Column("name", Text, primary_key=True),
    Column("role", Text, nullable=False),
    Column("alive_until", DateTime(timezone=True), nullable=False),
)
