/* A book of options on a grid of spot and volatility shocks: five sums in each cell, in the order of the positions.
 *
 * The same pricing work as anybody's, as plain loops that gcc turns into vectors (-O3 -march=native -ffast-math):
 * logarithms once for each position and each shock, one exponential and two rational tails for each cell.
 */
#include <math.h>

static inline double tail(double z, double exponential)
{
    double above = 3.52624965998911e-02 * z + 0.700383064443688;
    above = above * z + 6.37396220353165;
    above = above * z + 33.912866078383;
    above = above * z + 112.079291497871;
    above = above * z + 221.213596169931;
    above = above * z + 220.206867912376;
    double below = 8.83883476483184e-02 * z + 1.75566716318264;
    below = below * z + 16.064177579207;
    below = below * z + 86.7807322029461;
    below = below * z + 296.564248779674;
    below = below * z + 637.333633378831;
    below = below * z + 793.826512519948;
    below = below * z + 440.413735824752;
    return exponential * (above / below);
}

/* Every array of cells is `cells` long, the sums five times that. A short put's margin is the larger of two. */
void grid(long positions, const double *moneyness, const double *strikes, const double *signs, const double *units,
          const double *volatilities, const double *years, const double *margins, const double *put_margins,
          long cells, const double *restrict factors, const double *restrict logarithms,
          const double *restrict vol_factors, double *restrict sums)
{
    double *restrict equity = sums, *restrict maintenance = sums + cells, *restrict delta = sums + 2 * cells;
    double *restrict gamma = sums + 3 * cells, *restrict vega = sums + 4 * cells;
    for (long i = 0; i < positions; i++) {
        double at_strike = moneyness[i], logarithm = log(moneyness[i]), sign = signs[i], root = sqrt(years[i]);
        double scale = units[i] * strikes[i], margin = margins[i], put_margin = put_margins[i];
        double width_now = volatilities[i] * root;
#pragma GCC ivdep
        for (long c = 0; c < cells; c++) {
            double m = at_strike * factors[c], width = width_now * vol_factors[c];
            double per_width = 1.0 / width;
            double d1 = (logarithm + logarithms[c]) * per_width + 0.5 * width, d2 = d1 - width;
            double exponential = exp(-0.5 * d1 * d1);
            double tail1 = tail(fmin(fabs(d1), 38.0), exponential);
            double tail2 = tail(fmin(fabs(d2), 38.0), exponential * m);
            double asset = sign * d1 > 0.0 ? 1.0 - tail1 : tail1, cash = sign * d2 > 0.0 ? 1.0 - tail2 : tail2;
            double value = fmax(sign * (m * asset - cash), 0.0), weight = scale * m;
            double density = weight * 0.3989422804014327 * exponential;
            equity[c] += scale * value;
            maintenance[c] += fmax(margin * factors[c], put_margin * value);
            delta[c] += weight * sign * asset;
            gamma[c] += density * per_width;
            vega[c] += density * root;
        }
    }
}
