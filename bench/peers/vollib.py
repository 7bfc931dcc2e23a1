"""`python -m bench.peers.vollib COUNT`: price and four greeks; there is no vanna and no volga in it."""

import sys

import numpy as np
from py_vollib_vectorized import (
    vectorized_black_scholes_merton,
    vectorized_delta,
    vectorized_gamma,
    vectorized_theta,
    vectorized_vega,
)

from bench.drivers.option_columns import option_columns, report

GREEKS = (vectorized_delta, vectorized_gamma, vectorized_vega, vectorized_theta)


def main() -> None:
    count = int(sys.argv[1])
    spots, strikes, years, volatilities, rates, yields, is_call = option_columns(count)
    flags = np.where(is_call, "c", "p")
    arguments = (flags, spots, strikes, years, rates, volatilities, yields)

    def price() -> None:
        vectorized_black_scholes_merton(*arguments, return_as="numpy")
        for greek in GREEKS:
            greek(*arguments, model="black_scholes_merton", return_as="numpy")

    report(price, count)


if __name__ == "__main__":
    main()
