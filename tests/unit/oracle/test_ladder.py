"""From votes to a state: quorums, the ladder, doubts that show and pass, conversion, and averages."""

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.market import Change, Quality, Rejection, Tick, TickKind
from app.oracle.consensus import aggregate
from app.oracle.declared import Declared, Ladder, Pair, Quorum, Source, Standard
from app.oracle.memory import Memory
from app.oracle.sequencer import ClockMode, Sequencer
from app.oracle.standing import standings

NOW_NS = 1_767_225_600_000_000_000
SECOND = 1_000_000_000
BTC, USDC = "BTC-USD", "USDC-USD"
PAIRS = {
    BTC: Pair("BTC", "USD", is_spot=True),
    USDC: Pair("USDC", "USD", is_spot=True),
    "USD-EUR": Pair("USD", "EUR", is_spot=True),
    "BTC-USD-PERP": Pair("BTC", "USD", is_spot=False),
}


class Market:
    """A sequencer, its clock, and everybody's next sequence."""

    def __init__(self, *, clock=ClockMode.LIVE, memory=None, **declared):
        self.now_ns = NOW_NS
        self._sequence = 0
        self.machine = Sequencer(
            generation=1,
            sequence=0,
            time_ns=NOW_NS,
            clock=clock,
            instruments=PAIRS,
            declared=Declared(**declared),
            memory=memory,
        )

    def step(self, *quotes, after=0.0, kind=TickKind.PRICE):
        """One entry of (source, instrument, value[, confidence[, age]]): changes by instrument."""
        self.now_ns += round(after * SECOND)
        ticks = []
        for source, instrument, value, *rest in quotes:
            confidence, age = (*rest, 0.0, 0.0)[:2] if len(rest) < 2 else rest
            self._sequence += 1
            time_ns = self.now_ns - round(age * SECOND)
            ticks.append(Tick(kind, source, instrument, self._sequence, time_ns, value, confidence))
        taken = self.machine.take(entry="1-0", ticks=ticks, wall_ns=self.now_ns)
        self.refused = [refusal.reason for _, refusal in taken.rejected]
        self.machine.close(wall_ns=self.now_ns)
        return {change.instrument: change for frame in self.machine.frames() for change in frame.changes}

    def tell(self, *quotes, **terms):
        """The same for the one instrument that the quotes are of."""
        return self.step(*quotes, **terms)[quotes[0][1]]

    @property
    def doubts(self):
        return {doubt.source: doubt.halvings for doubt in self.machine.memory().doubts}


# --- quorum


def test_below_the_quorum_the_last_consensus_stands_and_says_so():
    market = Market(quorums={BTC: {"sources": 2}})
    assert market.step(("a", BTC, 100.0)) == {}, "unknown is no number"
    known = market.tell(("b", BTC, 102.0))
    assert (known.value, known.sources, known.quality) == (101.0, 2, Quality.VALID)
    late = market.tell(("b", BTC, 500.0), after=61.0)
    assert late == Change(
        TickKind.PRICE, BTC, 101.0, known.confidence, 1, Quality.INSUFFICIENT_SOURCES, known.time_ns
    )
    again = market.tell(("a", BTC, 102.0), ("b", BTC, 102.0), after=1.0)
    assert (again.value, again.quality) == (102.0, Quality.VALID)


def test_a_quorum_may_be_of_weight():
    market = Market(
        quorums={BTC: {"weight": 1.5}}, sources={"light": Source(weight=0.5), "heavy": Source(weight=1.0)}
    )
    assert market.step(("light", BTC, 100.0)) == {}
    assert market.tell(("heavy", BTC, 100.0)).quality is Quality.VALID


def test_a_quorum_is_of_one_instrument():
    market = Market(quorums={BTC: {"sources": 2}})
    assert market.tell(("a", USDC, 1.0)).quality is Quality.VALID


# --- the ladder


def test_the_rungs_are_in_the_order_of_severity():
    assert [quality.name for quality in reversed(Quality)] == [
        "NON_POSITIVE",
        "TOO_VOLATILE",
        "TOO_UNCERTAIN",
        "INSUFFICIENT_SOURCES",
        "STALE_FOR_MARGIN",
        "STALE_FOR_TRADING",
        "DIVERGING",
        "VALID",
    ]


