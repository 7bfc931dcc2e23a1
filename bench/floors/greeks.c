/* Value, delta, gamma, vega, theta, vanna and volga of European options with a yield: the textbook's formulas, in
   one plain loop. gcc vectorises it with the vector exp, log and erfc of glibc's libmvec. The side of an option
   comes as +1.0 for a call and -1.0 for a put, which costs less than a flag. */

#include <math.h>
#include <stddef.h>

void greeks(size_t count, const double *restrict spots, const double *restrict strikes,
            const double *restrict years, const double *restrict volatilities, const double *restrict rates,
            const double *restrict yields, const double *restrict sides, double *restrict values,
            double *restrict deltas, double *restrict gammas, double *restrict vegas, double *restrict thetas,
            double *restrict vannas, double *restrict volgas) {
    for (size_t i = 0; i < count; i++) {
        double spot = spots[i], time = years[i], volatility = volatilities[i];
        double rate = rates[i], yield = yields[i], side = sides[i];
        double root = sqrt(time), width = volatility * root;
        double d1 = (log(spot / strikes[i]) + (rate - yield) * time) / width + 0.5 * width, d2 = d1 - width;
        double carried = exp(-yield * time), discounted = strikes[i] * exp(-rate * time);
        double density = 0.3989422804014327 * carried * exp(-0.5 * d1 * d1);
        double delta = side * carried * 0.5 * erfc(-side * d1 * M_SQRT1_2);
        double asset_leg = spot * delta;
        double strike_leg = side * discounted * 0.5 * erfc(-side * d2 * M_SQRT1_2);
        double vega = spot * density * root;
        values[i] = asset_leg - strike_leg;
        deltas[i] = delta;
        gammas[i] = density / (spot * width);
        vegas[i] = vega;
        thetas[i] = yield * asset_leg - rate * strike_leg - 0.5 * vega * volatility / time;
        vannas[i] = -density * d2 / volatility;
        volgas[i] = vega * d1 * d2 / volatility;
    }
}
