"""A word in another currency is no newer than what converts it, which may be old, silent, or a circle."""

import pytest

from app.domain.market import Quality, TickKind
from app.oracle.declared import Declared, Pair, Source
from app.oracle.standing import Silence, standings
from tests.unit.oracle.test_ladder import BTC, SECOND, USDC, Market

HOUR = 3_600.0
COINS = {"usdc": Source(quote="USDC")}
SLOW = {"chainlink": Source(heartbeat_ns=round(HOUR) * SECOND), **COINS}


def bitcoin(market, *, after=0.0, value=110.0):
    """What bitcoin comes to, that only speaks in coins."""
    return market.tell(("usdc", BTC, value), after=after)


@pytest.mark.parametrize(
    ("seconds", "quality"),
    [
        (5.0, Quality.VALID),
        (5.1, Quality.STALE_FOR_TRADING),
        (60.0, Quality.STALE_FOR_TRADING),
        (60.1, Quality.INSUFFICIENT_SOURCES),
    ],
)
def test_what_is_converted_is_as_old_as_a_rate_that_is_stale(seconds, quality):
    market = Market(sources=COINS)
    market.step(("a", USDC, 0.9), ("usdc", BTC, 110.0))
    assert bitcoin(market, after=seconds).quality is quality


def test_the_ladder_of_the_rate_says_when_it_is_stale():
    market = Market(
        sources=COINS,
        ladders={USDC: {"stale_for_trading_ns": 30 * SECOND, "stale_for_margin_ns": 40 * SECOND}},
    )
    market.step(("a", USDC, 0.9), ("usdc", BTC, 110.0))
    found = [bitcoin(market, after=after).quality for after in (30.0, 1.0, 9.0, 0.1)]
    assert found == [
        Quality.VALID,
        Quality.STALE_FOR_TRADING,
        Quality.STALE_FOR_TRADING,
        Quality.INSUFFICIENT_SOURCES,
    ]


def test_one_who_is_not_converted_keeps_the_line_fresh():
    market = Market(sources=COINS)
    market.step(("a", USDC, 0.9), ("usdc", BTC, 110.0))
    both = market.tell(("usdc", BTC, 110.0), ("dollars", BTC, 99.0), after=20.0)
    assert (both.quality, both.sources) == (Quality.VALID, 2)


def test_a_rate_stands_until_the_heartbeat_of_its_source_is_over():
    market = Market(sources=SLOW)
    market.step(("chainlink", USDC, 0.9), ("usdc", BTC, 110.0))
    found = {}
    for second in (61.0, HOUR, HOUR + 5.0, HOUR + 6.0, HOUR + 60.0, HOUR + 60.1):
        found[second] = bitcoin(market, after=second - max(found, default=0.0)).quality
    assert found == {
        61.0: Quality.VALID,
        HOUR: Quality.VALID,
        HOUR + 5.0: Quality.VALID,
        HOUR + 6.0: Quality.STALE_FOR_TRADING,
        HOUR + 60.0: Quality.STALE_FOR_TRADING,
        HOUR + 60.1: Quality.INSUFFICIENT_SOURCES,
    }


def test_the_heartbeat_of_who_is_converted_makes_no_rate_last_longer():
    market = Market(sources={"usdc": Source(quote="USDC", heartbeat_ns=round(HOUR) * SECOND)})
    market.step(("a", USDC, 0.9), ("usdc", BTC, 110.0))
    assert bitcoin(market, after=61.0).quality is Quality.INSUFFICIENT_SOURCES


def test_a_rate_whose_sources_are_all_away_converts_nobody_in_the_same_entry():
    """Its source counts for two seconds only; the ladder alone would let it convert for a minute."""
    market = Market(sources=COINS | {"quick": Source(maximum_age_ns=2 * SECOND)})
    market.step(("quick", USDC, 0.9), ("usdc", BTC, 110.0))
    assert bitcoin(market, after=2.0).quality is Quality.VALID
    assert bitcoin(market, after=0.1).quality is Quality.INSUFFICIENT_SOURCES
    assert market.step(("quick", USDC, 0.8), ("usdc", BTC, 110.0))[BTC].value == pytest.approx(
        88.0, rel=1e-15
    )