@pytest.mark.parametrize(
    ("value", "confidence", "age", "expected"),
    [
        (100.0, 2.0, 5.0, Quality.VALID),
        (100.0, 2.1, 5.0, Quality.TOO_UNCERTAIN),
        (100.0, 0.0, 5.1, Quality.STALE_FOR_TRADING),
        (100.0, 2.1, 5.1, Quality.TOO_UNCERTAIN),
        (100.0, 0.0, 60.0, Quality.STALE_FOR_TRADING),
        (150.0, 0.0, 0.0, Quality.VALID),
        (151.0, 0.0, 0.0, Quality.DIVERGING),
        (49.0, 0.0, 0.0, Quality.DIVERGING),
        (151.0, 0.0, 6.0, Quality.STALE_FOR_TRADING),
        (500.0, 0.0, 0.0, Quality.DIVERGING),
        (501.0, 0.0, 0.0, Quality.TOO_VOLATILE),
        (19.9, 0.0, 0.0, Quality.TOO_VOLATILE),
        (600.0, 50.0, 30.0, Quality.TOO_VOLATILE),
    ],
)
def test_the_most_severe_that_is_true(value, confidence, age, expected):
    market = Market()
    market.tell(("a", BTC, 100.0, 0.0))
    change = market.tell(("a", BTC, value, confidence, age), after=60.0)
    assert (change.value, change.quality) == (value, expected)


def test_thresholds_are_an_instruments_own():
    market = Market(ladders={BTC: {"uncertain_fraction": 0.5, "stale_for_trading_ns": SECOND}})
    assert market.tell(("a", BTC, 100.0, 40.0)).quality is Quality.VALID
    assert market.tell(("a", BTC, 100.0, 0.0, 2.0)).quality is Quality.STALE_FOR_TRADING
    assert market.tell(("a", USDC, 1.0, 0.4)).quality is Quality.TOO_UNCERTAIN


def test_where_nobody_is_fresh_the_newest_stands_and_is_stale():
    """An entry of a replay may carry the clock past its own first ticks."""
    market = Market(clock=ClockMode.REPLAY)
    change = market.step(("a", BTC, 100.0), ("b", BTC, 101.0, 0.0, -1.0), ("c", USDC, 1.0, 0.0, -90.0))[BTC]
    assert (change.value, change.sources, change.quality) == (101.0, 0, Quality.STALE_FOR_MARGIN)


def test_two_halves_that_disagree_are_too_uncertain_though_each_is_sure():
    """Their confidence is half of the distance; that of their quartiles is all of it."""
    market = Market()
    change = market.tell(*((source, BTC, 100.0 if source < "c" else 102.1) for source in "abcd"))
    assert change.confidence < 0.02 * change.value
    assert change.quality is Quality.TOO_UNCERTAIN


@given(st.floats(min_value=-1.0, max_value=1.0), st.floats(min_value=-1.0, max_value=1.0))
def test_rates_do_not_jump_or_diverge(first, second):
    """Ratios to an average say nothing about what may be zero or negative."""
    market = Market()
    for value in (first, second):
        change = market.tell(("a", BTC, value, 1.0), kind=TickKind.FUNDING_RATE, after=1.0)
        assert (change.value, change.quality) == (value, Quality.VALID)


# --- other kinds

GAS, DEPTH = "ethereum", "binance/BTC-USD/50bps"


def test_a_kind_has_a_quorum_of_its_own_and_an_instrument_one_of_its_prices():
    market = Market(
        quorums={BTC: {"sources": 2}},
        kinds={TickKind.FUNDING_RATE: Standard(quorum=Quorum(sources=3))},
    )
    rates = [(source, BTC, 0.0001) for source in "abc"]
    assert market.step(*rates[:2], kind=TickKind.FUNDING_RATE) == {}
    assert market.tell(*rates[2:], kind=TickKind.FUNDING_RATE).sources == 3
    assert market.tell(("a", BTC, 0.5), kind=TickKind.IMPLIED_VOL).sources == 1
    assert market.step(("a", BTC, 100.0)) == {}


def test_thresholds_of_a_kind_hold_for_all_that_is_told_of_it():
    market = Market(kinds={TickKind.GAS_PRICE: Standard(Ladder(stale_for_trading_ns=SECOND))})
    assert (
        market.tell(("a", GAS, 9.0, 0.0, 2.0), kind=TickKind.GAS_PRICE).quality is Quality.STALE_FOR_TRADING
    )
    assert market.tell(("a", DEPTH, 9.0, 0.0, 2.0), kind=TickKind.BOOK_DEPTH).quality is Quality.VALID


