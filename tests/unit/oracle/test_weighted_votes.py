"""The weighted vote: a slow reading of its rule, and Pyth's integers where weights are equal."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.oracle.consensus import aggregate, aggregate_quotes

# Whole multiples of 2^-10, which are whole numbers of the oracle's units, and few enough to meet.
WEIGHTS = st.one_of(st.integers(2, 6), st.integers(2, 1 << 19)).map(lambda k: k / 1024)
VALUES = st.one_of(st.integers(1, 12).map(float), st.floats(min_value=1e-6, max_value=1e15))
SOURCES = st.lists(
    st.tuples(
        VALUES, st.one_of(st.integers(0, 5).map(float), st.floats(0.0, 1e15)), WEIGHTS, st.integers(0, 4)
    ),
    min_size=2,
    max_size=9,
)


def passed(votes, parts):
    """The least vote at which the votes up to it weigh more than this part of all."""
    total = sum(weight for _, weight in votes)
    return min(vote for vote, _ in votes if parts * sum(w for v, w in votes if v <= vote) > total)


def quartiles(votes, parts):
    """From below and from above."""
    return passed(votes, parts), -passed([(-vote, weight) for vote, weight in votes], parts)


def slow(sources):
    """By counting, in exact fractions; without a sort, and without looking at ranks."""

    def three(value, confidence, weight):
        return [(vote, weight) for vote in (value - confidence, value, value + confidence)]

    left = [vote for v, c, w, doubt in sources for vote in three(v, c, Fraction(w) / (1 << doubt))]
    whole = [vote for v, c, w, _ in sources for vote in three(v, c, Fraction(w))]
    first, second = quartiles(left, 2)
    low, high = quartiles(whole, 4)
    lower, upper = quartiles([(v, Fraction(w)) for v, _, w, _ in sources], 4)
    value = 0.5 * (first + second)
    return value, max(value - low, high - value), upper - lower


@given(SOURCES)
def test_it_is_the_rule_read_slowly(sources):
    values, confidences, weights, doubts = zip(*sources, strict=True)
    assert aggregate(values, confidences, weights, doubts=doubts) == slow(sources)


@given(st.lists(st.tuples(VALUES, VALUES | st.just(0.0)), min_size=2, max_size=40), WEIGHTS)
def test_so_it_is_of_equal_weights_however_many(quotes, weight):
    """They are counted where they are few, and weighed like others where they are many."""
    found = aggregate(*zip(*quotes, strict=True), [weight] * len(quotes))
    assert found == slow([(*quote, weight, 0) for quote in quotes])


@given(
    st.lists(st.tuples(st.integers(-50, 50), st.integers(1, 20)), min_size=1, max_size=9),
    WEIGHTS,
    st.integers(0, 4),
)
def test_equal_weights_are_pyths_integers(quotes, weight, doubt):
    """Of even numbers, so that the middle of two is a whole number: what is left is the rule."""
    doubled = [(2 * price, 2 * confidence) for price, confidence in quotes]
    expected = aggregate_quotes([{"price": p, "conf": c, "status": 1} for p, c in doubled], -8)
    count = len(quotes)
    found = aggregate(*zip(*doubled, strict=True), [weight] * count, doubts=[doubt] * count)
    assert found[:2] == expected[:2]


@given(SOURCES, st.integers(-9, 9))
def test_only_proportions_of_weights_count(sources, exponent):
    values, confidences, weights, doubts = zip(*sources, strict=True)
    scale = 2.0**exponent
    scaled = [weight * scale for weight in weights]
    exact = all(weight * (1 << 20) == int(weight * (1 << 20)) >= 1 << 4 for weight in scaled)
    if exact:  # each still is a whole number of units after its doubt
        assert aggregate(values, confidences, scaled, doubts=doubts) == slow(sources)


@given(SOURCES)
def test_a_source_of_weight_two_is_two_sources_of_weight_one(sources):
    values, confidences, weights, doubts = zip(*sources, strict=True)
    heavier = aggregate(values, confidences, [2 * weights[0], *weights[1:]], doubts=doubts)
    twice = aggregate(
        [values[0], *values],
        [confidences[0], *confidences],
        [weights[0], *weights],
        doubts=[doubts[0], *doubts],
    )
    assert heavier == twice


def test_many_sources_are_no_trouble():
    values = [float((10 * k) % 1_001) for k in range(1_001)]
    assert aggregate(values, [0.0] * 1_001) == (500.0, 250.0, 500.0)


@pytest.mark.parametrize("doubt", [0, 1, 4])
def test_who_is_doubted_moves_less_and_widens_as_before(doubt):
    """Two against two: between them at first, then with those that are believed, and as unsure as it was."""
    value, confidence, dispersion = aggregate(
        [100.0, 100.0, 103.0, 103.0], [0.0] * 4, doubts=[0, 0, doubt, doubt]
    )
    assert (value, confidence) == ((100.0, 3.0) if doubt else (101.5, 1.5))
    assert dispersion == 3.0
