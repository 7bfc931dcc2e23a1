"""policies say which instruments they name.

A policy may hedge with several instruments, so `hedge_instrument` of a stored document becomes
`hedge_instruments`; and since every family names instruments in places of its own, the column `instruments`
says them all, for whoever has to know which portfolios an instrument concerns.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

SEVERAL = """
    SET document = (document - 'hedge_instrument')
        || jsonb_build_object('hedge_instruments', jsonb_build_array(document->'hedge_instrument'))
    WHERE document ? 'hedge_instrument'
"""
ONE = """
    SET document = (document - 'hedge_instruments')
        || jsonb_build_object('hedge_instrument', document->'hedge_instruments'->0)
    WHERE document->>'kind' = 'delta_neutral'
"""
NAMED = """
    UPDATE policies SET instruments = ARRAY(SELECT jsonb_array_elements_text(document->'hedge_instruments'))
    WHERE document ? 'hedge_instruments'
"""


def upgrade() -> None:
    names = sa.Column(
        "instruments", ARRAY(sa.Text), nullable=False, server_default="{}", comment="what it names"
    )
    op.add_column("policies", names)
    op.execute("UPDATE policies " + SEVERAL)
    op.execute("UPDATE policy_versions " + SEVERAL)
    op.execute(NAMED)


def downgrade() -> None:
    op.execute("UPDATE policies " + ONE)
    op.execute("UPDATE policy_versions " + ONE)
    op.drop_column("policies", "instruments")