@pytest.mark.parametrize("kind", [TickKind.GAS_PRICE, TickKind.BOOK_DEPTH, TickKind.POOL_DEPTH])
def test_gas_and_depths_may_move_a_hundredfold_and_are_uncertain_where_sources_are_far_apart(kind):
    name = GAS if kind is TickKind.GAS_PRICE else DEPTH
    market = Market()
    for value in (1e6, 0.0, 1e4, 1e2):
        change = market.tell(("a", name, value), kind=kind, after=1.0)
        assert (change.value, change.quality) == (value, Quality.VALID)
    apart = market.tell(*((source, name, 1.0 if source < "d" else 3.0) for source in "bcde"), kind=kind)
    assert apart.quality is Quality.TOO_UNCERTAIN


def test_who_is_far_from_the_others_depth_is_doubted_and_nobody_where_there_is_none():
    market = Market()
    depths = [(source, DEPTH, 100.0) for source in "abcd"]
    market.tell(*depths, ("liar", DEPTH, 500.0), kind=TickKind.BOOK_DEPTH)
    assert market.doubts == {"liar": 1}
    market = Market()
    market.tell(*((source, DEPTH, 0.0) for source in "abcd"), ("e", DEPTH, 1.0), kind=TickKind.BOOK_DEPTH)
    assert market.doubts == {}


@given(st.lists(st.floats(min_value=0.0, max_value=100.0), min_size=1, max_size=9))
def test_sentiment_is_the_middle_of_its_sources_and_doubts_nobody(points):
    market = Market()
    told = [(f"s{n}", "FEAR-GREED", value) for n, value in enumerate(points)]
    change = market.tell(*told, kind=TickKind.SENTIMENT)
    assert change.value == pytest.approx(statistics.median(points))
    assert (change.sources, change.quality, market.doubts) == (len(points), Quality.VALID, {})


# --- doubt


def agreeing(market, liar=None, *, after=1.0, count=4):
    quotes = [(f"s{n}", BTC, 100.0 + 0.01 * n) for n in range(count)]
    return market.tell(*quotes, *([("liar", BTC, liar)] if liar else []), after=after)


def test_an_outlier_keeps_this_vote_and_weighs_half_in_the_next_one():
    market = Market()
    values = [100.0 + 0.01 * n for n in range(4)] + [103.0]
    first = agreeing(market, 103.0)
    assert (first.value, first.confidence) == aggregate(values, [0.0] * 5)[:2]
    assert market.doubts == {"liar": 1}
    second = agreeing(market, 103.0)
    assert (second.value, second.confidence) == aggregate(values, [0.0] * 5, doubts=[0] * 4 + [1])[:2]
    assert market.doubts == {"liar": 2}


def test_doubt_has_an_end_at_a_sixteenth_and_a_way_back_of_a_minute_a_step():
    market = Market()
    for _ in range(9):
        agreeing(market, 103.0)
    assert market.doubts == {"liar": 4}
    agreeing(market, 100.0, after=59.0)
    assert market.doubts == {"liar": 4}
    left = []
    for after in (1.0, 30.0, 30.0, 60.0, 60.0):
        agreeing(market, 100.0, after=after)
        left.append(market.doubts.get("liar", 0))
    assert left == [3, 3, 2, 1, 0]


def test_a_relapse_counts_anew():
    market = Market()
    agreeing(market, 103.0)
    agreeing(market, 100.0, after=50.0)
    agreeing(market, 103.0, after=5.0)
    agreeing(market, 100.0, after=20.0)
    assert market.doubts == {"liar": 2}


def test_nobody_is_doubted_within_the_tolerance_or_within_his_own_confidence():
    market = Market()
    agreeing(market, 100.5)
    market.tell(("unsure", BTC, 104.0, 4.0), after=1.0)
    assert market.doubts == {}


@pytest.mark.parametrize("rates", [(0.0, 0.0, 0.01), (-0.001, -0.001, 0.002)])
def test_nobody_is_doubted_for_a_rate(rates):
    market = Market()
    market.tell(*zip("abc", [BTC] * 3, rates, strict=True), kind=TickKind.FUNDING_RATE)
    assert market.doubts == {}


