"""The forward that a chain's own quotes imply, by put-call parity, from bids and asks.

At one strike, buying the call and selling the put is a forward bought at the strike. What it costs at least
and at most bounds the forward::

    F - K = (C - P) / discount           premiums in quote currency
    F - K = F (C - P), F = K / (1 - C + P)   premiums in coin over the forward (`coin_settled`)

Each strike gives an interval; the forward is the middle of where most of them overlap, so that a stale quote
is outvoted.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from app.quant.arrays import FloatArray


class ParityForward(NamedTuple):
    """`forward` is the middle of `lowest` and `highest`; all are 0.0 where no strike says anything."""

    forward: float
    lowest: float
    highest: float
    agreeing: int  # strikes whose interval holds the forward
    strikes: int  # strikes with both options quoted on both sides


def parity_forward(
    *,
    strikes: ArrayLike,
    call_bids: ArrayLike,
    call_asks: ArrayLike,
    put_bids: ArrayLike,
    put_asks: ArrayLike,
    coin_settled: bool,
    discount_factor: float = 1.0,
) -> ParityForward:
    """The forward of one expiry from premiums of shape (n,): in coin if `coin_settled`, else in quote
    currency.

    A premium of 0, or one that is not finite, is a missing quote; its strike is left out.
    """
    given = (strikes, call_bids, call_asks, put_bids, put_asks)
    columns = np.stack(np.broadcast_arrays(*(np.atleast_1d(np.asarray(each, np.float64)) for each in given)))
    columns = columns[:, np.all(np.isfinite(columns) & (columns > 0.0), axis=0)]
    k, call_bid, call_ask, put_bid, put_ask = columns
    sold, bought = call_bid - put_ask, call_ask - put_bid
    if coin_settled:
        lows, highs = k / np.maximum(1.0 - sold, 1e-12), k / np.maximum(1.0 - bought, 1e-12)
    else:
        lows, highs = k + sold / discount_factor, k + bought / discount_factor
    ordered = (lows <= highs) & (highs > 0.0)
    return _most_agreed(lows[ordered], highs[ordered])


def _most_agreed(lows: FloatArray, highs: FloatArray) -> ParityForward:
    if len(lows) == 0:
        return ParityForward(0.0, 0.0, 0.0, 0, 0)
    agreeing = np.sum((lows[None, :] <= lows[:, None]) & (lows[:, None] <= highs[None, :]), axis=1)
    lowest = float(lows[np.argmax(agreeing)])
    holding = (lows <= lowest) & (lowest <= highs)
    highest = float(np.min(highs[holding]))
    return ParityForward(0.5 * (lowest + highest), lowest, highest, int(np.sum(holding)), len(lows))
