"""Float64 array kernels: what a position is worth, how it moves, and what margin it needs.

The conventions, once for the whole package:

- Time is in years of 365 days (ACT/365: these markets never close). Volatilities are annualised decimals
  (0.65, not 65), rates and dividend yields are annual and continuously compounded.
- Greeks are raw derivatives: vega per 1.00 of volatility, theta per year of calendar time passing, rho per
  1.00 of rate. Scaling to points, days or an exchange's habits happens in the named functions of
  `app.quant.conventions` and nowhere else.
- Quantities are signed (short is negative). Prices are quote currency per coin; a figure in coin says so.
- Arguments are keyword-only and broadcast as numpy does; results have the broadcast shape. Scalars give
  scalars, or arrays of no dimensions.
- Kernels that can be asked something without an answer return values and a status per element. Where the
  status is an error the values are 0.0, never NaN and never infinite. The rest is plain arithmetic whose
  requirements (positive prices) its docstring states.
- Results are elementwise: each element depends on its own inputs only, to the bit, whatever its
  neighbours, the array's length or its strides. Where a figure is a sum, of a book or of a window, it is
  made one term after the other in stored order. Transcendental functions are arithmetic written out
  (`app.quant.normal`), or see fresh contiguous columns only (`app.quant.arrays`).
- No I/O, no clock, no randomness, no state.
"""
