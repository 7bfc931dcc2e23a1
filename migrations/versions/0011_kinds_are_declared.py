"""kinds are declared: what makes a consensus of every value of a kind.

Going back forgets it, and each kind has its usual terms again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "kind_terms",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("tolerance", sa.Double(), nullable=False, comment="share of the consensus"),
        sa.Column("least_sources", sa.Integer(), nullable=False),
        sa.Column("least_weight", sa.Double(), nullable=False),
        sa.Column("volatile_ratio", sa.Double(), nullable=False),
        sa.Column(
            "uncertain_fraction", sa.Double(), nullable=False, comment="infinity: none is too uncertain"
        ),
        sa.Column("dispersed_fraction", sa.Double(), nullable=False),
        sa.Column("diverging_fraction", sa.Double(), nullable=False),
        sa.Column("stale_for_margin_ns", sa.BigInteger(), nullable=False),
        sa.Column("stale_for_trading_ns", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("kind", name=op.f("pk_kind_terms")),
    )


def downgrade() -> None:
    op.drop_table("kind_terms")
