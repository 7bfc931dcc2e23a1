"""sources have publishers: the tenants that may speak for them over HTTP.

Nobody has one at first: what was sent over HTTP without a signature is refused until the registry says who may.
Going back forgets them, and whoever has a key of the scope `ticks` speaks for everybody again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "sources",
        sa.Column(
            "publisher",
            sa.Text(),
            nullable=True,
            comment="name of the tenant that may speak for it over HTTP; null: none",
        ),
    )


def downgrade() -> None:
    op.drop_column("sources", "publisher")
