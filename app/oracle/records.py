"""What is kept of sources and of lines, as records: one call takes all of them, and a record saves as bytes.

A **line** is one kind of value of one instrument; a **place** is one source in one line. Places of a line are
chained in the order in which they were first heard. An **estimate** is what a line has come to: it is carried
over from writer to writer, while places and lines are made anew from last ticks and from what is declared.

Prices are in the quote of the line (of a place: in what its source declares), times int64 nanoseconds of the
market clock or of the event, volatilities per square root of a second. Weights are whole numbers, so that
sums and comparisons with halves and quarters are exact.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from app.oracle.admission import LAST_SEQUENCE
from app.quant.arrays import IntArray

WEIGHT_ONE = 1 << 20
"""The weight of a source that declares none."""
NOBODY = -1
"""The end of a chain; no line converts this place."""
UNKNOWN_LINE = -2
"""A place that must be converted, but nothing does that; or whose source is not enabled. It does not vote."""
NEVER = LAST_SEQUENCE
"""Instead of the sequence of a place's last word: none that is taken without a closer look comes after it."""

Records = NDArray[Any]
Record = Any
"""One of them as a compiled loop sees it: its fields are attributes."""

PLACE = np.dtype(
    [
        ("value", "<f8"),
        ("confidence", "<f8"),
        ("previous", "<f8"),  # its value before this entry, 0 where it had none
        ("time_ns", "<i8"),
        ("previous_ns", "<i8"),
        ("maximum_age_ns", "<i8"),  # its heartbeat included
        ("heartbeat_ns", "<i8"),  # its word stands for so long as if it were said again
        ("weight", "<i8"),  # as declared
        ("doubt", "<i8"),  # how often its weight is halved
        ("doubted_ns", "<i8"),  # when that last changed or was confirmed
        ("line", "<i8"),
        ("next", "<i8"),
        ("converter", "<i8"),  # the line whose consensus turns its currency into the line's
        ("divides", "<i8"),  # whether by division
        ("heard", "<i8"),  # in this entry
    ]
)
LINE = np.dtype(
    [
        ("first", "<i8"),
        ("last", "<i8"),
        ("heard", "<i8"),
        ("converts", "<i8"),  # whether others are converted by it: then it is settled before them
        ("is_price", "<i8"),
        ("fades", "<i8"),  # whether its quality falls with time
        ("is_positive", "<i8"),
        ("least_sources", "<i8"),
        ("least_weight", "<i8"),
        ("above", "<f8"),  # a value is above this
        ("most", "<f8"),  # and at most this
        ("tolerance", "<f8"),
        ("volatile_ratio", "<f8"),
        ("uncertain", "<f8"),
        ("dispersed", "<f8"),
        ("diverging", "<f8"),
        ("margin_age_ns", "<i8"),
        ("trading_age_ns", "<i8"),
    ]
)
ESTIMATE = np.dtype(
    [
        ("value", "<f8"),
        ("confidence", "<f8"),
        ("dispersion", "<f8"),
        ("time_ns", "<i8"),  # the newest event time that voted
        ("new_until_ns", "<i8"),  # it is as good as new until then, and ages thereafter
        ("counts_until_ns", "<i8"),  # the last of its sources is away from then on
        ("updated_ns", "<i8"),  # market time
        ("sources", "<i8"),
        ("quality", "<i8"),
        ("twap", "<f8"),
        ("twap_confidence", "<f8"),
        ("ewma", "<f8"),
        ("ewma_confidence", "<f8"),
        ("variance", "<f8"),  # of the logarithm, per second
        ("sampled", "<f8"),
        ("sampled_ns", "<i8"),
        ("samples", "<i8"),  # 0: nothing was ever agreed on
    ]
)
VOTER = np.dtype(
    [
        ("value", "<f8"),
        ("confidence", "<f8"),
        ("deviation", "<f8"),
        ("weight", "<i8"),
        ("declared", "<i8"),
        ("place", "<i8"),
    ]
)


def weight_units(weights: ArrayLike) -> IntArray:
    """Weights as whole numbers, at least 1."""
    units: IntArray = np.maximum(
        1, np.rint(np.asarray(weights, dtype=np.float64) * WEIGHT_ONE).astype(np.int64)
    )
    return units
