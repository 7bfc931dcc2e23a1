"""European options under Merton's jump-diffusion, on forwards, as a series over the number of jumps.

::

    dF/F = -λ m dt + σ dW + (J - 1) dN,   ln J ~ Normal(μ, δ²),   m = E[J] - 1 = e^{μ + δ²/2} - 1

Given n jumps the forward is lognormal::

    s_n² = σ² T + n δ²,   ln F_n = ln F - λ m T + n ln(1 + m)
    V = e^{-rT} Σ p_n Black(F_n, K, s_n),   p_n = e^{-λT} (λT)^n / n!

A call given n jumps is worth at most F_n and a put at most K. After N terms the rest is at most F P(X' > N)
or K P(X > N), X' and X being Poisson with means λ(1 + m)T and λT; and P(X > N) is below its first term over
1 - mean/(N + 2). The series ends where that bound is below the last digit of the sum, and
``truncation_errors`` is the bound. Every term is positive, its option taken out of the money by parity.

An option on a spot is one on its forward ``S e^{(r - y) T}``. Reference: R. C. Merton, Option pricing when
underlying stock returns are discontinuous, Journal of Financial Economics 3 (1976).
"""

import math
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from app.quant.arrays import BoolArray, FloatArray, StatusArray, as_columns
from app.quant.compiled import compiled
from app.quant.normalised_black import log_moneyness

VALUE, DELTA, GAMMA, VEGA, THETA, RHO, TRUNCATION_ERROR = range(7)
_FIGURES = 7
_EPSILON = 2.0**-53
_ROOT_TWO = 1.4142135623730951
_ROOT_TWO_PI = 2.5066282746310002
_MOST_EXPECTED_JUMPS = 500.0  # e^{-λT} keeps its digits; also of λ(1 + m)T
_MOST_TERMS = 2_000


class MertonStatus(IntEnum):
    """What became of one element. Above `AT_KINK` it is an error, and every figure of it is 0.0."""

    VALID = 0
    AT_KINK = 1  # no diffusion, forward at the strike unless it jumps: gamma (infinite there) leaves that out
    NOT_FINITE = 2
    FORWARD_NOT_POSITIVE = 3
    STRIKE_NOT_POSITIVE = 4
    TIME_NEGATIVE = 5
    VOLATILITY_NEGATIVE = 6
    INTENSITY_NEGATIVE = 7
    JUMP_VOLATILITY_NEGATIVE = 8
    TOO_MANY_JUMPS = 9  # λT or λ(1 + m)T above 500
    OUT_OF_RANGE = 10  # each input is fine, a figure does not fit into a float64


class MertonGreeks(NamedTuple):
    """Per option on one unit of the underlying, in quote currency, raw."""

    values: FloatArray
    deltas: FloatArray  # per unit of the forward
    gammas: FloatArray
    vegas: FloatArray  # per 1.00 of the diffusion's volatility
    thetas: FloatArray  # per year, the forward held
    rhos: FloatArray  # the forward held
    truncation_errors: FloatArray  # the values are less than this below the whole series
    statuses: StatusArray

    @property
    def usable(self) -> BoolArray:
        """Where the figures mean something: no error."""
        return self.statuses <= MertonStatus.AT_KINK


def merton_jump_diffusion(
    *,
    forwards: ArrayLike,
    strikes: ArrayLike,
    years_to_expiry: ArrayLike,
    volatilities: ArrayLike,
    jump_intensities: ArrayLike,
    mean_log_jumps: ArrayLike,
    jump_volatilities: ArrayLike,
    rates: ArrayLike = 0.0,
    is_call: ArrayLike,
) -> MertonGreeks:
    """Value and greeks under Merton's jump-diffusion.

    Parameters
    ----------
    forwards, strikes : array_like
        Positive prices in quote currency.
    years_to_expiry, volatilities : array_like
        Zero and above; zero gives the limit. The volatility is the diffusion's alone.
    jump_intensities : array_like
        λ, jumps per year, zero and above. Zero is Black-76.
    mean_log_jumps, jump_volatilities : array_like
        μ, any sign, and δ, zero and above: mean and standard deviation of a jump's logarithm.
    rates : array_like
        Any sign; they discount, the forward is held.
    is_call : array_like of bool
        False is a put.

    Returns
    -------
    MertonGreeks
        In the broadcast shape. Bad input never raises: it is named in ``statuses``.
    """
    shape, columns = as_columns(
        forwards,
        strikes,
        years_to_expiry,
        volatilities,
        jump_intensities,
        mean_log_jumps,
        jump_volatilities,
        rates,
        np.asarray(is_call, dtype=bool),
    )
    figures = np.zeros((columns[0].size, _FIGURES))
    statuses = np.empty(columns[0].size, dtype=np.int8)
    rows = np.stack([*columns, log_moneyness(columns[0], columns[1])], axis=1)
    _price(rows, figures, statuses)
    value, delta, gamma, vega, theta, rho, error = (
        np.ascontiguousarray(figure).reshape(shape) for figure in figures.T
    )
    return MertonGreeks(value, delta, gamma, vega, theta, rho, error, statuses.reshape(shape))