def test_a_rate_that_disagrees_with_itself_does_not_outlive_its_sources():
    """Nothing is worse than too uncertain that time alone brings: its age is looked at."""
    market = Market(sources=COINS)
    market.step(("a", USDC, 0.9), ("b", USDC, 1.0), ("usdc", BTC, 110.0))
    assert market.step(("a", USDC, 0.9), ("usdc", BTC, 110.0))[USDC].quality is Quality.TOO_UNCERTAIN
    assert bitcoin(market, after=61.0).quality is Quality.INSUFFICIENT_SOURCES


def test_of_whom_nobody_speaks_what_is_converted_falls_with_its_rate():
    """The word itself counts for minutes; its rate does not."""
    market = Market(sources={"usdc": Source(quote="USDC", maximum_age_ns=600 * SECOND)})
    market.step(("a", USDC, 0.9), ("usdc", BTC, 110.0))
    told = {}
    for second in range(1, 63):
        market.now_ns += SECOND
        market.machine.heartbeat(wall_ns=market.now_ns)
        (frame,) = market.machine.frames()
        told |= {(change.instrument, change.quality): second for change in frame.changes}
    assert told == {
        (BTC, Quality.STALE_FOR_TRADING): 6,
        (USDC, Quality.STALE_FOR_TRADING): 6,
        (BTC, Quality.INSUFFICIENT_SOURCES): 61,
        (USDC, Quality.STALE_FOR_MARGIN): 61,
    }


def test_two_rates_that_convert_each_other_do_not_keep_each_other_new():
    """Two coins, each quoted in the other by one source, and for a moment one of them in dollars."""
    market = Market()
    market.machine.declare(
        instruments={name: Pair(*name.split("-"), is_spot=True) for name in ("A-USD", "C-USD")},
        declared=Declared(sources={"a": Source(quote="C"), "c": Source(quote="A")}),
    )
    market.step(("dollars", "A-USD", 2.0), ("a", "A-USD", 2.0), ("c", "C-USD", 0.5))
    for _ in range(61):
        told = market.step(("a", "A-USD", 2.0), ("c", "C-USD", 0.5), after=1.0)
    assert {name: change.quality for name, change in told.items()} == {
        "A-USD": Quality.STALE_FOR_MARGIN,
        "C-USD": Quality.INSUFFICIENT_SOURCES,
    }


@pytest.mark.parametrize(
    ("rate", "known"), [(1e-30, True), (1.0, True), (1e13, True), (1e14, False), (1e15, False)]
)
def test_what_is_converted_into_what_no_price_can_be_does_not_vote(rate, known):
    market = Market(sources=COINS)
    change = market.step(("a", USDC, rate), ("usdc", BTC, 1e2))
    assert (BTC in change) == known


def test_why_a_word_that_is_converted_does_not_vote():
    market = Market(sources=COINS | {"yen": Source(quote="JPY"), "away": Source(maximum_age_ns=SECOND)})

    def silences():
        lines = standings(
            market.machine.memory(),
            market.machine.declared,
            of_prices_ns=60 * SECOND,
            instruments=market.machine.instruments,
        )
        return {v.tick.source: v.silence(market.now_ns) for v in lines[TickKind.PRICE, BTC].sources}

    market.step(("usdc", BTC, 110.0), ("yen", BTC, 15_000.0), ("away", BTC, 99.0))
    assert silences() == {"usdc": Silence.NO_RATE, "yen": Silence.NO_MARKET, "away": None}
    market.step(("a", USDC, 0.9), after=2.0)
    assert silences() == {"usdc": None, "yen": Silence.NO_MARKET, "away": Silence.AWAY}
    market.step(("usdc", BTC, 110.0), after=60.1)
    assert silences()["usdc"] is Silence.NO_RATE
