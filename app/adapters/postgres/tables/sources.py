"""Whose word the oracle takes, and on which terms."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    Integer,
    LargeBinary,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import JSONB

from app.adapters.postgres.tables.schema import created, metadata

# What a source may say, and what its word counts; a name that is not here is one that nobody declared.
sources = Table(
    "sources",
    metadata,
    Column("id", Text, primary_key=True, comment="* stands for those that are not named"),
    Column("weight", Double, nullable=False),
    Column("kind", Text, comment="the only one it speaks of; null: any"),
    Column("base", Text),
    Column("quote", Text, comment="currency of its prices; null: the instrument's"),
    Column("maximum_age_ns", BigInteger),
    Column("heartbeat_ns", BigInteger, nullable=False, server_default="0"),
    Column("public_key", LargeBinary, comment="Ed25519; null: it does not sign"),
    Column("publisher", Text, comment="name of the tenant that may speak for it over HTTP; null: none"),
    Column("enabled", Boolean, nullable=False),
    created(),
    CheckConstraint("weight BETWEEN 0.001 AND 1000", name="weight_in_range"),
    CheckConstraint("octet_length(public_key) = 32", name="public_key_whole"),
)

consensus_terms = Table(
    "consensus_terms",
    metadata,
    Column("instrument", Text, primary_key=True, comment="or an index, a chain or a depth"),
    Column("terms", JSONB, nullable=False, comment="quorum and ladder of oracle.declared, as JSON"),
    created(),
)

# Of kinds that have other terms than the usual ones; columns, because JSON has no infinity.
kind_terms = Table(
    "kind_terms",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("tolerance", Double, nullable=False, comment="share of the consensus"),
    Column("least_sources", Integer, nullable=False),
    Column("least_weight", Double, nullable=False),
    Column("volatile_ratio", Double, nullable=False),
    Column("uncertain_fraction", Double, nullable=False, comment="infinity: none is too uncertain"),
    Column("dispersed_fraction", Double, nullable=False),
    Column("diverging_fraction", Double, nullable=False),
    Column("stale_for_margin_ns", BigInteger, nullable=False),
    Column("stale_for_trading_ns", BigInteger, nullable=False),
    created(),
)
