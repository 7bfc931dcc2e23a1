"""What a view watches: columns of the market, by the part that they have in its figures."""

from enum import IntEnum
from typing import NamedTuple

from app.quant.arrays import IntArray


class Role(IntEnum):
    """The first price of an underlying that is held; another price of it, held against that one; a price of
    something else, a currency; what must stay what it is, or is no price; the volatility of an option that is
    held; and a price that nothing is valued by.
    """

    MAIN = 0
    RATIO = 1
    MINOR = 2
    PINNED = 3
    VOLATILITY = 4
    UNUSED = 5


class ViewWatchColumns(NamedTuple):
    """`entry`: where its bounds stand. Prices of one underlying have the same `group` within the view."""

    watch: IntArray
    entry: IntArray
    column: IntArray
    role: IntArray
    group: IntArray
