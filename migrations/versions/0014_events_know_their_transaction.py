"""events know the transaction that committed them.

So that a cursor over all portfolios of a tenant can be a snapshot: what had committed by then, and what not.
Events of before count as committed by the migration, which is older than every cursor.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "events",
        sa.Column(
            "transaction_id",
            sa.BigInteger(),
            server_default=sa.text("pg_current_xact_id()::text::bigint"),
            nullable=False,
        ),
    )
    op.create_index(op.f("ix_events_tenant_id_transaction_id"), "events", ["tenant_id", "transaction_id"])


def downgrade() -> None:
    op.drop_index(op.f("ix_events_tenant_id_transaction_id"), table_name="events")
    op.drop_column("events", "transaction_id")
