"""what belongs to no portfolio is told in a log of the tenant's own.

Going back forgets those events and what was delivered of them.
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tenants", sa.Column("event_sequence", sa.BigInteger(), server_default="0", nullable=False))
    op.drop_constraint(op.f("fk_events_portfolio_id_portfolios"), "events", type_="foreignkey")
    op.alter_column(
        "events", "portfolio_id", comment="whose log: what belongs to no portfolio has its tenant's id"
    )


def downgrade() -> None:
    op.execute("DELETE FROM events WHERE portfolio_id = tenant_id")
    op.alter_column("events", "portfolio_id", comment=None)
    op.create_foreign_key(
        op.f("fk_events_portfolio_id_portfolios"),
        "events",
        "portfolios",
        ["portfolio_id"],
        ["id"],
        ondelete="CASCADE",
    )
    op.drop_column("tenants", "event_sequence")
