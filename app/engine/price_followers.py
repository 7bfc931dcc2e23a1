"""What averages and volatilities of prices have in common: whom they follow, and when a period of one ends.

The loops over the news of prices are each their own: all that is in them is what differs.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from app.engine.universe import NEVER_NS
from app.quant.arrays import IntArray

NOBODY = -1


class Estimated(NamedTuple):
    """A volatility or an average as of `time_ns`, the end of its last bar or step, from frame k of the block
    on; NaN: not known.
    """

    k: int
    column: int
    value: float
    time_ns: int


class PriceFollowers:
    """Series in columns of the market, numbered as they come, each of one price.

    `_first_of` is the first follower of every price. Before `_due_ns[0]`, when the first of the open periods
    ends, nothing happens without a price.
    """

    def __init__(self, prices: int) -> None:
        """The first so many columns of the market are prices."""
        self._first_of: IntArray = np.full(prices, NOBODY, dtype=np.int64)
        self._due_ns: IntArray = np.full(1, NEVER_NS, dtype=np.int64)
        self._prices: set[int] = set()
        self._columns: list[int] = []
        self._numbers: dict[int, int] = {}
        self._begun_ns: list[int] = []

    def __bool__(self) -> bool:
        return bool(self._columns)

    def __contains__(self, column: int) -> bool:
        return column in self._numbers

    def _number(self, number: int, *, column: int, price: int, begun_ns: int) -> None:
        self._first_of[price] = self._numbers[column] = number
        self._prices.add(price)
        self._columns.append(column)
        self._begun_ns.append(begun_ns)

    def _begin_anew(self, now_ns: int) -> None:
        self._due_ns[0] = NEVER_NS
        self._begun_ns = [now_ns] * len(self._columns)

    def _ends_within(self, times_ns: IntArray) -> bool:
        """Whether a period may end at one of these times."""
        return bool(self) and (times_ns.size > 1 or bool(times_ns[0] >= self._due_ns[0]))

    def _follow_any(self, columns: Iterable[int]) -> bool:
        return not self._prices.isdisjoint(columns)

    def _goes_on(self, number: int, begun_ns: int, opened_ns: int, length_ns: int) -> bool:
        """Whether it may go on from a state that was followed since then; not if it has seen more itself.

        A period that is open ends after its length. Before the first, `opened_ns` is negative.
        """
        if self._begun_ns[number] < begun_ns:
            return False
        self._begun_ns[number] = begun_ns
        if opened_ns >= 0:
            self._due_ns[0] = min(self._due_ns[0], opened_ns + length_ns)
        return True
