"""Calibration: what it recovers, what it shrugs off, and that it never ends with static arbitrage."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.quant.surface import (
    Calibration,
    JumpWings,
    RawSvi,
    SliceStatus,
    VolatilitySurface,
    arbitrage_report,
    calibrate_surface,
    from_jump_wings,
)

YEARS = np.array([1, 2, 3, 7, 14, 21, 30, 60, 90, 180, 270, 365]) / 365
EXPIRIES, STRIKES = 12, 60
HALF_SPREAD = 0.005


def _true_surface() -> VolatilitySurface:
    """Smiles as crypto has them: steep and round at the short end, free of arbitrage."""
    roots = np.sqrt(YEARS)
    wings = JumpWings(
        atm_variances=np.linspace(0.62, 0.55, EXPIRIES) ** 2,
        atm_skews=-0.12 * roots**0.5,
        left_slopes=0.95 - 0.3 * roots,
        right_slopes=0.75 - 0.2 * roots,
        minimum_variances=0.96 * np.linspace(0.62, 0.55, EXPIRIES) ** 2,
    )
    slices = from_jump_wings(wings=wings, years_to_expiry=YEARS)
    return VolatilitySurface(YEARS, 60_000.0 * np.exp(0.05 * YEARS), np.stack(slices, axis=1))


TRUTH = _true_surface()


class Quotes:
    """Sixty strikes for each of twelve expiries, bid and ask half a spread around the truth."""

    def __init__(self, half_spread: float = HALF_SPREAD, noise: float = 0.0, seed: int = 1) -> None:
        rng = np.random.default_rng(seed)
        self.expiries = np.repeat(np.arange(EXPIRIES), STRIKES)
        reach = 2.5 * 0.6 * np.sqrt(YEARS[self.expiries])
        k = np.tile(np.linspace(-1.0, 1.0, STRIKES), EXPIRIES) * reach
        self.strikes = TRUTH.forwards[self.expiries] * np.exp(k)
        found = TRUTH.evaluate(strikes=self.strikes, years_to_expiry=YEARS[self.expiries])
        self.truth = found.volatilities
        middles = self.truth + noise * rng.uniform(-1.0, 1.0, len(k))
        self.bids, self.asks = middles - half_spread, middles + half_spread

    def calibrated(self, **changes: object) -> Calibration:
        return calibrate_surface(**{
            "years_to_expiry": YEARS,
            "forwards": TRUTH.forwards,
            "expiry_indices": self.expiries,
            "strikes": self.strikes,
            "bid_volatilities": self.bids,
            "ask_volatilities": self.asks,
        } | changes)  # fmt: skip

    def errors(self, calibration: Calibration) -> np.ndarray:
        found = calibration.surface.evaluate(strikes=self.strikes, years_to_expiry=YEARS[self.expiries])
        return np.abs(found.volatilities - self.truth)


def test_the_truth_is_free_of_arbitrage():
    assert arbitrage_report(slices=TRUTH.slices).free


def test_a_surface_is_found_again_from_its_own_quotes():
    quotes = Quotes()
    calibration = quotes.calibrated()
    assert quotes.errors(calibration).max() < 0.25 * HALF_SPREAD  # the prior is weak, not absent
    assert calibration.inside.tolist() == calibration.two_sided.tolist() == [STRIKES] * EXPIRIES
    assert np.all(calibration.statuses == SliceStatus.FITTED)
    assert arbitrage_report(slices=calibration.surface.slices).free


def test_quotes_without_spread_are_met_by_vega():
    quotes = Quotes(half_spread=0.0)
    assert quotes.errors(quotes.calibrated()).max() < 5e-4


def test_warm_and_cold_end_at_the_same_surface():
    before, now = Quotes(noise=0.003, seed=2), Quotes(noise=0.003, seed=3)
    cold = now.calibrated()
    warm = now.calibrated(last_surface=before.calibrated().surface)
    difference = np.abs(np.array(warm.surface.slices) / np.array(cold.surface.slices) - 1.0)
    assert np.abs(now.errors(warm) - now.errors(cold)).max() < 2e-4
    assert difference.max() < 0.1  # single parameters are determined far less well than the smile


def test_a_bad_last_surface_is_noticed():
    quotes = Quotes(noise=0.003)
    nonsense = VolatilitySurface(YEARS[3:4], TRUTH.forwards[:1], np.array([[0.9, 1.5, 0.9, -0.8, 0.01]]))
    cold, warm = quotes.calibrated(), quotes.calibrated(last_surface=nonsense)
    assert np.abs(quotes.errors(warm) - quotes.errors(cold)).max() < 2e-4


def test_the_same_quotes_in_another_order_give_the_same_smiles():
    quotes = Quotes(noise=0.003)
    order = np.random.default_rng(5).permutation(len(quotes.strikes))
    shuffled = quotes.calibrated(
        expiry_indices=quotes.expiries[order],
        strikes=quotes.strikes[order],
        bid_volatilities=quotes.bids[order],
        ask_volatilities=quotes.asks[order],
    )
    np.testing.assert_array_equal(shuffled.surface.parameters, quotes.calibrated().surface.parameters)


@pytest.mark.parametrize("points", [0.3, -0.3, 3.0])
def test_an_outlier_in_twelve_moves_no_smile_by_half_a_spread(points: float):
    quotes = Quotes(noise=0.002)
    plain = quotes.errors(quotes.calibrated())
    wrong = np.arange(5, len(quotes.strikes), 12)
    quotes.bids[wrong] += points
    quotes.asks[wrong] += points
    assert quotes.errors(quotes.calibrated()).max() < plain.max() + HALF_SPREAD


def test_what_is_no_quote_is_left_out_and_a_missing_side_is_a_bound():
    quotes = Quotes()
    quotes.bids[:4] = [np.nan, -0.1, 0.9, 0.0]  # the third is crossed, the fourth has no bid
    quotes.asks[3] = 0.0
    quotes.strikes[4:6] = [0.0, np.inf]
    quotes.bids[6] = 0.0
    calibration = quotes.calibrated()
    assert calibration.two_sided[0] == STRIKES - 7
    assert quotes.errors(calibration)[7:].max() < 2e-3
    cap = quotes.truth[30] - 0.02  # asks alone, below everything: the smile gives way to them
    capped = quotes.calibrated(
        bid_volatilities=np.where(np.arange(len(quotes.bids)) % 2, quotes.bids, 0.0),
        ask_volatilities=np.where(np.arange(len(quotes.bids)) % 2, quotes.asks, np.minimum(cap, quotes.asks)),
    )
    near = 30
    found = capped.surface.evaluate(strikes=quotes.strikes[near], years_to_expiry=YEARS[0]).volatilities
    assert found < quotes.truth[near] - 0.002


def test_an_expiry_without_two_sided_quotes_has_no_slice_and_one_with_few_says_so():
    quotes = Quotes()
    third, fourth = quotes.expiries == 2, quotes.expiries == 3
    quotes.bids[third] = 0.0
    quotes.bids[fourth] = np.where(np.arange(fourth.sum()) == 30, quotes.bids[fourth], 0.0)
    calibration = quotes.calibrated()
    assert calibration.statuses[2:4].tolist() == [SliceStatus.NO_QUOTES, SliceStatus.FEW_QUOTES]
    assert len(calibration.surface.years_to_expiry) == EXPIRIES - 1
    assert calibration.two_sided[2:4].tolist() == [0, 1]
    assert arbitrage_report(slices=calibration.surface.slices).free


def test_no_quotes_at_all_give_an_empty_surface():
    calibration = calibrate_surface(
        years_to_expiry=[0.1, 0.2],
        forwards=[1.0, 1.0],
        expiry_indices=[],
        strikes=[],
        bid_volatilities=[],
        ask_volatilities=[],
    )
    assert calibration.statuses.tolist() == [SliceStatus.NO_QUOTES] * 2
    assert len(calibration.surface.years_to_expiry) == 0


@pytest.mark.parametrize("index", [-1, EXPIRIES])
def test_a_quote_of_no_expiry_is_refused(index: int):
    with pytest.raises(ValueError, match="none of the expiries"):
        Quotes().calibrated(expiry_indices=np.full(EXPIRIES * STRIKES, index))


def test_quotes_of_an_inverted_term_structure_are_met_without_calendar_spreads():
    """Total variance at the forward falls from the second to the third expiry: somebody has to give way."""
    quotes = Quotes()
    for index, level in ((1, 1.4), (2, 0.5)):
        of_expiry = quotes.expiries == index
        quotes.bids[of_expiry] *= level
        quotes.asks[of_expiry] *= level
    calibration = quotes.calibrated()
    assert arbitrage_report(slices=calibration.surface.slices).free
    assert calibration.inside[4:].tolist() == [STRIKES] * (EXPIRIES - 4)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(0, 9), st.floats(0.0, 1.0))
def test_whatever_is_quoted_no_calibration_ends_with_arbitrage(
    seed: int, expiries: int, count: int, wild: float
):
    rng = np.random.default_rng(seed)
    years = np.sort(rng.uniform(0.0005, 1.5, expiries)) + 1e-6 * np.arange(expiries)
    indices = np.repeat(np.arange(expiries), count)
    k = rng.normal(size=len(indices)) * np.sqrt(years[indices]) * rng.choice([0.3, 1.0, 3.0])
    volatilities = 0.6 * np.exp(wild * rng.normal(size=len(indices)))
    half = 0.3 * volatilities * rng.uniform(size=len(indices))
    sides = rng.uniform(size=(2, len(indices))) > 0.1
    calibration = calibrate_surface(
        years_to_expiry=years,
        forwards=np.full(expiries, 100.0),
        expiry_indices=indices,
        strikes=100.0 * np.exp(k),
        bid_volatilities=(volatilities - half) * sides[0],
        ask_volatilities=(volatilities + half) * sides[1],
    )
    report = arbitrage_report(slices=calibration.surface.slices)
    assert report.free, (calibration.statuses, report)
    slices = RawSvi(*calibration.surface.parameters.T)
    assert np.all(np.asarray(slices.widths) > 0.0)
