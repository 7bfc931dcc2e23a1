"""adjustments say which policies they serve and what they miss; policies may be the operator's.

One plan may serve several policies that fired together. What it does not reach, it says by figure and reason.

A policy of the operator is a row of its own, and a row among the policies of each portfolio that it binds: what
evaluates, remembers and explains policies needs no other kind.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    served = sa.Column(
        "policies", ARRAY(UUID(as_uuid=True)), nullable=False, server_default="{}", comment="all it serves"
    )
    op.add_column("adjustments", served)
    op.add_column("adjustments", sa.Column("misses", JSONB, nullable=False, server_default="[]"))
    op.execute("UPDATE adjustments SET policies = ARRAY[policy_id]")
    _create_operator_policies()
    copied = sa.Column(
        "operator_policy_id",
        UUID(as_uuid=True),
        comment="whose copy for this portfolio it is; the trader's own without one",
    )
    op.add_column("policies", copied)
    op.create_foreign_key(
        op.f("fk_policies_operator_policy_id_operator_policies"),
        "policies",
        "operator_policies",
        ["operator_policy_id"],
        ["id"],
        ondelete="CASCADE",
    )
    op.create_unique_constraint(
        op.f("uq_policies_operator_policy_id_portfolio_id"),
        "policies",
        ["operator_policy_id", "portfolio_id"],
    )


def _created() -> sa.Column[object]:
    return sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now())


def _create_operator_policies() -> None:
    op.create_table(
        "operator_policies",
        sa.Column("id", UUID(as_uuid=True), nullable=False),
        sa.Column("ordinal", sa.Integer, sa.Identity(always=True), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("document", JSONB, nullable=False, comment="domain.policies.Policy, as JSON"),
        sa.Column("binds_all", sa.Boolean, nullable=False, comment="every portfolio, those to come too"),
        sa.Column(
            "binds_tenant",
            UUID(as_uuid=True),
            comment="the same, of one tenant; neither: the portfolios whose policies it is among",
        ),
        sa.Column(
            "in_line",
            sa.Boolean,
            nullable=False,
            comment="every portfolio has this version, or is released",
        ),
        sa.Column("deleted_at", sa.DateTime(timezone=True)),
        _created(),
        sa.CheckConstraint(
            "NOT binds_all OR binds_tenant IS NULL", name=op.f("ck_operator_policies_binds_one_way")
        ),
        sa.ForeignKeyConstraint(
            ["binds_tenant"],
            ["tenants.id"],
            name=op.f("fk_operator_policies_binds_tenant_tenants"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_operator_policies")),
        sa.UniqueConstraint("ordinal", name=op.f("uq_operator_policies_ordinal")),
    )
    op.create_index(op.f("ix_operator_policies_binds_tenant"), "operator_policies", ["binds_tenant"])
    op.create_table(
        "operator_policy_versions",
        sa.Column("operator_policy_id", UUID(as_uuid=True), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("document", JSONB, nullable=False),
        _created(),
        sa.ForeignKeyConstraint(
            ["operator_policy_id"],
            ["operator_policies.id"],
            name=op.f("fk_operator_policy_versions_operator_policy_id_operator_policies"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("operator_policy_id", "version", name=op.f("pk_operator_policy_versions")),
    )


def downgrade() -> None:
    """The operator's rows would become the traders' own: they go with what made them the operator's."""
    op.execute("DELETE FROM policies WHERE operator_policy_id IS NOT NULL")
    op.drop_column("policies", "operator_policy_id")
    op.drop_table("operator_policy_versions")
    op.drop_table("operator_policies")
    op.drop_column("adjustments", "misses")
    op.drop_column("adjustments", "policies")
