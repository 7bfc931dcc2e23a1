"""sources are declared, and what makes a consensus of an instrument.

Going back forgets both: every source weighs the same then, and whoever has a key is heard without it.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "consensus_terms",
        sa.Column("instrument", sa.Text(), nullable=False, comment="or an index, a chain or a depth"),
        sa.Column(
            "terms",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="quorum and ladder of oracle.declared, as JSON",
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("instrument", name=op.f("pk_consensus_terms")),
    )
    op.create_table(
        "sources",
        sa.Column("id", sa.Text(), nullable=False, comment="* stands for those that are not named"),
        sa.Column("weight", sa.Double(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=True, comment="the only one it speaks of; null: any"),
        sa.Column("base", sa.Text(), nullable=True),
        sa.Column(
            "quote", sa.Text(), nullable=True, comment="currency of its prices; null: the instrument's"
        ),
        sa.Column("maximum_age_ns", sa.BigInteger(), nullable=True),
        sa.Column("public_key", sa.LargeBinary(), nullable=True, comment="Ed25519; null: it does not sign"),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("octet_length(public_key) = 32", name=op.f("ck_sources_public_key_whole")),
        sa.CheckConstraint("weight BETWEEN 0.001 AND 1000", name=op.f("ck_sources_weight_in_range")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sources")),
    )


def downgrade() -> None:
    op.drop_table("sources")
    op.drop_table("consensus_terms")