def test_of_two_the_one_that_jumped_is_doubted():
    """Both are equally far from the middle; one has left where both were, further than the market moves."""
    market = Market()
    for n in range(40):
        market.tell(("a", BTC, 100.0 + 0.01 * (n % 2)), ("b", BTC, 100.0 + 0.01 * (n % 3)), after=1.0)
    market.tell(("a", BTC, 103.0), ("b", BTC, 100.0), after=1.0)
    assert market.doubts == {"a": 1}


def test_a_market_that_jumps_as_a_whole_makes_nobody_doubtful():
    market = Market()
    for _ in range(40):
        agreeing(market)
    quotes = [(f"s{n}", BTC, 80.0 + 0.01 * n) for n in range(4)]
    assert market.tell(*quotes, after=1.0).quality is Quality.VALID
    assert market.doubts == {}


def test_a_successor_doubts_whom_its_predecessor_doubted():
    market = Market()
    agreeing(market, 103.0)
    memory = market.machine.memory()
    successor = Market(memory=memory)
    assert successor.machine.memory() == memory
    successor.now_ns, successor._sequence = market.now_ns, market._sequence
    assert agreeing(successor, 103.0) == agreeing(market, 103.0)
    assert successor.machine.memory() == market.machine.memory()


def test_an_estimate_of_an_older_form_is_forgotten_and_quotes_are_not():
    market = Market()
    agreeing(market)
    memory = market.machine.memory()
    estimates = [type(each)(each.kind, each.instrument, each.packed[:-8]) for each in memory.estimates]
    successor = Market(memory=Memory.of(memory.quotes, memory.doubts, estimates))
    assert successor.machine.memory() == Memory.of(memory.quotes)


# --- sources and currencies


def test_a_source_may_be_stale_before_others_are():
    market = Market(sources={"quick": Source(maximum_age_ns=2 * SECOND)})
    market.tell(("quick", BTC, 100.0), ("slow", BTC, 104.0))
    assert market.tell(("slow", BTC, 104.0), after=2.0).value == 102.0
    assert market.tell(("slow", BTC, 104.0), after=0.1).value == 104.0


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        (Source(base="ETH"), TickKind.PRICE),
        (Source(kind=TickKind.MARK), TickKind.PRICE),
        (Source(quote="USDC"), TickKind.FUNDING_RATE),
    ],
)
def test_what_a_source_does_not_declare_is_refused(source, kind):
    market = Market(sources={"odd": source})
    assert market.step(("odd", BTC, 0.5), kind=kind) == {}
    assert market.refused == [Rejection.UNDECLARED]


def test_what_is_declared_anew_holds_from_the_next_tick_on():
    market = Market()
    market.tell(("a", BTC, 100.0), ("b", BTC, 104.0))
    market.machine.declare(instruments=PAIRS, declared=Declared(sources={"a": Source(base="ETH")}))
    assert market.step(("a", BTC, 101.0)) == {}
    assert market.refused == [Rejection.UNDECLARED]
    market.machine.declare(instruments=PAIRS, declared=Declared(sources={"b": Source(weight=3.0)}))
    assert market.tell(("a", BTC, 100.0)).value == 104.0


def test_another_currency_votes_only_by_its_own_consensus():
    market = Market(sources={"usdc": Source(quote="USDC")})
    assert market.step(("usdc", BTC, 110.0, 1.0)) == {}, "nobody knows what a USDC is"
    both = market.step(("usdc", BTC, 110.0, 1.0), ("a", USDC, 0.9, 0.005))
    assert both[BTC].value == pytest.approx(99.0, rel=1e-15)
    assert both[BTC].confidence == pytest.approx(1.0 * 0.9 + 110.0 * 0.005, rel=1e-15)
    assert (both[BTC].sources, both[BTC].quality) == (1, Quality.VALID)


def test_in_one_entry_the_currency_comes_before_what_it_converts():
    sources = {"usdc": Source(quote="USDC")}
    forth, back = (("usdc", BTC, 110.0), ("a", USDC, 0.9)), (("a", USDC, 0.9), ("usdc", BTC, 110.0))
    assert Market(sources=sources).step(*forth) == Market(sources=sources).step(*back)


