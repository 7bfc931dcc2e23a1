"""Who depends on an instrument: asked of everybody at once when its market turns, which is seldom."""

import numpy as np

from app.engine.book import Book
from app.engine.watch_rows import CHUNK
from app.quant.arrays import IntArray


def readers_of(book: Book, row: int) -> IntArray:
    """The slots of portfolios with policies that depend on the instrument of a row."""
    views, numbers = book.columns.arrays, _watching(book, row)
    numbers = numbers[views.live[numbers] & (views.trigger_stop[numbers] > views.trigger[numbers])]
    slots: IntArray = np.unique(views.slot[numbers])
    return slots


def rows_read(book: Book, number: int) -> set[int]:
    """The rows whose news are news of a view."""
    return book.watches.rows_of(book.watches_of(number).watch.tolist())


def _watching(book: Book, row: int) -> IntArray:
    """Views that have an entry for the row, those that are gone among them."""
    watches = book.watches
    chunks, heads, numbers = watches.chunks.arrays, watches.columns.arrays.head, watches.entries.arrays.number
    found = [np.zeros(0, dtype=np.int64)]
    for watch in range(watches.columns.length):
        chunk = int(heads[watch]) if row in watches.rows_of([watch]) else -1
        while chunk >= 0:
            first = chunk * CHUNK
            found.append(numbers[first : first + chunks.used[chunk]])
            chunk = int(chunks.following[chunk])
    return np.concatenate(found)