@compiled
def _price(rows: FloatArray, figures: FloatArray, statuses: StatusArray) -> None:
    for i in range(rows.shape[0]):
        status = _input_status(rows[i])
        if status == MertonStatus.VALID:
            status = _sum(rows[i], figures[i])
        if status <= MertonStatus.AT_KINK and not np.all(np.isfinite(figures[i])):
            status = MertonStatus.OUT_OF_RANGE
        if status > MertonStatus.AT_KINK:
            figures[i] = 0.0
        statuses[i] = status


@compiled
def _input_status(row: FloatArray) -> int:
    forward, strike, years, volatility, intensity, mean_log, jump_volatility = row[:7]
    if not np.all(np.isfinite(row[:9])):
        return MertonStatus.NOT_FINITE
    if forward <= 0.0:
        return MertonStatus.FORWARD_NOT_POSITIVE
    if strike <= 0.0:
        return MertonStatus.STRIKE_NOT_POSITIVE
    if years < 0.0:
        return MertonStatus.TIME_NEGATIVE
    if volatility < 0.0:
        return MertonStatus.VOLATILITY_NEGATIVE
    if intensity < 0.0:
        return MertonStatus.INTENSITY_NEGATIVE
    if jump_volatility < 0.0:
        return MertonStatus.JUMP_VOLATILITY_NEGATIVE
    jumps = intensity * years
    log_growth = mean_log + 0.5 * jump_volatility * jump_volatility
    if jumps > 0.0 and max(jumps, jumps * math.exp(log_growth)) > _MOST_EXPECTED_JUMPS:
        return MertonStatus.TOO_MANY_JUMPS
    return MertonStatus.VALID


@compiled
def _given_jumps(x: float, s: float, is_call: bool) -> tuple[float, float, float]:
    """With ``x = ln(F_n/K)``: call over F_n or put over K, N(d1) or -N(-d1), and the density at d1."""
    sign = 1.0 if is_call else -1.0
    value = max(-math.expm1(-sign * x), 0.0)
    if s == 0.0:
        return value, 0.5 * (sign + np.sign(x)), 0.0
    d1 = x / s + 0.5 * s
    near = 0.5 * math.erfc((abs(x) / s - 0.5 * s) / _ROOT_TWO)
    far = 0.5 * math.erfc((abs(x) / s + 0.5 * s) / _ROOT_TWO)
    if far > 0.0:  # the out-of-the-money option, over the smaller of F_n and K
        unit = 1.0 if is_call == (x <= 0.0) else math.exp(-abs(x))
        value += unit * max(near - math.exp(abs(x)) * far, 0.0)
    density = math.exp(-0.5 * d1 * d1) / _ROOT_TWO_PI
    return value, sign * 0.5 * math.erfc(-sign * d1 / _ROOT_TWO), density


@compiled
def _sum(row: FloatArray, figures: FloatArray) -> int:
    forward, strike, years, volatility, intensity, mean_log, jump_volatility, rate = row[:8]
    is_call, log_moneyness = row[8] != 0.0, row[9]
    log_growth = mean_log + 0.5 * jump_volatility * jump_volatility
    jumps, mean_jump = intensity * years, math.expm1(log_growth) if intensity > 0.0 else 0.0
    x0 = log_moneyness - jumps * mean_jump
    weight, share = math.exp(-jumps), math.exp(-jumps * (1.0 + mean_jump))  # p_n, and p_n F_n / F
    payoff_scale, mean = (forward, jumps * (1.0 + mean_jump)) if is_call else (strike, jumps)
    rest = math.inf
    for n in range(_MOST_TERMS):
        s = math.sqrt(volatility * volatility * years + n * jump_volatility * jump_volatility)
        value, delta, density = _given_jumps(x0 + n * log_growth, s, is_call)
        probability = share if is_call else weight
        contribution = payoff_scale * probability * value
        figures[VALUE] += contribution
        figures[DELTA] += share * delta
        per_width = share * density / s if s > 0.0 else 0.0
        figures[GAMMA] += per_width / forward
        figures[VEGA] += per_width * forward * volatility * years
        if years > 0.0:
            ageing = (n / years - intensity) * contribution - intensity * mean_jump * forward * share * delta
            figures[THETA] -= ageing + 0.5 * per_width * forward * volatility * volatility
        weight *= jumps / (n + 1.0)
        share *= jumps * (1.0 + mean_jump) / (n + 1.0)
        if n + 2.0 > mean:
            following = share if is_call else weight
            rest = payoff_scale * following / (1.0 - mean / (n + 2.0))
            if rest <= _EPSILON * figures[VALUE] or following == 0.0:
                break
    figures[TRUNCATION_ERROR] = rest
    figures[THETA] += rate * figures[VALUE]
    figures[RHO] = -years * figures[VALUE]
    figures *= math.exp(-rate * years)
    return MertonStatus.AT_KINK if volatility * years == 0.0 and x0 == 0.0 else MertonStatus.VALID
