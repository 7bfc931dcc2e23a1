"""What liars can do, by how much of the weight is theirs; searched for in one vote and over time.

The claim is about weights as declared. Over time it needs that honest votes agree within the tolerance: those
are never doubted then, whatever the others say, so that the liars' part of what is left of the weight only
falls. Liars of three quarters and more are as good as the market: the ladder's jump and divergence are what
is left then, and a lie slower than those is believed.
"""

import pytest
from hypothesis import given, target
from hypothesis import strategies as st

from app.domain.market import Quality, Tick, TickKind
from app.oracle.consensus import aggregate
from app.oracle.declared import Declared, Pair, Source
from app.oracle.sequencer import ClockMode, Sequencer

NOW_NS = 1_767_225_600_000_000_000
SECOND = 1_000_000_000
UNIT = 1 / 1024  # a whole number of the oracle's units
HONEST = st.tuples(st.floats(min_value=99.9, max_value=100.1), st.floats(min_value=0.0, max_value=0.1))
LIES = st.tuples(
    st.one_of(
        st.floats(min_value=1e-6, max_value=1e15),
        st.floats(min_value=99.0, max_value=101.0),
        st.sampled_from([99.9, 100.1, 99.5, 100.5]),
    ),
    st.one_of(
        st.just(0.0), st.floats(min_value=0.0, max_value=1e15), st.floats(min_value=0.0, max_value=1.0)
    ),
)
SMALL_PARTS = st.lists(st.integers(3, 40), min_size=1, max_size=5)


def split(draw, total, count):
    """Parts of a whole, each at least 2."""
    parts = []
    for left in range(count, 1, -1):
        parts.append(draw(st.integers(2, total - 2 * (left - 1))))
        total -= parts[-1]
    return [*parts, total]


@st.composite
def weights(draw, least, most):
    """(honest, liars'): liars have at least `least` quarters of all, and less than `most` quarters."""
    count = draw(st.integers(1, 5))
    liars = [8 * part for part in draw(SMALL_PARTS)]
    lied = sum(liars)
    # f = lied / (lied + honest) < most / 4  <=>  honest > lied * (4 - most) / most
    beyond = lied * (4 - most) // most + 1
    upto = lied * (4 - least) // least if least else beyond + 500
    honest = draw(st.integers(max(beyond, 2 * count), max(upto, 2 * count, beyond)))
    return split(draw, honest, count), liars


def votes_of(quotes):
    return [vote for value, confidence in quotes for vote in (value - confidence, value + confidence)]


def width(quotes):
    """Of the range of these votes; where rounding takes that away, what one of them says of itself."""
    votes = votes_of(quotes)
    return max(max(votes) - min(votes), *(confidence for _, confidence in quotes))


def distance(value, quotes):
    votes = votes_of(quotes)
    return max(value - max(votes), min(votes) - value, 0.0)


def believed(draw, quarters):
    """(honest quotes, what is agreed on) of one vote."""
    honest_weights, liars_weights = draw(weights(*quarters))
    honest = [draw(HONEST) for _ in honest_weights]
    lies = [draw(LIES) for _ in liars_weights]
    values, confidences = zip(*honest, *lies, strict=True)
    return honest, aggregate(values, confidences, [w * UNIT for w in (*honest_weights, *liars_weights)])


@given(st.data())
def test_less_than_half_cannot_take_the_price_out_of_the_honest_range(data):
    honest, found = believed(data.draw, (0, 2))
    votes = votes_of(honest)
    target(min(found.value, 1e6))
    assert min(votes) <= found.value <= max(votes)


@given(st.data())
def test_less_than_a_quarter_cannot_make_it_less_certain_than_the_honest_are(data):
    honest, found = believed(data.draw, (0, 1))
    target(min(found.confidence, 1e6))
    assert found.confidence <= width(honest)
    assert found.dispersion <= width(honest)


@given(st.data())
def test_less_than_three_quarters_cannot_hide_how_far_it_is_from_the_honest(data):
    honest, found = believed(data.draw, (2, 3))
    hidden = distance(found.value, honest) - found.confidence
    target(max(hidden, -1e6))
    assert hidden <= 0.0


