"""No-trade bands: published figures, the published formulas to full precision, and their laws."""

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.quant.black_scholes import black_76
from app.quant.no_trade_bands import no_trade_bands

# Sinclair's figures, "Volatility Trading", chapter 4: one year, volatility 0.3, costs of 2 percent, no rates,
# a risk aversion of one; and, as his curves fit, a price of 100. The gamma is that at a delta of 0.5.
SINCLAIR = {"prices": 100.0, "cost_rates": 0.02, "risk_aversions": 1.0, "years": 1.0, "volatilities": 0.3}
SINCLAIR_GAMMA = 1.0 / np.sqrt(2.0 * np.pi) / 30.0


def test_whalley_and_wilmott_as_quotesim_prints_them():
    """README of charlieyanhx/quotesim, "Whalley-Wilmott band": S 100, λ 1e-4, Γ 0.0695, 30 days, no rates."""
    bands = no_trade_bands(
        gammas=0.0695, prices=100.0, cost_rates=1e-4, risk_aversions=[1.0, 10.0, 50.0], years=30 / 365,
        volatilities=0.2,
    )  # fmt: skip
    assert [f"{band:.4f}" for band in bands.whalley_wilmott] == ["0.0417", "0.0194", "0.0113"]


def test_whalley_and_wilmott_as_pfhedge_documents_them():
    """`pfhedge.nn.WhalleyWilmott`: a hedge of 0.5 is moved to 0.2946 where the delta is 0.2239, to 0.7284
    where it is 0.7945; and is left alone in between. Cost 1e-5, strike 1, 0.1 years, volatility 0.2, a = 1.
    """
    spots = np.exp([-0.05, -0.01, 0.0, 0.01, 0.05])
    option = black_76(forwards=spots, strikes=1.0, years_to_expiry=0.1, volatilities=0.2, is_call=True)
    bands = no_trade_bands(
        gammas=option.gammas, prices=spots, cost_rates=1e-5, risk_aversions=1.0, years=0.1, volatilities=0.2
    )
    below, above = option.deltas - bands.whalley_wilmott, option.deltas + bands.whalley_wilmott
    assert [f"{delta:.4f}" for delta in option.deltas] == ["0.2239", "0.4497", "0.5126", "0.5752", "0.7945"]
    moved = np.clip(0.5, below, above)
    assert [f"{hedge:.4f}" for hedge in moved] == ["0.2946", "0.5000", "0.5000", "0.5000", "0.7284"]


def test_the_published_formulas_to_full_precision():
    """As the module states them, in 30 digits (mpmath)."""
    long, short = (no_trade_bands(gammas=gamma, **SINCLAIR) for gamma in (SINCLAIR_GAMMA, -SINCLAIR_GAMMA))
    assert long.whalley_wilmott == pytest.approx(0.0809530021001760, rel=1e-14)
    assert long.zakamouline == pytest.approx(0.00222222222222222 + 0.0518980945826670, rel=1e-14)
    assert long.modified_volatilities == pytest.approx(0.181635171596297, rel=1e-14)
    assert short.modified_volatilities == pytest.approx(0.383417089393762, rel=1e-14)
    assert short[:2] == long[:2]
    other = no_trade_bands(
        gammas=-0.02, prices=3000.0, cost_rates=0.0007, risk_aversions=0.01, years=0.08, volatilities=0.6,
        rates=0.05,
    )  # fmt: skip
    assert other.whalley_wilmott == pytest.approx(0.500661799200289, rel=1e-14)
    assert other.zakamouline == pytest.approx(0.000810185185185185 + 0.166684725884276, rel=1e-14)
    assert other.modified_volatilities == pytest.approx(0.617895054553688, rel=1e-14)


@pytest.mark.parametrize(
    ("delta", "below", "above"),
    [(0.1, -0.03, 0.045), (0.3, 0.05, 0.155), (0.5, 0.355, 0.465), (0.7, 0.74, 0.845)],
)
def test_the_width_of_the_bands_that_sinclair_draws(delta, below, above):
    """Zakamouline's band of a long call, read off to a hundredth: half of it to five thousandths."""
    d1 = NormalDist().inv_cdf(delta)
    gamma = NormalDist().pdf(d1) / (100.0 * 0.3)
    assert no_trade_bands(gammas=gamma, **SINCLAIR).zakamouline == pytest.approx(
        (above - below) / 2, abs=0.005
    )


def test_without_gamma_whalley_and_wilmott_hedge_at_once_and_zakamouline_leaves_h0():
    bands = no_trade_bands(gammas=0.0, **SINCLAIR)
    assert bands.whalley_wilmott == 0.0
    assert bands.zakamouline == pytest.approx(0.02 / (100.0 * 0.3**2), rel=1e-15)
    assert bands.modified_volatilities == 0.3


def test_without_costs_there_is_no_band():
    bands = no_trade_bands(gammas=SINCLAIR_GAMMA, **{**SINCLAIR, "cost_rates": 0.0})
    assert bands == (0.0, 0.0, 0.3)


def test_costs_that_eat_the_whole_volatility_leave_none():
    assert no_trade_bands(gammas=10.0, **{**SINCLAIR, "cost_rates": 0.1}).modified_volatilities == 0.0


def test_h0_has_no_bound_where_no_time_is_left():
    assert no_trade_bands(gammas=0.1, **{**SINCLAIR, "years": 0.0}).zakamouline == np.inf


@pytest.mark.parametrize("unknown", ["gammas", *SINCLAIR])
def test_what_is_unknown_stays_unknown(unknown):
    bands = no_trade_bands(**{"gammas": 0.01, **SINCLAIR, unknown: np.nan})
    assert np.isnan(bands.zakamouline)
    assert np.isnan(bands.modified_volatilities)
    assert np.isnan(bands.whalley_wilmott) == (unknown != "volatilities")


@given(
    gamma=st.floats(-10.0, 10.0),
    price=st.floats(0.01, 1e6),
    cost=st.floats(1e-6, 0.05),
    aversion=st.floats(1e-8, 10.0),
    years=st.floats(1e-3, 2.0),
    volatility=st.floats(0.05, 3.0),
    size=st.floats(0.01, 1e4),
)
def test_a_position_n_times_as_large_has_n_times_the_band_at_a_share_of_the_aversion(
    gamma, price, cost, aversion, years, volatility, size
):
    market = {"prices": price, "cost_rates": cost, "years": years, "volatilities": volatility}
    one = no_trade_bands(gammas=gamma, risk_aversions=aversion, **market)
    many = no_trade_bands(gammas=gamma * size, risk_aversions=aversion / size, **market)
    assert many.whalley_wilmott == pytest.approx(one.whalley_wilmott * size, rel=1e-12, abs=1e-200)
    assert many.zakamouline == pytest.approx(one.zakamouline * size, rel=1e-12)
    assert many.modified_volatilities == pytest.approx(one.modified_volatilities, rel=1e-6)


def test_an_element_does_not_depend_on_its_neighbours():
    draw = np.random.default_rng(5)
    columns = {
        "gammas": draw.normal(0.0, 0.1, 101), "prices": draw.uniform(1.0, 1e5, 101),
        "cost_rates": draw.uniform(0.0, 0.01, 101), "risk_aversions": draw.uniform(1e-6, 1.0, 101),
        "years": draw.uniform(0.01, 1.0, 101), "volatilities": draw.uniform(0.1, 2.0, 101),
    }  # fmt: skip
    together = no_trade_bands(**columns)
    for at in range(101):
        alone = no_trade_bands(**{name: column[at] for name, column in columns.items()})
        assert [float(band) for band in alone] == [float(bands[at]) for bands in together]
