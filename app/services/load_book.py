"""What was loaded into a book: most of it as rows, and the few that are objects from the beginning."""

import asyncio
from collections.abc import Mapping

import numpy as np

from app.domain.identifiers import PolicyId
from app.domain.portfolios import Portfolio
from app.engine.book import Book
from app.engine.memory import PolicyMemory
from app.ports.evaluation import Loaded

PORTFOLIOS_AT_ONCE = 20_000


async def load_rows(
    book: Book, loaded: Loaded, memories: Mapping[PolicyId, PolicyMemory], time_ns: int
) -> list[Portfolio]:
    """Puts rows into the book part by part, for leases are renewed in between; answers who is to be put as an
    object: who was loaded as one, and whoever remembers what matters at `time_ns`.
    """
    stored, portfolios = loaded.stored, list(loaded.portfolios)
    if stored is None:
        return portfolios
    acting = {portfolio.id for portfolio in portfolios}
    remembering = {
        memory.portfolio_id for memory in loaded.memories if _matters(memories[memory.policy_id], time_ns)
    }
    apart = acting | remembering
    numbers = np.array([n for n, key in enumerate(stored.ids) if key not in apart], dtype=np.int64)
    for first in range(0, numbers.size, PORTFOLIOS_AT_ONCE):
        book.load(stored, numbers[first : first + PORTFOLIOS_AT_ONCE])
        if first == 0:
            book.reserve(numbers.size / PORTFOLIOS_AT_ONCE)
        await asyncio.sleep(0)
    alone = remembering - acting
    return portfolios + [stored.portfolio(n) for n, key in enumerate(stored.ids) if key in alone]


def _matters(memory: PolicyMemory, time_ns: int) -> bool:
    """To how its portfolio is put into the book, or to when it is looked at."""
    ends_ns = max(memory.cooldown_until_ns, memory.wake_ns)
    return bool(memory.registers) or memory.suppressed is not None or ends_ns > time_ns
