"""Random mixed books on two underlyings: contracts of both settlements, options of both, and coins."""

import numpy as np

from app.quant.solvency.books import Books, PositionKind, tier_tables

PRICES = np.array([60_000.0, 3_000.0])

TIERS = tier_tables(
    tier_counts=[4, 3, 4, 3],
    floors=[0, 5e4, 2.5e5, 1e6, 0, 1e5, 6e5, 0, 1, 5, 20, 0, 2, 8],
    rates=[0.004, 0.005, 0.01, 0.025, 0.01, 0.03, 0.1, 0.004, 0.005, 0.01, 0.025, 0.005, 0.02, 0.05],
    # the first and third table are continuous; the others jump, as where no amount is deducted
    amounts=[0, 50, 1_300, 16_300, 0, 0, 0, 0, 0.001, 0.026, 0.326, 0, 0, 0],
)
LINEAR_TABLES, INVERSE_TABLES = (0, 1), (2, 3)


def random_columns(seed: int, count: int, widest: int = 8) -> dict:
    """Arguments of `books_of` for so many books; half of the books hold no options."""
    draw = np.random.default_rng(seed)
    position_counts = draw.integers(1, widest + 1, count)
    total = int(position_counts.sum())
    book = np.repeat(np.arange(count), position_counts)
    kinds = draw.integers(0, 7, total)
    kinds = np.where((book % 2 == 0) & (kinds > 2), kinds % 3, kinds)
    underlyings = draw.integers(0, 2, total)
    prices = PRICES[underlyings]
    ratios = np.where(kinds == PositionKind.HOLDING, 1.0, draw.uniform(0.97, 1.05, total))
    sizes = draw.lognormal(10.5, 1.2, total) * draw.choice([-1.0, 1.0], total)  # in quote currency
    inverse = kinds == PositionKind.INVERSE
    tables = np.where(inverse, draw.choice(INVERSE_TABLES, total), draw.choice(LINEAR_TABLES, total))
    multipliers = np.where(inverse, 100.0, np.where(kinds == PositionKind.HOLDING, 0.9, 0.01))
    cash = np.bincount(book, np.abs(sizes), count) * draw.uniform(-0.2, 1.2, count)
    return {
        "position_counts": position_counts,
        "cash": cash,
        "kinds": kinds,
        "underlyings": underlyings,
        "quantities": sizes / multipliers / np.where(inverse, 1.0, prices),
        "multipliers": multipliers,
        "entry_prices": prices * draw.uniform(0.8, 1.2, total),
        "price_ratios": ratios,
        "strikes": prices * draw.uniform(0.5, 1.8, total),
        "years_to_expiry": draw.choice([0.0, 2 / 365, 0.08, 0.5, 1.0], total),
        "volatilities": draw.uniform(0.2, 1.5, total),
        "initial_rates": 0.1,
        "maintenance_tiers": np.where((kinds == 1) | inverse, tables, -1),
        "tiers": TIERS,
    }


def one_book(books: Books, book: int) -> Books:
    """The same positions, alone."""
    rows = slice(int(books.starts[book]), int(books.starts[book + 1]))
    columns = {
        name: getattr(books, name)[rows] for name in Books._fields if name not in ("starts", "cash", "tiers")
    }
    starts = np.array([0, rows.stop - rows.start])
    return Books(starts=starts, cash=books.cash[book : book + 1], tiers=books.tiers, **columns)


def gross_notionals(books: Books, prices: np.ndarray) -> np.ndarray:
    """Of every book, an option counted as what it is an option on."""
    book = np.repeat(np.arange(books.cash.size), np.diff(books.starts))
    units = np.abs(books.quantities * books.multipliers)
    inverse = books.kinds == PositionKind.INVERSE
    return np.bincount(book, np.where(inverse, units, units * prices[books.underlyings]), books.cash.size)
