"""Who need not be looked at until the market has moved so far."""

from collections.abc import Collection

import numpy as np
from msgspec import Struct

from app.engine.book import Book
from app.engine.frame_block import FrameBlock
from app.engine.intervals import put_intervals
from app.engine.metrics import Figures, completed, market_of, observe
from app.engine.radii import Radii, find_radii
from app.engine.sketches import Sizes, sketch_for
from app.engine.tables import PairColumns
from app.engine.view_rows import ViewColumns
from app.engine.view_watches import Role
from app.quant.arrays import BoolArray, IntArray
from app.quant.compiled import compiled_in_place

ONE_IN, FEWEST_AT_ONCE = 128, 250
"""Of those with options, so many are put to sleep at once: to find the bounds of one costs as much as fifty
looks at it. In a storm of everybody a tick costs two fifths more than the looks; after 89 of them half sleep.
"""


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
    of_pair, owners, last = np.empty((3, slots.size), dtype=np.int64)
    count = _owners(slots, pairs.frame, book.slots.arrays.place, of_pair, owners, last)
    owners, last = owners[:count], last[:count]
    at = np.flatnonzero(pairs.frame == last[of_pair])
    busy = np.zeros(owners.size, dtype=bool)
    busy[of_pair[at[up[at]]]] = True
    done = ~np.isin(owners, list(again)) if again else np.ones(owners.size, dtype=bool)
    for slot in owners[busy & done].tolist():
        book.wake(slot)
    quiet = at[(done & ~busy)[of_pair[at]]]
    if book.sleeps and quiet.size:
        _put_to_sleep(book, block, pairs, figures, quiet)


@compiled_in_place
def _owners(
    slots: IntArray, frames: IntArray, place: IntArray, of_pair: IntArray, owners: IntArray, last: IntArray
) -> int:
    """How many different slots there are; which of them each is, and the last frame of each.

    What `place` says of a slot is true where the slot is found there, so nobody need clear it.
    """
    count = 0
    for j in range(slots.size):
        slot = slots[j]
        at = place[slot]
        if not (0 <= at < count and owners[at] == slot):
            place[slot] = at = count
            owners[at], last[at] = slot, frames[j]
            count += 1
        of_pair[j], last[at] = at, max(last[at], frames[j])
    return count


def _put_to_sleep(
    book: Book, block: FrameBlock, pairs: PairColumns, figures: Figures, chosen: IntArray
) -> None:
    block, tables, watched = block.on(book.universe), book.tables(), book.view_watches.arrays
    chosen = _in_time(chosen, tables.views.options[pairs.number[chosen]] > 0)
    figures, chosen = completed(book, block, figures, chosen)
    pairs, numbers = figures.pairs, figures.pairs.number[chosen]
    market, most = market_of(block), np.zeros(len(Sizes._fields), dtype=np.int64)
    _find_most(numbers, tables.views, most)
    up, down, others, spread = np.empty((4, chosen.size))
    radii = Radii(up, down, others, spread, np.empty(chosen.size, dtype=np.int64))
    find_radii(
        chosen,
        numbers,
        pairs,
        tables,
        market,
        watched,
        figures.starts,
        figures.accounts,
        figures.exposures,
        figures.conditions,
        figures.options,
        sketch_for(Sizes(*most.tolist())),
        radii,
    )
    book.set_alarms(numbers, radii.due_ns)
    put_intervals(
        chosen,
        pairs,
        tables,
        market,
        radii,
        watched,
        book.watches.columns.arrays,
        book.watches.intervals(),
    )


def _in_time(chosen: IntArray, with_options: BoolArray) -> IntArray:
    """Those without options, and of the others as many as can be put to sleep at once."""
    at_once = max(FEWEST_AT_ONCE, int(with_options.sum()) // ONE_IN)
    return chosen[~with_options | (np.cumsum(with_options) <= at_once)]


@compiled_in_place
def _find_most(numbers: IntArray, views: ViewColumns, most: IntArray) -> None:
    """What a sketch must have room for: `Sizes`, in that order."""
    for view in numbers:
        held = views.position_stop[view] - views.position[view]
        held += views.balance_stop[view] - views.balance[view]
        most[0] = max(most[0], views.account_stop[view] - views.account[view])
        most[1] = max(most[1], views.exposure_stop[view] - views.exposure[view])
        most[2] = max(most[2], held)
        most[3] = max(most[3], views.trigger_stop[view] - views.trigger[view])
        most[4] = max(most[4], views.condition_stop[view] - views.condition[view])
        most[5] = max(most[5], views.watch_stop[view] - views.watch[view])


class Rest(Struct, frozen=True):
    """Between which values of main prices, by the row of their instrument, and until when nothing fires.

    Other prices of the same underlyings move with them but for half a percent at most, currencies but for a
    quarter.
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
