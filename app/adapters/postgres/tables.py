"""The schema, as SQLAlchemy Core tables. PostgreSQL is the truth; Redis only carries messages.

Tenant first in every index that a tenant's query uses; every foreign key is indexed; money is NUMERIC.
Times that decide anything are `*_ns` (market clock, int64 nanoseconds); `timestamptz` columns are wall
clock, for people and for leases.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    DateTime,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID

from app.domain.adjustments import AdjustmentState, Outcome
from app.domain.portfolios import MarginMode, PortfolioState

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

MONEY = Numeric(38, 18)


def _one_of(column: str, values: type) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)  # type: ignore[attr-defined]  # a StrEnum class iterates
    return CheckConstraint(f"{column} IN ({listed})", name=f"{column}_known")


def _created() -> Column[object]:
    return Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now())


tenants = Table(
    "tenants",
    metadata,
    Column("id", UUID(as_uuid=True), primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("event_sequence", BigInteger, nullable=False, server_default="0"),
    _created(),
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
    _created(),
    Index(None, "tenant_id", "created_at"),
)

instruments = Table(
    "instruments",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("underlying", Text, nullable=False),
    Column("terms", JSONB, nullable=False, comment="domain.instruments.Instrument, as JSON"),
    _created(),
    Index(None, "underlying"),
)

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
    _created(),
    CheckConstraint("weight BETWEEN 0.001 AND 1000", name="weight_in_range"),
    CheckConstraint("octet_length(public_key) = 32", name="public_key_whole"),
)

consensus_terms = Table(
    "consensus_terms",
    metadata,
    Column("instrument", Text, primary_key=True, comment="or an index, a chain or a depth"),
    Column("terms", JSONB, nullable=False, comment="quorum and ladder of oracle.declared, as JSON"),
    _created(),
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
    _created(),
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
    _created(),
    _one_of("state", PortfolioState),
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
    _one_of("margin_mode", MarginMode),
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
    _created(),
    CheckConstraint("NOT binds_all OR binds_tenant IS NULL", name="binds_one_way"),
    Index(None, "binds_tenant"),
)

operator_policy_versions = Table(
    "operator_policy_versions",
    metadata,
    Column("operator_policy_id", ForeignKey("operator_policies.id", ondelete="CASCADE"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("document", JSONB, nullable=False),
    _created(),
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
    _created(),
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
    _created(),
)

policy_memory = Table(
    "policy_memory",
    metadata,
    Column("policy_id", UUID(as_uuid=True), primary_key=True, comment="outlives edits, not the policy"),
    Column("portfolio_id", ForeignKey("portfolios.id", ondelete="CASCADE"), nullable=False),
    Column("memory", LargeBinary, nullable=False, comment="engine.memory.PolicyMemory, packed"),
    Index(None, "portfolio_id"),
)

# What is written with every decision and fill copies the tenant of its portfolio, which vouches for it.
# With a foreign key to the tenant's one row, every commit would lock that row.
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
    _created(),
    _one_of("state", AdjustmentState),
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
    _created(),
    _one_of("outcome", Outcome),
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
    _created(),
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
    _created(),
    Index("ix_events_undispatched", "created_at", postgresql_where=text("NOT dispatched")),
    Index(None, "tenant_id", "created_at"),
    Index(None, "tenant_id", "transaction_id"),
)

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
    _created(),
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
    _created(),
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

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("tenant_id", ForeignKey("tenants.id", ondelete="CASCADE"), primary_key=True),
    Column("key", Text, primary_key=True),
    Column("fingerprint", LargeBinary, nullable=False, comment="SHA-256 of method, path and body"),
    Column("status", Integer, nullable=False),
    Column("response", LargeBinary, nullable=False),
    Column("headers", JSONB, nullable=False),
    _created(),
)
