"""One PostgreSQL address in the two forms that its two clients want.

People write `postgresql://…` (or `postgres://…`, as hosting companies do); sockets travel in `?host=`.
"""

import re

from sqlalchemy import URL, make_url

_SCHEME = re.compile(r"postgres(ql)?(\+asyncpg)?://")


def asyncpg_address(url: str) -> str:
    """`postgresql://…`, for asyncpg and libpq."""
    return _SCHEME.sub("postgresql://", url, count=1)


def sqlalchemy_address(url: str) -> URL:
    """`postgresql+asyncpg://…`, for `create_async_engine`."""
    return make_url(_SCHEME.sub("postgresql+asyncpg://", url, count=1))
