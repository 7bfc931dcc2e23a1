"""documents of policies are told apart by their digests.

Many portfolios are kept by the same few documents. Whoever loads a shard copies the digest of each policy, and
a document once.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "policies",
        sa.Column(
            "document_digest",
            sa.LargeBinary(),
            sa.Computed("sha256(jsonb_send(document))", persisted=True),
            nullable=False,
            comment="SHA-256",
        ),
    )


def downgrade() -> None:
    op.drop_column("policies", "document_digest")
