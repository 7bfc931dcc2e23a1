"""webhook endpoints say more of what they want, and each has a queue of its own; attempts are kept.

Going back forgets the attempts, test deliveries, and what endpoints said of portfolios, order and rate.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_PENDING = sa.text("state = 'pending'")


def upgrade() -> None:
    _widen_endpoints()
    _create_queues()
    _narrow_deliveries()
    op.create_table(
        "webhook_attempts",
        sa.Column("delivery_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("endpoint_id", sa.UUID(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True, comment="null: no answer came"),
        sa.Column("latency_ms", sa.Integer(), nullable=False),
        sa.Column(
            "response",
            sa.Text(),
            server_default="",
            nullable=False,
            comment="how the answer began, or why none came",
        ),
        sa.ForeignKeyConstraint(
            ["delivery_id"],
            ["webhook_deliveries.id"],
            name=op.f("fk_webhook_attempts_delivery_id_webhook_deliveries"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("delivery_id", "number", name=op.f("pk_webhook_attempts")),
    )
    op.create_index(op.f("ix_webhook_attempts_endpoint_id_at"), "webhook_attempts", ["endpoint_id", "at"])


def _widen_endpoints() -> None:
    for column in (
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column(
            "portfolios",
            postgresql.ARRAY(sa.UUID()),
            server_default=sa.text("'{}'::uuid[]"),
            nullable=False,
            comment="empty: all",
        ),
        sa.Column("rate_limit", sa.Integer(), nullable=True, comment="attempts a second; null: none"),
        sa.Column("ordered", sa.Boolean(), server_default="false", nullable=False),
        sa.Column(
            "old_secrets",
            postgresql.ARRAY(sa.LargeBinary()),
            server_default=sa.text("'{}'::bytea[]"),
            nullable=False,
        ),
        sa.Column(
            "old_secrets_until",
            postgresql.ARRAY(sa.DateTime(timezone=True)),
            server_default=sa.text("'{}'::timestamptz[]"),
            nullable=False,
            comment="how long each of old_secrets signs too",
        ),
        sa.Column(
            "disabled_reason",
            sa.Text(),
            server_default="",
            nullable=False,
            comment="why the service switched it off; empty: it did not",
        ),
        sa.Column("operator_told", sa.Boolean(), server_default="true", nullable=False),
    ):
        op.add_column("webhook_endpoints", column)
    op.create_check_constraint(
        op.f("ck_webhook_endpoints_rate_in_range"), "webhook_endpoints", "rate_limit BETWEEN 1 AND 1000"
    )


def _create_queues() -> None:
    op.create_table(
        "webhook_queues",
        sa.Column("endpoint_id", sa.UUID(), nullable=False),
        sa.Column(
            "due_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="when a courier looks at it next",
        ),
        sa.Column(
            "paused_until",
            sa.DateTime(timezone=True),
            server_default="-infinity",
            nullable=False,
            comment="what arrives does not wake it before",
        ),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False, comment="in a row"),
        sa.Column("failing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "rate_spent_until",
            sa.DateTime(timezone=True),
            server_default="-infinity",
            nullable=False,
            comment="the time that what was sent takes at the endpoint's rate",
        ),
        sa.ForeignKeyConstraint(
            ["endpoint_id"],
            ["webhook_endpoints.id"],
            name=op.f("fk_webhook_queues_endpoint_id_webhook_endpoints"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("endpoint_id", name=op.f("pk_webhook_queues")),
    )
    for name, failing in (("working", "failures = 0"), ("failing", "failures > 0")):
        op.create_index(
            f"ix_webhook_queues_{name}", "webhook_queues", ["due_at"], postgresql_where=sa.text(failing)
        )
    op.execute("INSERT INTO webhook_queues (endpoint_id) SELECT id FROM webhook_endpoints WHERE enabled")


def _narrow_deliveries() -> None:
    """Two updates for each delivery: every index that need not be there costs both."""
    table = "webhook_deliveries"
    op.drop_index(op.f("ix_webhook_deliveries_tenant_id_created_at"), table_name=table)
    op.drop_index(op.f("ix_webhook_deliveries_portfolio_id_sequence"), table_name=table)
    op.drop_index("ix_webhook_deliveries_due", table_name=table)
    op.drop_constraint(op.f("uq_webhook_deliveries_endpoint_id_portfolio_id_sequence"), table, type_="unique")
    op.drop_column(table, "tenant_id")
    op.execute("ALTER TABLE webhook_deliveries SET (fillfactor = 60)")  # claims are written in place
    op.add_column(
        table,
        sa.Column(
            "retries",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="failures since it was created or sent again on request",
        ),
    )
    op.add_column(
        table,
        sa.Column("test_event", sa.LargeBinary(), nullable=True, comment="what to send, where no event is"),
    )
    op.execute("UPDATE webhook_deliveries SET retries = attempts WHERE state = 'pending'")
    op.alter_column(table, "portfolio_id", nullable=True)
    op.alter_column(table, "sequence", nullable=True)
    op.create_check_constraint(
        op.f("ck_webhook_deliveries_of_an_event"), table, "(portfolio_id IS NULL) = (test_event IS NOT NULL)"
    )
    op.create_unique_constraint(
        op.f("uq_webhook_deliveries_portfolio_id_sequence_endpoint_id"),
        table,
        ["portfolio_id", "sequence", "endpoint_id"],
    )
    op.create_index(op.f("ix_webhook_deliveries_endpoint_id_id"), table, ["endpoint_id", "id"])
    op.create_index(
        "ix_webhook_deliveries_due", table, ["endpoint_id", "next_attempt_at"], postgresql_where=_PENDING
    )
    op.create_index(
        "ix_webhook_deliveries_in_order",
        table,
        ["endpoint_id", sa.text("portfolio_id DESC"), "sequence"],
        postgresql_where=_PENDING,
    )


def downgrade() -> None:
    op.drop_index(op.f("ix_webhook_attempts_endpoint_id_at"), table_name="webhook_attempts")
    op.drop_table("webhook_attempts")
    _widen_deliveries()
    op.drop_index("ix_webhook_queues_failing", table_name="webhook_queues")
    op.drop_index("ix_webhook_queues_working", table_name="webhook_queues")
    op.drop_table("webhook_queues")
    op.drop_constraint(op.f("ck_webhook_endpoints_rate_in_range"), "webhook_endpoints", type_="check")
    for column in (
        "operator_told",
        "disabled_reason",
        "old_secrets_until",
        "old_secrets",
        "ordered",
        "rate_limit",
        "portfolios",
        "version",
    ):
        op.drop_column("webhook_endpoints", column)


def _widen_deliveries() -> None:
    table = "webhook_deliveries"
    op.execute("DELETE FROM webhook_deliveries WHERE portfolio_id IS NULL")
    op.execute("ALTER TABLE webhook_deliveries RESET (fillfactor)")
    op.drop_index("ix_webhook_deliveries_in_order", table_name=table)
    op.drop_index("ix_webhook_deliveries_due", table_name=table)
    op.drop_index(op.f("ix_webhook_deliveries_endpoint_id_id"), table_name=table)
    op.drop_constraint(op.f("uq_webhook_deliveries_portfolio_id_sequence_endpoint_id"), table, type_="unique")
    op.drop_constraint(op.f("ck_webhook_deliveries_of_an_event"), table, type_="check")
    op.alter_column(table, "sequence", nullable=False)
    op.alter_column(table, "portfolio_id", nullable=False)
    op.drop_column(table, "test_event")
    op.drop_column(table, "retries")
    op.add_column(table, sa.Column("tenant_id", sa.UUID(), nullable=True))
    op.execute(
        "UPDATE webhook_deliveries d SET tenant_id = w.tenant_id"
        " FROM webhook_endpoints w WHERE w.id = d.endpoint_id"
    )
    op.alter_column(table, "tenant_id", nullable=False)
    op.create_foreign_key(
        op.f("fk_webhook_deliveries_tenant_id_tenants"),
        table,
        "tenants",
        ["tenant_id"],
        ["id"],
        ondelete="CASCADE",
    )
    op.create_unique_constraint(
        op.f("uq_webhook_deliveries_endpoint_id_portfolio_id_sequence"),
        table,
        ["endpoint_id", "portfolio_id", "sequence"],
    )
    op.create_index("ix_webhook_deliveries_due", table, ["next_attempt_at"], postgresql_where=_PENDING)
    op.create_index(op.f("ix_webhook_deliveries_portfolio_id_sequence"), table, ["portfolio_id", "sequence"])
    op.create_index(op.f("ix_webhook_deliveries_tenant_id_created_at"), table, ["tenant_id", "created_at"])
