"""a position knows up to when its funding was paid."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "positions",
        sa.Column(
            "accrued_ns",
            sa.BigInteger(),
            server_default="0",
            nullable=False,
            comment="market time up to which its funding was paid; 0: not known",
        ),
    )


def downgrade() -> None:
    op.drop_column("positions", "accrued_ns")
