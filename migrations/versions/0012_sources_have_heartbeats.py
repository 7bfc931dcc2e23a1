"""sources have heartbeats: what is published when it moves, or after so long, is not stale in between.

Nobody has one at first. Going back forgets them.
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sources", sa.Column("heartbeat_ns", sa.BigInteger(), server_default="0", nullable=False))


def downgrade() -> None:
    op.drop_column("sources", "heartbeat_ns")
