import itertools
from datetime import timedelta

import numpy as np
import pytest

from app.domain.errors import InvalidInput
from app.domain.market import TickKind
from app.lab.demo_market import DEFAULT_DYNAMICS, DemoMarket, Dynamics, Feed, default_feeds

HOURS_PER_YEAR = 8_760


def hourly_returns(market, hours):
    """Hourly log returns, underlying by underlying."""
    levels = [list(market.prices.values())]
    for _ in range(hours):
        market.advance()
        levels.append(list(market.prices.values()))
    return np.diff(np.log(levels), axis=0)


def hourly(seed, **options):
    return DemoMarket(seed, interval=timedelta(seconds=1), speed=3_600.0, **options)


def test_the_same_seed_gives_the_same_ticks_and_another_seed_others():
    first, second, other = DemoMarket(7), DemoMarket(7), DemoMarket(8)
    one = [first.step(time_ns) for time_ns in range(200)]
    assert one == [second.step(time_ns) for time_ns in range(200)]
    assert one != [other.step(time_ns) for time_ns in range(200)]


def test_it_goes_on_where_it_stopped():
    whole = DemoMarket(3)
    entries = [whole.step(time_ns) for time_ns in range(300)]
    steps_done = DemoMarket.steps_of(max(tick.sequence for tick in entries[249]))
    assert steps_done == 250
    rest = DemoMarket(3, steps_done=steps_done)
    assert [rest.step(time_ns) for time_ns in range(250, 300)] == entries[250:]


def test_what_time_it_is_changes_stamps_and_nothing_else():
    here, there = DemoMarket(5), DemoMarket(5)
    for now_ns in range(0, 10**9, 10**8):
        assert [(tick.source, tick.instrument, tick.value) for tick in here.step(now_ns)] == [
            (tick.source, tick.instrument, tick.value) for tick in there.step(3 * now_ns + 17)
        ]


def test_one_entry_holds_every_instrument_from_every_source_and_calls_itself_simulated():
    market = DemoMarket(
        1, feeds=default_feeds(["BTC", "ETH", "SOL"], options=[("BTC-31DEC26-100000-C", "BTC")])
    )
    entries = [market.step(time_ns) for time_ns in range(600)]
    first = entries[0]
    assert {tick.source for tick in first} == {"sim-a", "sim-b", "sim-c"}
    expected = {"USDT-USD", "BTC-31DEC26-100000-C"} | {
        name + suffix for name in ("BTC", "ETH", "SOL") for suffix in ("-USDT", "-USDT-PERP", "-USD-PERP")
    }
    assert {tick.instrument for tick in first} == expected
    ticks = list(itertools.chain.from_iterable(entries))
    assert all(tick.value > 0 for tick in ticks if tick.kind is not TickKind.FUNDING_RATE)
    assert all(tick.confidence > 0 for tick in ticks if tick.kind is not TickKind.FUNDING_RATE)
    funding = [entry for entry in entries if any(tick.kind is TickKind.FUNDING_RATE for tick in entry)]
    assert len(funding) == 30  # 600 steps of three minutes are thirty hours


def test_sequences_of_a_source_and_instrument_only_rise():
    market = DemoMarket(1)
    last = {}
    for time_ns in range(100):
        for tick in market.step(time_ns):
            key = tick.source, tick.instrument
            assert tick.sequence > last.get(key, 0)
            last[key] = tick.sequence


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_long_run_realises_the_configured_volatility(seed):
    """Two simulated years: within 10 %, about twice what jumps and slow variance leave undetermined."""
    market = hourly(seed)
    realised = hourly_returns(market, 2 * HOURS_PER_YEAR).std(axis=0) * np.sqrt(HOURS_PER_YEAR)
    assert realised == pytest.approx(list(market.total_volatilities_annual.values()), rel=0.10)


