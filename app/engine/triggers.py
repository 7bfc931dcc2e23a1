"""Which policies fire: one pass over the trigger rows of all pairs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.engine.book import Book, TriggerKind, View
from app.engine.metrics import Figures, Gathered
from app.quant.arrays import BoolArray, FloatArray, IntArray

_ROUNDING = 1e-6
"""Collateral is moved in steps of 1e-8 and prices are floats: a target is reached to this fraction."""


@dataclass(frozen=True, slots=True)
class Triggers:
    """`values` are what was compared; `fired[i]` and `values[i]` belong to trigger row `gathered.rows[i]`."""

    gathered: Gathered
    fired: BoolArray
    values: FloatArray

    def pair_slice(self, pair: int) -> slice:
        return slice(int(self.gathered.starts[pair]), int(self.gathered.starts[pair + 1]))


def evaluate_triggers(book: Book, views: Sequence[View], figures: Figures) -> Triggers:
    gathered = Gathered.of([view.triggers for view in views])
    table, rows = book.triggers, gathered.rows
    kinds = table["kind"][rows]
    values = np.full(len(rows), np.nan)
    fired = np.zeros(len(rows), dtype=bool)
    first_exposures = np.array([view.exposures[0] for view in views], dtype=np.int64)
    first_accounts = np.array([view.accounts[0] for view in views], dtype=np.int64)

    at = np.flatnonzero(kinds == TriggerKind.DELTA_OUTSIDE_BAND)
    if len(at):
        slots = figures.exposures.local(table["exposure"][rows[at]], gathered.pairs[at], first_exposures)
        values[at] = figures.deltas[slots] + np.where(np.isnan(figures.underlying_prices[slots]), np.nan, 0.0)
        fired[at] = np.abs(values[at] - table["target"][rows[at]]) > table["limit"][rows[at]]
    at = np.flatnonzero(kinds == TriggerKind.MARGIN_RATIO_AT_LEAST)
    if len(at):
        owners = figures.accounts.local(table["account"][rows[at]], gathered.pairs[at], first_accounts)
        values[at] = figures.margin_ratios[owners]
        fired[at] = values[at] >= table["limit"][rows[at]]
    return Triggers(gathered, fired, values)


def liquidated_accounts(views: Sequence[View], figures: Figures) -> list[tuple[int, int]]:
    """(pair, account ordinal) of every account that an exchange would close: margin ratio 1 or worse."""
    broken = np.flatnonzero(figures.margin_ratios >= 1.0)
    found = []
    for index in broken.tolist():
        pair = int(figures.accounts.pairs[index])
        if views[pair].liquidates:
            found.append((pair, index - int(figures.accounts.starts[pair])))
    return found


def reaches_target(book: Book, figures: Figures, view: View, accounts: IntArray) -> bool:
    """Of a book of one view with one policy, after a plan: inside the band, or restored in `accounts`."""
    triggers = evaluate_triggers(book, [view], figures)
    rows = triggers.gathered.rows
    planned = np.isin(book.triggers["account"][rows], accounts)
    restored = book.triggers["target"][rows] * (1.0 + _ROUNDING)
    margin = book.triggers["kind"][rows] == TriggerKind.MARGIN_RATIO_AT_LEAST
    missed = np.where(margin, planned & ~(triggers.values <= restored), triggers.fired)
    return not bool(missed.any())
