"""Many portfolios into a book at once."""

import asyncio
from collections.abc import Container

import numpy as np

from app.domain.identifiers import PortfolioId
from app.engine.book import Book, StoredPortfolios

PORTFOLIOS_AT_ONCE = 20_000


async def load_rows(book: Book, stored: StoredPortfolios, apart: Container[PortfolioId]) -> None:
    """All but those `apart`, part by part: leases are renewed in between."""
    numbers = np.array([n for n, key in enumerate(stored.ids) if key not in apart], dtype=np.int64)
    for first in range(0, numbers.size, PORTFOLIOS_AT_ONCE):
        book.load(stored, numbers[first : first + PORTFOLIOS_AT_ONCE])
        await asyncio.sleep(0)