def test_a_currency_that_is_old_or_doubtful_converts_nobody():
    market = Market(sources={"usdc": Source(quote="USDC")}, quorums={USDC: {"sources": 2}})
    market.step(("a", USDC, 0.9), ("b", USDC, 0.9), ("usdc", BTC, 110.0))
    assert market.tell(("usdc", BTC, 110.0), after=60.0).quality is Quality.STALE_FOR_TRADING
    assert market.tell(("usdc", BTC, 111.0), after=0.1).quality is Quality.INSUFFICIENT_SOURCES
    assert market.tell(("a", USDC, 0.9)).quality is Quality.INSUFFICIENT_SOURCES
    assert market.tell(("usdc", BTC, 111.0)).value == pytest.approx(99.0, rel=1e-15)


def test_a_currency_may_be_listed_the_other_way_round():
    market = Market(sources={"euro": Source(quote="EUR")})
    change = market.step(("euro", BTC, 90.0, 0.9), ("a", "USD-EUR", 0.9, 0.009))[BTC]
    assert change.value == pytest.approx(100.0, rel=1e-15)
    assert change.confidence == pytest.approx(1.0 + 90.0 * 0.009 / 0.81, rel=1e-15)


def test_only_spot_markets_convert():
    pairs = {BTC: PAIRS[BTC], "USDC-USD-PERP": Pair("USDC", "USD", is_spot=False)}
    market = Market(sources={"usdc": Source(quote="USDC")})
    market.machine.declare(instruments=pairs)
    assert BTC not in market.step(("usdc", BTC, 110.0), ("a", "USDC-USD-PERP", 0.9))


# --- averages


def estimate(market, instrument=BTC):
    return standing(market, TickKind.PRICE, instrument)


def standing(market, kind, instrument):
    machine = market.machine
    found = standings(
        machine.memory(), machine.declared, of_prices_ns=60_000_000_000, instruments=machine.instruments
    )
    return found.get((kind, instrument))


def test_averages_take_in_what_stood_for_as_long_as_it_stood():
    market = Market()
    market.tell(("a", BTC, 100.0, 1.0))
    first = estimate(market)
    assert (first.twap, first.twap_confidence, first.ewma) == (100.0, 1.0, 100.0)
    market.tell(("a", BTC, 130.0, 3.0), after=30.0)
    assert estimate(market).twap == 100.0, "the new price has not stood yet"
    market.tell(("a", BTC, 100.0, 1.0), after=30.0)
    last = estimate(market)
    assert last.twap == pytest.approx(100.0 + 30.0 * 30.0 / 300.0, rel=1e-15)
    assert last.twap_confidence == pytest.approx(1.0 + 2.0 * 30.0 / 300.0, rel=1e-15)
    share = 1.0 - math.exp(-30.0 / 60.0)
    assert last.ewma == pytest.approx(100.0 + 30.0 * share, rel=1e-15)
    assert last.ewma_confidence == pytest.approx(1.0 + 2.0 * share, rel=1e-15)


def test_after_five_minutes_of_silence_the_average_is_what_stood():
    market = Market()
    market.tell(("a", BTC, 100.0))
    market.tell(("a", BTC, 130.0))
    market.tell(("a", BTC, 131.0), after=300.0)
    assert estimate(market).twap == 130.0


@given(st.lists(st.tuples(st.floats(50.0, 200.0), st.floats(0.0, 400.0)), min_size=1, max_size=20))
def test_averages_lie_within_what_was_agreed_on(history):
    market = Market()
    values = [value for value, _ in history]
    for value, after in history:
        market.tell(("a", BTC, value), after=after)
    found = estimate(market)
    for average in (found.twap, found.ewma):
        assert min(values) * (1 - 1e-12) <= average <= max(values) * (1 + 1e-12)


def test_volatility_is_that_of_the_consensus():
    """A price that moves by one percent every second has one percent per square root of a second."""
    market = Market()
    for n in range(200):
        market.tell(("a", BTC, 100.0 * 1.01 ** (n % 2)), after=1.0)
    assert estimate(market).volatility == pytest.approx(math.log(1.01), rel=1e-9)


def test_who_voted_what_is_shown():
    market = Market(sources={"usdc": Source(quote="USDC", weight=2.0)})
    market.step(("usdc", BTC, 110.0), ("a", BTC, 99.0), ("b", USDC, 0.9))
    shown = estimate(market)
    assert (shown.change.value, shown.change.sources) == (99.0, 2)
    assert [(each.tick.source, each.weight, each.halvings) for each in shown.sources] == [
        ("usdc", 2.0, 0),
        ("a", 1.0, 0),
    ]
    assert standing(market, TickKind.MARK, BTC) is None
