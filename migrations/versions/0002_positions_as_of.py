"""an account knows what moment its positions are of.

The moment was kept among the answers to `Idempotency-Key`, under keys of its own; those of requests had a
prefix to stay apart from them.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "accounts",
        sa.Column(
            "positions_as_of_ns",
            sa.BigInteger(),
            server_default="0",
            nullable=False,
            comment="market time of the last snapshot; 0 without one",
        ),
    )
    op.execute(
        """
        UPDATE accounts SET positions_as_of_ns = convert_from(response, 'UTF8')::bigint
        FROM idempotency_keys WHERE key = 'snapshot:' || accounts.id
        """
    )
    op.execute("DELETE FROM idempotency_keys WHERE key LIKE 'snapshot:%'")
    op.execute("UPDATE idempotency_keys SET key = substr(key, length('request:') + 1)")
    for column in ("status", "response", "headers"):
        op.alter_column("idempotency_keys", column, nullable=False)
    op.alter_column("idempotency_keys", "status", comment=None, existing_comment="absent while in flight")


def downgrade() -> None:
    op.alter_column("idempotency_keys", "status", comment="absent while in flight")
    for column in ("status", "response", "headers"):
        op.alter_column("idempotency_keys", column, nullable=True)
    op.execute("UPDATE idempotency_keys SET key = 'request:' || key")
    op.execute(
        """
        INSERT INTO idempotency_keys (tenant_id, key, fingerprint, status, response)
        SELECT p.tenant_id, 'snapshot:' || a.id, '', 200, convert_to(a.positions_as_of_ns::text, 'UTF8')
        FROM accounts a JOIN portfolios p ON p.id = a.portfolio_id WHERE a.positions_as_of_ns <> 0
        """
    )
    op.drop_column("accounts", "positions_as_of_ns")
