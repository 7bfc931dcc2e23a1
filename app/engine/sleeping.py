"""Who need not be looked at until the market has moved so far."""

from collections.abc import Collection

import numpy as np
from msgspec import Struct

from app.engine.book import Book
from app.engine.bounds import Radii, find_radii, put_bounds
from app.engine.boxes import Scratch
from app.engine.columns import row_ranges
from app.engine.frame_block import FrameBlock
from app.engine.metrics import Figures, completed, market_of, observe, tables_of
from app.engine.tables import PairColumns
from app.engine.view_watches import Role
from app.quant.arrays import BoolArray, IntArray

MOST_WITH_OPTIONS = 500
"""Views at once: to find the bounds of one costs as much as fifteen looks at it. In a storm the others are
looked at again, and fall asleep a few at a time.
"""
_FIGURES_PER_ROW = 7
"""At most: of an account, or of an exposure."""


def settle(
    book: Book,
    block: FrameBlock,
    pairs: PairColumns,
    figures: Figures,
    slots: IntArray,
    up: BoolArray,
    again: Collection[int],
) -> None:
    """Puts those to sleep for whom nothing was up on the last frame that they looked at; wakes the others.

    Those who look `again` are left as they are.
    """
    owners, of_pair = np.unique(slots, return_inverse=True)
    last = np.zeros(owners.size, dtype=np.int64)
    np.maximum.at(last, of_pair, pairs.frame)
    at = np.flatnonzero(pairs.frame == last[of_pair])
    busy = np.zeros(owners.size, dtype=bool)
    busy[of_pair[at[up[at]]]] = True
    done = ~np.isin(owners, list(again))
    for slot in owners[busy & done].tolist():
        book.wake(slot)
    quiet = at[(done & ~busy)[of_pair[at]]]
    if book.sleeps and quiet.size:
        _put_to_sleep(book, block, pairs, figures, quiet)


def _put_to_sleep(
    book: Book, block: FrameBlock, pairs: PairColumns, figures: Figures, chosen: IntArray
) -> None:
    block, tables = block.on(book.universe), tables_of(book)
    with_options = tables.views.options[pairs.number[chosen]] > 0
    in_time = np.cumsum(with_options) <= MOST_WITH_OPTIONS
    chosen = chosen[in_time | ~with_options]
    figures, chosen = completed(book, block, figures, chosen)
    pairs, numbers = figures.pairs, figures.pairs.number[chosen]
    views, watched = tables.views, book.view_watches.arrays
    rows, owners = row_ranges(views.watch[numbers], views.watch_stop[numbers])
    count = max(int(np.bincount(owners).max(initial=0)), 1)
    most = _FIGURES_PER_ROW * int(
        np.max(
            views.account_stop[numbers] - views.account[numbers]
            + views.exposure_stop[numbers] - views.exposure[numbers]
        )
    )  # fmt: skip
    value, magnitude, rises, falls, drifts = np.empty((5, most + 1))
    scratch = Scratch(value, magnitude, rises, falls, drifts, np.empty((most + 1, count)))
    up, down, spread = np.empty((3, chosen.size))
    radii = Radii(up, down, spread, np.empty(chosen.size, dtype=np.int64))
    find_radii(
        chosen, pairs, tables, market_of(block), figures.starts, figures.options, watched, scratch, radii
    )
    book.set_alarms(numbers, radii.due_ns)
    watches, last = watched.watch[rows], len(block.frames) - 1
    put_bounds(
        chosen,
        pairs,
        tables,
        radii,
        watched,
        book.watches.values(block, pairs.frame[chosen][owners], watches),
        book.watches.values(block, np.full(rows.size, last), watches),
        book.watches.entries.arrays,
        book.watches.chunks.arrays,
    )


class Rest(Struct, frozen=True):
    """Between which values of main prices, by the row of their instrument, and until when nothing fires.

    Other prices of the same underlyings move with them but for a tenth, currencies but for a twentieth.
    """

    prices: dict[int, tuple[float, float]]
    until_ns: int


def rest_of(book: Book, block: FrameBlock, slot: int) -> Rest | None:
    """Of a portfolio on the last frame. None where something fires, or no bound is known."""
    number = book.numbers(slot)[0]
    pairs = PairColumns(np.array([number]), np.array([len(block.frames) - 1]))
    figures = observe(book, block, pairs)
    if figures.findings.fired[0]:
        return None
    _put_to_sleep(book, block, pairs, figures, np.zeros(1, dtype=np.int64))
    own, entries = book.watches_of(number), book.watches.entries.arrays
    lows, highs = entries.low[own.entry], entries.high[own.entry]
    if (lows > highs).all():
        return None
    main = np.flatnonzero((own.role == Role.MAIN) & (lows <= highs)).tolist()
    prices = {int(own.column[at]): (float(lows[at]), float(highs[at])) for at in main}
    return Rest(prices, book.alarm_ns(slot))
