"""Portfolios and what they hold: accounts, positions, balances and reserves."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    Numeric,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import UUID

from app.adapters.postgres.tables.schema import MONEY, created, metadata, one_of
from app.domain.portfolios import MarginMode, PortfolioState

portfolios = Table(
    "portfolios",
    metadata,
    Column("id", UUID(as_uuid=True), primary_key=True),
    Column("tenant_id", ForeignKey("tenants.id", ondelete="CASCADE"), nullable=False),
    Column("shard", Integer, ForeignKey("shards.shard"), nullable=False),
    Column("name", Text, nullable=False),
    Column("valuation_currency", Text, nullable=False),
    Column("state", Text, nullable=False, server_default=PortfolioState.ACTIVE.value),
    Column("revision", BigInteger, nullable=False, server_default="1"),
    Column("evaluated_revision", BigInteger, nullable=False, server_default="0"),
    Column(
        "unevaluated", Boolean, Computed("revision <> evaluated_revision", persisted=True), nullable=False
    ),
    Column("event_sequence", BigInteger, nullable=False, server_default="0"),
    Column("deleted_at", DateTime(timezone=True)),
    created(),
    one_of("state", PortfolioState),
    Index(
        "uq_portfolios_tenant_id_name",
        "tenant_id",
        "name",
        unique=True,
        postgresql_where=text("deleted_at IS NULL"),
    ),
    Index("ix_portfolios_unevaluated", "shard", postgresql_where=text("unevaluated")),
    Index(None, "shard"),
    Index(None, "tenant_id", "created_at", "id"),
)

accounts = Table(
    "accounts",
    metadata,
    Column("id", UUID(as_uuid=True), primary_key=True),
    Column("portfolio_id", ForeignKey("portfolios.id", ondelete="CASCADE"), nullable=False),
    Column("ordinal", Integer, nullable=False, comment="stored order: sums follow it"),
    Column("name", Text, nullable=False),
    Column("venue", Text, nullable=False),
    Column("margin_mode", Text, nullable=False),
    Column(
        "positions_as_of_ns",
        BigInteger,
        nullable=False,
        server_default="0",
        comment="market time of the last snapshot; 0 without one",
    ),
    one_of("margin_mode", MarginMode),
    UniqueConstraint("portfolio_id", "name"),
)

positions = Table(
    "positions",
    metadata,
    Column("account_id", ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True),
    Column("instrument_id", ForeignKey("instruments.id"), primary_key=True),
    Column("ordinal", Integer, nullable=False),
    Column("quantity", MONEY, nullable=False),
    Column("entry_price", MONEY, nullable=False),
    Column(
        "accrued_ns",
        BigInteger,
        nullable=False,
        server_default="0",
        comment="market time up to which its funding was paid; 0: not known",
    ),
    Index(None, "instrument_id"),
)

balances = Table(
    "balances",
    metadata,
    Column("account_id", ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True),
    Column("asset", Text, primary_key=True),
    Column("ordinal", Integer, nullable=False),
    Column("amount", MONEY, nullable=False),
    Column("haircut", Numeric(9, 8), nullable=False, server_default="0"),
    CheckConstraint("haircut BETWEEN 0 AND 1", name="haircut_is_fraction"),
)

reserves = Table(
    "reserves",
    metadata,
    Column("portfolio_id", ForeignKey("portfolios.id", ondelete="CASCADE"), primary_key=True),
    Column("asset", Text, primary_key=True),
    Column("ordinal", Integer, nullable=False),
    Column("amount", MONEY, nullable=False),
    Column("keep", MONEY, nullable=False, server_default="0"),
    CheckConstraint("amount >= 0 AND keep >= 0", name="not_negative"),
)
