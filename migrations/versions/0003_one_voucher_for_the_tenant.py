"""decisions, adjustments, fills and events belong to a tenant through their portfolio alone.

Each of their rows copies the tenant of its portfolio, in the statement that has the portfolio locked. A foreign key
to the tenant as well had every commit of every evaluator and executor lock the same row.

A market's snapshot is stored as it is: compressing it held up the commit that it came with.
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TABLES = ("adjustments", "decisions", "fills", "events")


def upgrade() -> None:
    for table in TABLES:
        op.drop_constraint(f"fk_{table}_tenant_id_tenants", table, type_="foreignkey")
    op.execute("ALTER TABLE shards ALTER COLUMN snapshot SET STORAGE EXTERNAL")


def downgrade() -> None:
    op.execute("ALTER TABLE shards ALTER COLUMN snapshot SET STORAGE EXTENDED")
    for table in TABLES:
        op.create_foreign_key(
            f"fk_{table}_tenant_id_tenants", table, "tenants", ["tenant_id"], ["id"], ondelete="CASCADE"
        )
