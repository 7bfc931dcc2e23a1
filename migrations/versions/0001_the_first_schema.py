"""the first schema."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "instruments",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("underlying", sa.Text(), nullable=False),
        sa.Column(
            "terms",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="domain.instruments.Instrument, as JSON",
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_instruments")),
    )
    op.create_index(op.f("ix_instruments_underlying"), "instruments", ["underlying"])
    op.create_table(
        "markets",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("generation", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("generation_reason", sa.Text(), server_default="", nullable=False),
        sa.Column("clock", sa.Text(), nullable=False, comment="live or replay"),
        sa.Column("shards", sa.Integer(), nullable=False),
        sa.Column("oracle_owner", sa.Text(), nullable=True),
        sa.Column("oracle_epoch", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("oracle_lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("clock IN ('live', 'replay')", name=op.f("ck_markets_clock_known")),
        sa.CheckConstraint("shards BETWEEN 1 AND 1024", name=op.f("ck_markets_shards_in_range")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_markets")),
    )
    op.create_table(
        "shards",
        sa.Column("shard", sa.Integer(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("epoch", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("generation", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("sequence", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("time_ns", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("snapshot_sequence", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column(
            "snapshot", sa.LargeBinary(), nullable=True, comment="market view at snapshot_sequence, packed"
        ),
        sa.PrimaryKeyConstraint("shard", name=op.f("pk_shards")),
    )
    op.create_table(
        "tenants",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tenants")),
        sa.UniqueConstraint("name", name=op.f("uq_tenants_name")),
    )
    op.create_table(
        "workers",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("alive_until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_workers")),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False, comment="SHA-256 of the whole key"),
        sa.Column(
            "prefix", sa.String(length=16), nullable=False, comment="shown to people, never enough to use"
        ),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_api_keys_tenant_id_tenants"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("hash", name=op.f("uq_api_keys_hash")),
    )
    op.create_index(op.f("ix_api_keys_tenant_id_created_at"), "api_keys", ["tenant_id", "created_at"])
    op.create_table(
        "idempotency_keys",
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column(
            "fingerprint", sa.LargeBinary(), nullable=False, comment="SHA-256 of method, path and body"
        ),
        sa.Column("status", sa.Integer(), nullable=True, comment="absent while in flight"),
        sa.Column("response", sa.LargeBinary(), nullable=True),
        sa.Column("headers", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenants.id"],
            name=op.f("fk_idempotency_keys_tenant_id_tenants"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant_id", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_table(
        "portfolios",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("shard", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("valuation_currency", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="active", nullable=False),
        sa.Column("revision", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("evaluated_revision", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column(
            "unevaluated",
            sa.Boolean(),
            sa.Computed("revision <> evaluated_revision", persisted=True),
            nullable=False,
        ),
        sa.Column("event_sequence", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "state IN ('active', 'reduce_only', 'halted')", name=op.f("ck_portfolios_state_known")
        ),
        sa.ForeignKeyConstraint(["shard"], ["shards.shard"], name=op.f("fk_portfolios_shard_shards")),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_portfolios_tenant_id_tenants"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_portfolios")),
    )
    op.create_index(op.f("ix_portfolios_shard"), "portfolios", ["shard"])
    op.create_index(
        op.f("ix_portfolios_tenant_id_created_at_id"), "portfolios", ["tenant_id", "created_at", "id"]
    )
    op.create_index(
        "ix_portfolios_unevaluated", "portfolios", ["shard"], postgresql_where=sa.text("unevaluated")
    )
    op.create_index(
        "uq_portfolios_tenant_id_name",
        "portfolios",
        ["tenant_id", "name"],
        unique=True,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_table(
        "webhook_endpoints",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False, comment="the raw bytes behind whsec_"),
        sa.Column("event_types", postgresql.ARRAY(sa.Text()), nullable=False, comment="empty: all"),
        sa.Column("enabled", sa.Boolean(), server_default="true", nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenants.id"],
            name=op.f("fk_webhook_endpoints_tenant_id_tenants"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_endpoints")),
    )
    op.create_index(
        op.f("ix_webhook_endpoints_tenant_id_created_at"), "webhook_endpoints", ["tenant_id", "created_at"]
    )
    op.create_table(
        "accounts",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("portfolio_id", sa.UUID(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False, comment="stored order: sums follow it"),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("venue", sa.Text(), nullable=False),
        sa.Column("margin_mode", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "margin_mode IN ('isolated', 'cross', 'portfolio', 'lending')",
            name=op.f("ck_accounts_margin_mode_known"),
        ),
        sa.ForeignKeyConstraint(
            ["portfolio_id"],
            ["portfolios.id"],
            name=op.f("fk_accounts_portfolio_id_portfolios"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accounts")),
        sa.UniqueConstraint("portfolio_id", "name", name=op.f("uq_accounts_portfolio_id_name")),
    )
    op.create_table(
        "adjustments",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("portfolio_id", sa.UUID(), nullable=False),
        sa.Column("policy_id", sa.UUID(), nullable=False),
        sa.Column("policy_version", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("risk_reducing", sa.Boolean(), nullable=False),
        sa.Column(
            "legs",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="what was planned; never changed",
        ),
        sa.Column(
            "remaining", postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment="unfilled legs"
        ),
        sa.Column("expected_cost", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("metrics_before", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("metrics_after", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("reaches_target", sa.Boolean(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("decided_at_ns", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_ns", sa.BigInteger(), nullable=False),
        sa.Column(
            "fill_time_ns", sa.BigInteger(), nullable=True, comment="market time of the frame it fills on"
        ),
        sa.Column("claimed_by", sa.Text(), nullable=True),
        sa.Column("claimed_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.Text(), server_default="", nullable=False, comment="why it ended, in words"),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "state IN ('recommended', 'approved', 'queued', 'executing', 'executed', 'partially_executed', 'failed', 'rejected', 'expired', 'superseded')",
            name=op.f("ck_adjustments_state_known"),
        ),
        sa.ForeignKeyConstraint(
            ["portfolio_id"],
            ["portfolios.id"],
            name=op.f("fk_adjustments_portfolio_id_portfolios"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_adjustments_tenant_id_tenants"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_adjustments")),
    )
    op.create_index(
        "ix_adjustments_open",
        "adjustments",
        ["portfolio_id"],
        postgresql_where=sa.text("state IN ('recommended', 'approved', 'queued', 'executing')"),
    )
    op.create_index(
        op.f("ix_adjustments_portfolio_id_created_at"), "adjustments", ["portfolio_id", "created_at"]
    )
    op.create_index(
        "ix_adjustments_queue",
        "adjustments",
        [sa.literal_column("risk_reducing DESC"), "priority", "decided_at_ns", "id"],
        postgresql_where=sa.text("state IN ('queued', 'executing')"),
    )
    op.create_index(
        op.f("ix_adjustments_tenant_id_created_at_id"), "adjustments", ["tenant_id", "created_at", "id"]
    )
    op.create_table(
        "decisions",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("portfolio_id", sa.UUID(), nullable=False),
        sa.Column("policy_id", sa.UUID(), nullable=False),
        sa.Column("policy_version", sa.Integer(), nullable=False),
        sa.Column("portfolio_revision", sa.BigInteger(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("time_ns", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("conditions", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("inputs", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("repeats_before", sa.BigInteger(), nullable=False),
        sa.Column("adjustment_id", sa.UUID(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("outcome IN ('acted', 'suppressed')", name=op.f("ck_decisions_outcome_known")),
        sa.ForeignKeyConstraint(
            ["portfolio_id"],
            ["portfolios.id"],
            name=op.f("fk_decisions_portfolio_id_portfolios"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_decisions_tenant_id_tenants"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decisions")),
    )
    op.create_index(op.f("ix_decisions_portfolio_id"), "decisions", ["portfolio_id"])
    op.create_index(
        op.f("ix_decisions_tenant_id_policy_id_generation_sequence"),
        "decisions",
        ["tenant_id", "policy_id", "generation", "sequence"],
    )
    op.create_table(
        "events",
        sa.Column("portfolio_id", sa.UUID(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("version", sa.SmallInteger(), nullable=False),
        sa.Column("time_ns", sa.BigInteger(), nullable=False),
        sa.Column("data", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column(
            "dispatched",
            sa.Boolean(),
            server_default="false",
            nullable=False,
            comment="webhook deliveries were created and the stream has it",
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["portfolio_id"],
            ["portfolios.id"],
            name=op.f("fk_events_portfolio_id_portfolios"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_events_tenant_id_tenants"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("portfolio_id", "sequence", name=op.f("pk_events")),
    )
    op.create_index(op.f("ix_events_tenant_id_created_at"), "events", ["tenant_id", "created_at"])
    op.create_index(
        "ix_events_undispatched", "events", ["created_at"], postgresql_where=sa.text("NOT dispatched")
    )
    op.create_table(
        "policies",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("portfolio_id", sa.UUID(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column(
            "document",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="domain.policies.Policy, as JSON",
        ),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["portfolio_id"],
            ["portfolios.id"],
            name=op.f("fk_policies_portfolio_id_portfolios"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_policies_tenant_id_tenants"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_policies")),
    )
    op.create_index(op.f("ix_policies_portfolio_id"), "policies", ["portfolio_id"])
    op.create_index(
        op.f("ix_policies_tenant_id_created_at_id"), "policies", ["tenant_id", "created_at", "id"]
    )
    op.create_table(
        "policy_memory",
        sa.Column("policy_id", sa.UUID(), nullable=False, comment="outlives edits, not the policy"),
        sa.Column("portfolio_id", sa.UUID(), nullable=False),
        sa.Column("memory", sa.LargeBinary(), nullable=False, comment="engine.memory.PolicyMemory, packed"),
        sa.ForeignKeyConstraint(
            ["portfolio_id"],
            ["portfolios.id"],
            name=op.f("fk_policy_memory_portfolio_id_portfolios"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("policy_id", name=op.f("pk_policy_memory")),
    )
    op.create_index(op.f("ix_policy_memory_portfolio_id"), "policy_memory", ["portfolio_id"])
    op.create_table(
        "reserves",
        sa.Column("portfolio_id", sa.UUID(), nullable=False),
        sa.Column("asset", sa.Text(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("amount", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("keep", sa.Numeric(precision=38, scale=18), server_default="0", nullable=False),
        sa.CheckConstraint("amount >= 0 AND keep >= 0", name=op.f("ck_reserves_not_negative")),
        sa.ForeignKeyConstraint(
            ["portfolio_id"],
            ["portfolios.id"],
            name=op.f("fk_reserves_portfolio_id_portfolios"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("portfolio_id", "asset", name=op.f("pk_reserves")),
    )
    op.create_table(
        "balances",
        sa.Column("account_id", sa.UUID(), nullable=False),
        sa.Column("asset", sa.Text(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("amount", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("haircut", sa.Numeric(precision=9, scale=8), server_default="0", nullable=False),
        sa.CheckConstraint("haircut BETWEEN 0 AND 1", name=op.f("ck_balances_haircut_is_fraction")),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_balances_account_id_accounts"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("account_id", "asset", name=op.f("pk_balances")),
    )
    op.create_table(
        "fills",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("portfolio_id", sa.UUID(), nullable=False),
        sa.Column("account_id", sa.UUID(), nullable=False),
        sa.Column("adjustment_id", sa.UUID(), nullable=True),
        sa.Column("leg", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("instrument_id", sa.Text(), nullable=True),
        sa.Column("asset", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("price", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("fee", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("time_ns", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_fills_account_id_accounts"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["adjustment_id"],
            ["adjustments.id"],
            name=op.f("fk_fills_adjustment_id_adjustments"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["instrument_id"], ["instruments.id"], name=op.f("fk_fills_instrument_id_instruments")
        ),
        sa.ForeignKeyConstraint(
            ["portfolio_id"],
            ["portfolios.id"],
            name=op.f("fk_fills_portfolio_id_portfolios"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_fills_tenant_id_tenants"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fills")),
    )
    op.create_index(op.f("ix_fills_account_id"), "fills", ["account_id"])
    op.create_index(op.f("ix_fills_adjustment_id"), "fills", ["adjustment_id"])
    op.create_index(op.f("ix_fills_instrument_id"), "fills", ["instrument_id"])
    op.create_index(op.f("ix_fills_portfolio_id_time_ns"), "fills", ["portfolio_id", "time_ns"])
    op.create_index(op.f("ix_fills_tenant_id_created_at_id"), "fills", ["tenant_id", "created_at", "id"])
    op.create_table(
        "policy_versions",
        sa.Column("policy_id", sa.UUID(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("document", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["policy_id"],
            ["policies.id"],
            name=op.f("fk_policy_versions_policy_id_policies"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("policy_id", "version", name=op.f("pk_policy_versions")),
    )
    op.create_table(
        "positions",
        sa.Column("account_id", sa.UUID(), nullable=False),
        sa.Column("instrument_id", sa.Text(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("quantity", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("entry_price", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_positions_account_id_accounts"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["instrument_id"], ["instruments.id"], name=op.f("fk_positions_instrument_id_instruments")
        ),
        sa.PrimaryKeyConstraint("account_id", "instrument_id", name=op.f("pk_positions")),
    )
    op.create_index(op.f("ix_positions_instrument_id"), "positions", ["instrument_id"])
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("endpoint_id", sa.UUID(), nullable=False),
        sa.Column("portfolio_id", sa.UUID(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), server_default="pending", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column(
            "next_attempt_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("claimed_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_status", sa.Integer(), nullable=True),
        sa.Column("last_error", sa.Text(), server_default="", nullable=False),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "state IN ('pending', 'delivered', 'failed')", name=op.f("ck_webhook_deliveries_state_known")
        ),
        sa.ForeignKeyConstraint(
            ["endpoint_id"],
            ["webhook_endpoints.id"],
            name=op.f("fk_webhook_deliveries_endpoint_id_webhook_endpoints"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["portfolio_id", "sequence"],
            ["events.portfolio_id", "events.sequence"],
            name=op.f("fk_webhook_deliveries_portfolio_id_sequence_events"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenants.id"],
            name=op.f("fk_webhook_deliveries_tenant_id_tenants"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_deliveries")),
        sa.UniqueConstraint(
            "endpoint_id",
            "portfolio_id",
            "sequence",
            name=op.f("uq_webhook_deliveries_endpoint_id_portfolio_id_sequence"),
        ),
    )
    op.create_index(
        "ix_webhook_deliveries_due",
        "webhook_deliveries",
        ["next_attempt_at"],
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_index(
        op.f("ix_webhook_deliveries_portfolio_id_sequence"),
        "webhook_deliveries",
        ["portfolio_id", "sequence"],
    )
    op.create_index(
        op.f("ix_webhook_deliveries_tenant_id_created_at"), "webhook_deliveries", ["tenant_id", "created_at"]
    )


def downgrade() -> None:
    op.drop_index(op.f("ix_webhook_deliveries_tenant_id_created_at"), table_name="webhook_deliveries")
    op.drop_index(op.f("ix_webhook_deliveries_portfolio_id_sequence"), table_name="webhook_deliveries")
    op.drop_index(
        "ix_webhook_deliveries_due",
        table_name="webhook_deliveries",
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.drop_table("webhook_deliveries")
    op.drop_index(op.f("ix_positions_instrument_id"), table_name="positions")
    op.drop_table("positions")
    op.drop_table("policy_versions")
    op.drop_index(op.f("ix_fills_tenant_id_created_at_id"), table_name="fills")
    op.drop_index(op.f("ix_fills_portfolio_id_time_ns"), table_name="fills")
    op.drop_index(op.f("ix_fills_instrument_id"), table_name="fills")
    op.drop_index(op.f("ix_fills_adjustment_id"), table_name="fills")
    op.drop_index(op.f("ix_fills_account_id"), table_name="fills")
    op.drop_table("fills")
    op.drop_table("balances")
    op.drop_table("reserves")
    op.drop_index(op.f("ix_policy_memory_portfolio_id"), table_name="policy_memory")
    op.drop_table("policy_memory")
    op.drop_index(op.f("ix_policies_tenant_id_created_at_id"), table_name="policies")
    op.drop_index(op.f("ix_policies_portfolio_id"), table_name="policies")
    op.drop_table("policies")
    op.drop_index("ix_events_undispatched", table_name="events", postgresql_where=sa.text("NOT dispatched"))
    op.drop_index(op.f("ix_events_tenant_id_created_at"), table_name="events")
    op.drop_table("events")
    op.drop_index(op.f("ix_decisions_tenant_id_policy_id_generation_sequence"), table_name="decisions")
    op.drop_index(op.f("ix_decisions_portfolio_id"), table_name="decisions")
    op.drop_table("decisions")
    op.drop_index(op.f("ix_adjustments_tenant_id_created_at_id"), table_name="adjustments")
    op.drop_index(
        "ix_adjustments_queue",
        table_name="adjustments",
        postgresql_where=sa.text("state IN ('queued', 'executing')"),
    )
    op.drop_index(op.f("ix_adjustments_portfolio_id_created_at"), table_name="adjustments")
    op.drop_index(
        "ix_adjustments_open",
        table_name="adjustments",
        postgresql_where=sa.text("state IN ('recommended', 'approved', 'queued', 'executing')"),
    )
    op.drop_table("adjustments")
    op.drop_table("accounts")
    op.drop_index(op.f("ix_webhook_endpoints_tenant_id_created_at"), table_name="webhook_endpoints")
    op.drop_table("webhook_endpoints")
    op.drop_index(
        "uq_portfolios_tenant_id_name",
        table_name="portfolios",
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.drop_index(
        "ix_portfolios_unevaluated", table_name="portfolios", postgresql_where=sa.text("unevaluated")
    )
    op.drop_index(op.f("ix_portfolios_tenant_id_created_at_id"), table_name="portfolios")
    op.drop_index(op.f("ix_portfolios_shard"), table_name="portfolios")
    op.drop_table("portfolios")
    op.drop_table("idempotency_keys")
    op.drop_index(op.f("ix_api_keys_tenant_id_created_at"), table_name="api_keys")
    op.drop_table("api_keys")
    op.drop_table("workers")
    op.drop_table("tenants")
    op.drop_table("shards")
    op.drop_table("markets")
    op.drop_index(op.f("ix_instruments_underlying"), table_name="instruments")
    op.drop_table("instruments")
