"""a transfer may come from an account, and end in the reserve.

Going back takes along what the older schema had no place for: transfers to the reserve, and from where one came.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

OF_AN_ACCOUNT = "account_id IS NOT NULL OR (kind = 'transfer' AND source_account_id IS NOT NULL)"


def upgrade() -> None:
    op.add_column(
        "fills",
        sa.Column(
            "source_account_id",
            sa.UUID(),
            nullable=True,
            comment="where a transfer came from; null: the reserve",
        ),
    )
    op.create_foreign_key(
        "fk_fills_source_account_id_accounts",
        "fills",
        "accounts",
        ["source_account_id"],
        ["id"],
        ondelete="CASCADE",
    )
    op.create_index("ix_fills_source_account_id", "fills", ["source_account_id"])
    op.alter_column("fills", "account_id", nullable=True, comment="null: a transfer to the reserve")
    op.create_check_constraint("of_an_account", "fills", OF_AN_ACCOUNT)


def downgrade() -> None:
    op.drop_constraint("of_an_account", "fills", type_="check")
    op.execute("DELETE FROM fills WHERE account_id IS NULL")
    op.alter_column(
        "fills",
        "account_id",
        nullable=False,
        existing_comment="null: a transfer to the reserve",
        comment=None,
    )
    op.drop_index("ix_fills_source_account_id", "fills")
    op.drop_column("fills", "source_account_id")
