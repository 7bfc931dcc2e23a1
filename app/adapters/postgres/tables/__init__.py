"""The schema, as SQLAlchemy Core tables. PostgreSQL is the truth; Redis only carries messages.

Tenant first in every index that a tenant's query uses; every foreign key is indexed; money is NUMERIC.
Times that decide anything are `*_ns` (market clock, int64 nanoseconds); `timestamptz` columns are wall
clock, for people and for leases.

Whoever imports one module has all of them here: tables name each other in their foreign keys.
"""

from app.adapters.postgres.tables import (
    adjustments,
    events,
    market,
    policies,
    portfolios,
    sources,
    tenants,
    webhooks,
)

__all__ = ["adjustments", "events", "market", "policies", "portfolios", "sources", "tenants", "webhooks"]