def test_without_jumps_and_with_steady_variance_it_is_geometric_brownian_motion():
    calm = [Dynamics(underlying="BTC", price=100.0, volatility_annual=0.5, volatility_of_variance=0.0)]
    market = hourly(11, dynamics=calm, jumps_per_year=0.0)
    returns = hourly_returns(market, HOURS_PER_YEAR)[:, 0]
    # The standard error of a volatility from n normal returns is 1/√(2n): 0.76 % here.
    assert returns.std() * np.sqrt(HOURS_PER_YEAR) == pytest.approx(0.5, rel=0.025)
    excess_kurtosis = np.mean(((returns - returns.mean()) / returns.std()) ** 4) - 3
    assert abs(excess_kurtosis) < 4 * np.sqrt(24 / len(returns))


def test_speed_is_time_and_so_volatility_grows_with_its_root():
    calm = [Dynamics(underlying="BTC", price=100.0, volatility_of_variance=0.0)]
    slow, fast = (DemoMarket(4, dynamics=calm, jumps_per_year=0.0, speed=speed) for speed in (600.0, 2_400.0))
    assert hourly_returns(fast, 2_000).std() == pytest.approx(2 * hourly_returns(slow, 2_000).std(), rel=1e-3)


def test_underlyings_move_together_and_jumps_are_seen():
    returns = hourly_returns(hourly(2), HOURS_PER_YEAR)
    correlations = np.corrcoef(returns.T)[np.triu_indices(3, k=1)]
    assert correlations == pytest.approx(0.8, abs=0.05)
    # The largest of 8,760 normal returns lies at about four standard deviations.
    assert (np.abs(returns).max(axis=0) > 6 * returns.std(axis=0)).all()


def test_the_price_is_a_martingale():
    """Mean of S_T / S_0 over many short paths, within four standard errors of 1."""
    growth = []
    for seed in range(300):
        market = DemoMarket(seed, speed=36_000.0, interval=timedelta(seconds=2), steps_done=50)
        start = {each.underlying: each.price for each in DEFAULT_DYNAMICS}
        growth.append([market.prices[name] / start[name] for name in start])
    means, deviations = np.mean(growth, axis=0), np.std(growth, axis=0)
    assert (np.abs(means - 1) < 4 * deviations / np.sqrt(len(growth))).all()


def test_instruments_of_one_underlying_hang_together():
    market = DemoMarket(9)
    for time_ns in range(300):
        values = {
            tick.instrument: tick.value
            for tick in market.step(time_ns)
            if tick.source == "sim-a" and tick.kind is TickKind.PRICE
        }
        spot_usd = market.prices["BTC"]
        assert values["USDT-USD"] == pytest.approx(1.0, abs=5e-3)
        assert values["BTC-USDT"] * values["USDT-USD"] == pytest.approx(spot_usd, rel=5e-4)
        assert values["BTC-USD-PERP"] == pytest.approx(spot_usd, rel=5e-3)
        assert values["BTC-USDT-PERP"] == pytest.approx(values["BTC-USDT"], rel=5e-3)


def test_sources_disagree_within_the_confidence_they_claim():
    market = DemoMarket(6, feeds=[Feed(instrument="BTC-USD", underlying="BTC", currency="USD")])
    errors = []
    for time_ns in range(2_000):
        ticks = market.step(time_ns)
        errors += [(tick.value - market.prices["BTC"]) / tick.confidence for tick in ticks]
    assert len(set(errors)) == len(errors)
    # The confidence is two standard deviations: 95.4 % of a normal error lie within.
    assert np.mean(np.abs(errors) <= 1) == pytest.approx(0.954, abs=0.012)


def test_implied_volatility_is_near_what_will_be_realised():
    option = Feed(instrument="O", underlying="ETH", kind=TickKind.IMPLIED_VOL, horizon=timedelta(days=3_650))
    market = DemoMarket(6, feeds=[option])
    quoted = np.mean([tick.value for tick in market.step(0)])
    assert quoted == pytest.approx(market.total_volatilities_annual["ETH"], rel=0.02)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"speed": 0.0}, "speed"),
        ({"correlation": 1.0}, "correlation"),
        ({"sources": ["binance"]}, "begin with sim-"),
        ({"feeds": [Feed(instrument="DOGE-USDT", underlying="DOGE")]}, "no dynamics for DOGE"),
    ],
)
def test_a_market_that_cannot_be_meant_is_refused(options, complaint):
    with pytest.raises(InvalidInput, match=complaint):
        DemoMarket(1, **options)
