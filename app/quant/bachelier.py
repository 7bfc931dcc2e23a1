"""Bachelier's model: European options on what may be negative, such as a spread or a basis.

The underlying's forward F moves by a volatility in its own units, σ per √year, whatever its level. With
s = σ √T and d = (F - K) / s::

    V = e^{-rT} (φ (F - K) N(φ d) + s n(d)),   φ = +1 for a call, -1 for a put

Out of the money that is ``e^{-rT} s n(d) (1 - |d| M(|d|))`` with Mills' ratio M, whose bracket is -M', taken
without cancellation; so values keep their relative precision far out (1e-12 at 37 standard deviations).
Where s is 0 (below 1e-290) the limits hold exactly, as in `app.quant.black_scholes`, which also says what the
figures and statuses mean. Vega, vanna, volga and zomma are per unit of that absolute volatility.

References: L. Bachelier, Théorie de la spéculation, Annales scientifiques de l'École normale supérieure 17
(1900); E. G. Haug, The Complete Guide to Option Pricing Formulas, 2nd ed. (2007), section 1.3.1.
"""

import math

from numpy.typing import ArrayLike

from app.quant.arrays import BoolArray, StatusArray
from app.quant.black_scholes import HigherGreeks, OptionGreeks
from app.quant.compiled import compiled_disjoint, inlined
from app.quant.normal import density, exponential, fma, mills_ratios
from app.quant.options import Columns, Exercise, OptionStatus, filled, require_european

_VALID = int(OptionStatus.VALID)
_AT_KINK = int(OptionStatus.AT_KINK)
_SUSPECT = int(OptionStatus.OUT_OF_RANGE)
_LEAST_WIDTH = 1e-290  # a standard deviation below counts as none
_FARTHEST = 70.0


def bachelier(
    *,
    forwards: ArrayLike,
    strikes: ArrayLike,
    years_to_expiry: ArrayLike,
    absolute_volatilities: ArrayLike,
    rates: ArrayLike = 0.0,
    is_call: ArrayLike,
    exercise: Exercise = Exercise.EUROPEAN,
) -> OptionGreeks:
    """Value and greeks of European options on a forward that moves in absolute terms.

    Parameters
    ----------
    forwards, strikes : array_like
        Any sign, in quote currency.
    years_to_expiry, absolute_volatilities : array_like
        Zero and above; zero gives the limit. Volatility is in units of the forward per √year.
    rates : array_like
        Any sign. Theta and rho hold the forward.
    is_call : array_like of bool
        False is a put.
    exercise : Exercise
        European; any other raises.

    Returns
    -------
    OptionGreeks
        In the broadcast shape. Bad numbers never raise: they are named in ``statuses``.

    Raises
    ------
    InvalidInput
        When `exercise` is not European.
    """
    require_european(exercise)
    inputs = (forwards, strikes, years_to_expiry, absolute_volatilities, rates)
    return OptionGreeks._make(filled(_greeks_of_columns, 8, inputs, is_call, wants_positive_prices=False))


def bachelier_higher(
    *,
    forwards: ArrayLike,
    strikes: ArrayLike,
    years_to_expiry: ArrayLike,
    absolute_volatilities: ArrayLike,
    rates: ArrayLike = 0.0,
    is_call: ArrayLike,
    exercise: Exercise = Exercise.EUROPEAN,
) -> HigherGreeks:
    """Charm, speed, zomma and colour, for the same arguments as `bachelier`."""
    require_european(exercise)
    inputs = (forwards, strikes, years_to_expiry, absolute_volatilities, rates)
    return HigherGreeks._make(
        filled(_higher_greeks_of_columns, 4, inputs, is_call, wants_positive_prices=False)
    )


@inlined
def _priced(
    forward: float, strike: float, years: float, volatility: float, rate: float, is_call: bool
) -> tuple[float, float, float, float, float, bool]:
    """Of one option: value, delta, ``e^{-rT} n(d)``, d, ``1/s`` (0 where it is none), and at the kink."""
    x = forward - strike
    width = volatility * math.sqrt(years)
    is_wide = width > _LEAST_WIDTH
    inverse_width = 1.0 / width if is_wide else 0.0
    size = abs(x) / (width if is_wide else 1.0)
    size = size if is_wide else (0.0 if x == 0.0 else _FARTHEST)
    size = min(size, _FARTHEST)
    discount = exponential(-rate * years)
    weight = discount * density(size)
    ratio, _, slope = mills_ratios(size, 0.0)
    is_out = (x <= 0.0) == is_call
    is_kink = (not is_wide) and x == 0.0
    tail = weight * ratio
    delta = tail if is_out else discount - tail
    delta = 0.5 * discount if is_kink else delta
    value = weight * slope * width + (0.0 if is_out else discount * abs(x))
    d = size if x > 0.0 else -size
    return value, delta if is_call else -delta, weight, d, inverse_width, is_kink


@inlined
def _status(total: float, years: float, volatility: float, is_kink: bool) -> int:
    """`total` is a sum of all that must be finite."""
    status = _AT_KINK if is_kink else _VALID
    return status if (0.0 * total == 0.0) & (years >= 0.0) & (volatility >= 0.0) else _SUSPECT


@compiled_disjoint
def _greeks_of_columns(columns: Columns, is_call: BoolArray, figures: Columns, statuses: StatusArray) -> None:
    forwards, strikes, years, volatilities, rates = columns
    values, deltas, gammas, vegas, thetas, rhos, vannas, volgas = figures
    for i in range(forwards.size):
        time, volatility, rate = years[i], volatilities[i], rates[i]
        value, delta, weight, d, inverse_width, is_kink = _priced(
            forwards[i], strikes[i], time, volatility, rate, is_call[i]
        )
        root = math.sqrt(time)
        gamma = weight * inverse_width
        vega = weight * root
        theta = fma(rate, value, -0.5 * weight * volatility * (volatility * inverse_width))
        rho = -time * value
        d_per_volatility = d * (root * inverse_width)
        vanna = -weight * d_per_volatility
        volga = vega * d * d_per_volatility
        values[i], deltas[i], gammas[i], vegas[i] = value, delta, gamma, vega
        thetas[i], rhos[i], vannas[i], volgas[i] = theta, rho, vanna, volga
        total = ((value + delta) + (gamma + vega)) + ((theta + rho) + (vanna + volga))
        statuses[i] = _status(total + (forwards[i] + strikes[i]) + rate, time, volatility, is_kink)


@compiled_disjoint
def _higher_greeks_of_columns(
    columns: Columns, is_call: BoolArray, figures: Columns, statuses: StatusArray
) -> None:
    forwards, strikes, years, volatilities, rates = columns
    charms, speeds, zommas, colours = figures
    for i in range(forwards.size):
        time, volatility, rate = years[i], volatilities[i], rates[i]
        value, delta, weight, d, inverse_width, is_kink = _priced(
            forwards[i], strikes[i], time, volatility, rate, is_call[i]
        )
        half_inverse_time = 0.5 * (volatility * inverse_width) * (volatility * inverse_width)
        gamma = weight * inverse_width
        charm = rate * delta + weight * d * half_inverse_time
        speed = -gamma * d * inverse_width
        zomma = gamma * (d * d - 1.0) * (math.sqrt(time) * inverse_width)
        colour = gamma * (rate + (1.0 - d * d) * half_inverse_time)
        charms[i], speeds[i], zommas[i], colours[i] = charm, speed, zomma, colour
        total = (value + delta) + ((charm + speed) + (zomma + colour))
        statuses[i] = _status(total + (forwards[i] + strikes[i]) + rate, time, volatility, is_kink)
