"""Whether a policy's target is reached."""

from collections.abc import Collection

from app.engine.book import Book
from app.engine.metrics import Figures
from app.engine.view_rows import TriggerKind

_MARGIN_RATIO = int(TriggerKind.MARGIN_RATIO_AT_LEAST)
_ROUNDING = 1e-6
"""Collateral is moved in steps of 1e-8 and prices are floats: a target is reached to this fraction."""


def reaches_target(
    book: Book, figures: Figures, *, view: int, policy: int, accounts: Collection[int]
) -> bool:
    """On pair 0, which is of this view: inside the band, or restored in the accounts planned for."""
    table, columns = book.triggers.arrays, book.columns.arrays
    for at, row in enumerate(range(int(columns.trigger[view]), int(columns.trigger_stop[view]))):
        if table.policy[row] != policy:
            continue
        if table.kind[row] == _MARGIN_RATIO:
            restored = figures.triggers.value[at] <= table.target[row] * (1.0 + _ROUNDING)
            if int(table.account[row]) in accounts and not restored:
                return False
        elif figures.triggers.fired[at]:
            return False
    return True