@st.composite
def lives(draw, least, most):
    """Weights, and rounds of what everybody says: honest sources follow one market, liars nobody."""
    honest_weights, liars_weights = draw(weights(least, most))
    level, rounds = 1.0, []
    for _ in range(draw(st.integers(1, 12))):
        level *= draw(st.sampled_from([1.0, 1.0001, 0.97, 1.2, 0.5]))
        honest = [tuple(level * part for part in draw(HONEST)) for _ in honest_weights]
        lies = [draw(st.none() | LIES) for _ in liars_weights]
        lies = [lie and (lie[0] * level, lie[1] * level) for lie in lies]
        seconds = draw(st.sampled_from([0, 1, 5, 59, 61, 300]))
        rounds.append((seconds, honest, lies))
    return honest_weights, liars_weights, rounds


def told(life):
    """(honest quotes, change) of every round, by a sequencer that remembers and doubts."""
    honest_weights, liars_weights, rounds = life
    names = [f"honest{n}" for n in range(len(honest_weights))] + [
        f"liar{n}" for n in range(len(liars_weights))
    ]
    sources = {
        name: Source(weight=weight * UNIT)
        for name, weight in zip(names, (*honest_weights, *liars_weights), strict=True)
    }
    machine = Sequencer(
        generation=1,
        sequence=0,
        time_ns=NOW_NS,
        clock=ClockMode.REPLAY,
        instruments={"BTC-USD": Pair("BTC", "USD", is_spot=True)},
        declared=Declared(sources=sources),
    )
    time_ns = NOW_NS
    for sequence, (seconds, honest, lies) in enumerate(rounds, 1):
        time_ns += seconds * SECOND
        ticks = [
            Tick(TickKind.PRICE, name, "BTC-USD", sequence, time_ns, *quote)
            for name, quote in zip(names, (*honest, *lies), strict=True)
            if quote is not None
        ]
        step = machine.take(entry=f"{sequence}-0", ticks=ticks, wall_ns=0)
        assert all(tick.source.startswith("liar") for tick, _ in step.rejected)
        machine.close(wall_ns=0)
        ((change,),) = (frame.changes for frame in machine.frames())
        yield honest, change


@given(lives(0, 2))
def test_over_time_less_than_half_cannot_take_the_price_out_of_the_honest_range(life):
    for honest, change in told(life):
        votes = votes_of(honest)
        assert min(votes) <= change.value <= max(votes)


@given(lives(0, 1))
def test_over_time_less_than_a_quarter_cannot_make_it_less_certain(life):
    for honest, change in told(life):
        assert change.confidence <= width(honest)


@given(lives(2, 3))
def test_over_time_less_than_three_quarters_cannot_hide_the_distance(life):
    for honest, change in told(life):
        assert change.confidence >= distance(change.value, honest)
        if distance(change.value, honest) > 0.02 * change.value:
            assert change.quality >= Quality.TOO_UNCERTAIN


@pytest.mark.parametrize(
    ("lie", "quality"),
    [
        (6.0, Quality.TOO_VOLATILE),
        (1 / 6, Quality.TOO_VOLATILE),
        (1.6, Quality.DIVERGING),
        (0.4, Quality.DIVERGING),
        (1.4, Quality.VALID),
    ],
)
def test_of_all_of_them_only_the_ladder_is_left(lie, quality):
    """The last one is the limit of the claim: everybody says so, and it is no jump out of the average."""
    quiet = (1, [(100.0, 0.0)], [])
    *_, (_, change) = told(([1024], [], [quiet, quiet, (1, [(100.0 * lie, 0.0)], [])]))
    assert (change.value, change.quality) == (100.0 * lie, quality)


@given(st.floats(min_value=1.0001, max_value=1.004))
def test_a_lie_that_is_slow_enough_is_believed(growth):
    """Of three quarters and more, at half a percent a minute or less."""
    rounds = [(60, [(100.0, 0.0)], [(100.0 * growth**n, 0.0)] * 4) for n in range(1, 200)]
    *_, (_, change) = told(([1024], [1024] * 4, rounds))
    assert change.value == rounds[-1][2][0][0]
    assert change.quality is Quality.VALID
