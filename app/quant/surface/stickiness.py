"""What a smile does when the underlying moves, and the deltas that follow from it.

One number says it, Bergomi's skew stickiness ratio R: the volatility at the forward moves by R times the
slope of the smile, dσ_ATM / d ln F = R dσ/dk. At a fixed strike volatility then moves by dσ = (R - 1) (dσ/dk)
d ln F.

- `STICKY_DELTA` (0, sticky moneyness): the smile travels with the forward; each k = ln(K/F) keeps its
  volatility.
- `STICKY_STRIKE` (1): each strike keeps its volatility; the smile stays and the forward moves along it.
- `LOCAL_VOLATILITY` (2): the forward moves along a smile that comes towards it, as short-dated smiles of a
  local volatility model do. Its delta is what traders call smile-adjusted or minimum-variance delta: with a
  downward skew it is below Black's.

References: L. Bergomi, Smile dynamics IV, Risk (December 2009); E. Derman, Regimes of volatility, Risk (April
1999); J. Hull and A. White, Optimal delta hedging for options, Journal of Banking & Finance 82 (2017).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from app.quant.arrays import BoolArray, FloatArray, StatusArray
from app.quant.black_scholes import OptionStatus, coin_settled
from app.quant.surface.volatility_surface import SurfaceStatus, VolatilitySurface

STICKY_DELTA = 0.0
STICKY_STRIKE = 1.0
LOCAL_VOLATILITY = 2.0


class SmileDeltas(NamedTuple):
    """Per option on one unit of the underlying, by the forward. Zero where a status is an error."""

    volatilities: FloatArray
    black_deltas: FloatArray  # Black's own: the volatility of the strike held, whatever the smile does
    smile_deltas: FloatArray  # with the smile moving as it is told to
    net_smile_deltas: FloatArray  # less the premium in coin, for coin-settled options
    surface_statuses: StatusArray
    option_statuses: StatusArray

    @property
    def usable(self) -> BoolArray:
        """Where the figures mean something: neither is an error."""
        sound = self.surface_statuses <= SurfaceStatus.AFTER_LAST_EXPIRY
        return sound & (self.option_statuses <= OptionStatus.AT_KINK)


def smile_deltas(
    *,
    surface: VolatilitySurface,
    strikes: ArrayLike,
    years_to_expiry: ArrayLike,
    is_call: ArrayLike,
    rates: ArrayLike = 0.0,
    skew_stickiness_ratio: float = LOCAL_VOLATILITY,
) -> SmileDeltas:
    """Deltas by the surface's forward, consistent with how its smile moves: Δ + vega (R - 1) (dσ/dk) / F.

    With `STICKY_STRIKE` this is Black's delta at the strike's volatility. Arguments broadcast.
    """
    found = surface.evaluate(strikes=strikes, years_to_expiry=years_to_expiry)
    forwards = surface.forwards_at(years_to_expiry)
    priced = coin_settled(
        forwards=forwards,
        strikes=strikes,
        years_to_expiry=years_to_expiry,
        volatilities=found.volatilities,
        rates=rates,
        is_call=is_call,
    )
    moves = (skew_stickiness_ratio - 1.0) * found.skews / forwards
    shift = priced.vegas * moves
    usable = found.usable & priced.usable
    figures = (priced.deltas, priced.deltas + shift, priced.net_deltas + shift)
    black, smile, net = (np.where(usable, figure, 0.0) for figure in figures)
    statuses = np.broadcast_to(found.statuses, usable.shape)
    return SmileDeltas(
        np.broadcast_to(found.volatilities, usable.shape), black, smile, net, statuses, priced.statuses
    )


def moved(
    *, surface: VolatilitySurface, forward_factors: ArrayLike, skew_stickiness_ratio: float
) -> VolatilitySurface:
    """The surface after its forwards moved to ``forward_factors`` times what they were, one or one per
    expiry.

    The smiles are centred on ``forwards x factor^(1 - R)``, so to price, pass the moved forwards to the
    option formula and only the strike to this surface. A surface is moved once: from where it was calibrated.
    """
    factors = np.asarray(forward_factors, dtype=np.float64)
    return surface.centred_on(surface.forwards * factors ** (1.0 - skew_stickiness_ratio))
