"""The estimators that read bars. All of them read the same state; what each of them assumes, it says.

``w`` are the weights of the window. Logarithms of one bar: r is the return from the previous close, t its
time in years; from the open, u is the high, d the low and c the close, in a time T; o is the jump from the
previous close to the open. The sums run over bars.

References: RiskMetrics Technical Document, 4th ed. (1996); M. Parkinson, Journal of Business 53 (1980);
M. Garman and M. Klass, Journal of Business 53 (1980); L. C. G. Rogers and S. E. Satchell, Annals of Applied
Probability 1 (1991); D. Yang and Q. Zhang, Journal of Business 73 (2000); O. E. Barndorff-Nielsen and
N. Shephard, Journal of Financial Econometrics 2 (2004).
"""

import math

import numpy as np

from app.quant.arrays import FloatArray
from app.quant.estimators.accumulation import BarState, BarSums
from app.quant.estimators.bars import window_sums
from app.quant.estimators.estimates import Estimates, annualised, effective_observations

# A mean and a spread take two bars; with unequal weights the second one must not have faded away.
_LEAST_BARS_AROUND_A_MEAN = 1.5


def close_to_close(state: BarState) -> Estimates:
    """Returns around their mean: the sample variance, free of drift, with jumps and gaps.

    ``(Σ w r² - (Σ w r)² / Σ w) / (Σ w t - Σ w² t / Σ w)``, the textbook's n - 1 for equal weights. Unbiased
    for bars of one length; of unequal ones a drift μ leaves ``μ² (Σ w t² - (Σ w t)² / Σ w)``, which is small.
    """
    sums = window_sums(state)
    variances, years = _around_mean(
        sums.squared_returns, sums.returns, sums.years, sums.years_of_squared_weights, sums.bars
    )
    bars = effective_observations(sums.bars, sums.squared_weights)
    return annualised(variances, years, bars, is_enough=bars >= _LEAST_BARS_AROUND_A_MEAN)


def ewma(state: BarState) -> Estimates:
    """Returns around zero, ``Σ w r² / Σ w t``: with a decaying window RiskMetrics' average, otherwise the
    realized variance. For bars short enough that drift does not count; jumps and gaps are part of it.

    RiskMetrics' λ for bars of one length is ``2 ** -(bar / half-life)``. Weights are normalised, so the
    start is not biased towards zero.
    """
    sums = window_sums(state)
    bars = effective_observations(sums.bars, sums.squared_weights)
    return annualised(sums.squared_returns, sums.years, bars, is_enough=bars > 0.0)


def parkinson(state: BarState) -> Estimates:
    """The range, ``Σ w (u - d)² / (4 ln 2 Σ w T)``: no drift, no jumps, nothing of what happens in gaps.

    Too low where bars hold few trades, because the extremes of the price were not traded at.
    """
    sums = window_sums(state)
    return _inside_bars(sums, sums.squared_ranges / (4.0 * math.log(2.0)))


def garman_klass(state: BarState) -> Estimates:
    """Range and close, ``Σ w ((u - d)² / 2 - (2 ln 2 - 1) c²) / Σ w T``, as `parkinson` but sharper.

    The paper's practical form, which is unbiased exactly and loses next to nothing against the one with
    the coefficients 0.511, 0.019 and 0.383.
    """
    sums = window_sums(state)
    variances = 0.5 * sums.squared_ranges - (2.0 * math.log(2.0) - 1.0) * sums.squared_moves
    return _inside_bars(sums, variances)


def rogers_satchell(state: BarState) -> Estimates:
    """Extremes against the close, ``Σ w (u (u - c) + d (d - c)) / Σ w T``: any drift, no jumps, no gaps."""
    sums = window_sums(state)
    return _inside_bars(sums, sums.rogers_satchell)


def yang_zhang(state: BarState) -> Estimates:
    """Jumps at the open, closes and extremes together: any drift, opening jumps and gaps included.

    ``V = V_o + k V_c + (1 - k) V_rs`` over the whole time from close to close: V_o and V_c are sample
    variances of o and c around their means, and ``k = 0.34 / (1.34 + (n + 1) / (n - 1))`` for n bars, the
    effective number of them where weights differ. For bars of one length; a shorter one counts as one bar.
    """
    sums = window_sums(state)
    bars = effective_observations(sums.bars, sums.squared_weights)
    is_enough = bars >= _LEAST_BARS_AROUND_A_MEAN
    jumps, jump_bars = _around_mean(
        sums.squared_jumps, sums.jumps, sums.bars, sums.squared_weights, sums.bars
    )
    moves, move_years = _around_mean(
        sums.squared_moves, sums.moves, sums.traded_years, sums.traded_years_of_squared_weights, sums.bars
    )
    opening = sums.bars * _ratio(jumps, jump_bars)
    closing = sums.traded_years * _ratio(moves, move_years)
    others = np.where(is_enough, bars, 2.0)
    k = 0.34 / (1.34 + (others + 1.0) / (others - 1.0))
    variances = opening + k * closing + (1.0 - k) * sums.rogers_satchell
    return annualised(variances, sums.years, bars, is_enough=is_enough)


def bipower(state: BarState) -> Estimates:
    """Products of neighbouring returns, ``(π/2) Σ w |r r'| / Σ w √(t t')``: jumps leave it nearly alone.

    A jump of size J adds a term of the order of J times an ordinary return instead of J², which vanishes as
    bars get shorter. What `ewma` shows beyond it is jumps. Too low where bars often close where they opened.
    """
    sums = window_sums(state)
    bars = effective_observations(sums.bars, sums.squared_weights)
    pairs = sums.adjacent_years > 0.0
    return annualised(0.5 * math.pi * sums.adjacent_products, sums.adjacent_years, bars, is_enough=pairs)


def _inside_bars(sums: BarSums[FloatArray], variances: FloatArray) -> Estimates:
    bars = effective_observations(sums.bars, sums.squared_weights)
    return annualised(variances, sums.traded_years, bars, is_enough=bars > 0.0)


def _around_mean(
    squares: FloatArray,
    values: FloatArray,
    clock: FloatArray,
    clock_of_squared_weights: FloatArray,
    bars: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Weighted squares around the weighted mean, and the part of the clock that they stand for.

    With values of variance σ² per unit of the clock around one mean, the first is σ² times the
    second on average.
    """
    divisors = np.where(bars > 0.0, bars, 1.0)
    return (
        np.maximum(squares - values * values / divisors, 0.0),
        np.maximum(clock - clock_of_squared_weights / divisors, 0.0),
    )


def _ratio(numerators: FloatArray, denominators: FloatArray) -> FloatArray:
    return numerators / np.where(denominators > 0.0, denominators, np.inf)
