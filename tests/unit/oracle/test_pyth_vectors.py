"""Pyth's aggregation in exact integers: its own test vectors, and a slow reading of the rule."""

import json
import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.oracle.consensus import aggregate_quotes
from tests.market_data import reference_dir

LEAST, MOST = -(1 << 63), (1 << 63) - 1
# Close to one another, so that votes meet, and close to the ends of 64 bits.
PRICES = st.one_of(
    st.integers(-50, 50),
    st.integers(LEAST, MOST),
    st.integers(LEAST, LEAST + 9),
    st.integers(MOST - 9, MOST),
)
CONFIDENCES = st.one_of(st.integers(0, 20), st.integers(0, (1 << 64) - 1), st.integers(MOST - 9, MOST + 9))
QUOTES = st.lists(
    st.fixed_dictionaries(
        {"price": PRICES, "conf": CONFIDENCES, "status": st.sampled_from([0, 1, 1, 1, 1, 2, 3])},
        optional={"slot_diff": st.sampled_from([-26, -25, -24, -1, 0, 1, 2])},
    ),
    max_size=9,
)


def quote(price, conf, **terms):
    return {"price": price, "conf": conf, "status": 1, **terms}


def test_pyths_own_vectors():
    documents = sorted((reference_dir() / "pyth_aggregation").glob("*.json"))
    assert documents
    for document in documents:
        told, expected = (
            json.loads(each.read_text()) for each in (document, document.with_suffix(".result"))
        )
        found = aggregate_quotes(told["quotes"], told["exponent"])
        assert found == (expected["price"], expected["conf"], expected["status"]), document.name


def quantile(votes, fraction):
    """The first vote, from below, that more than this fraction of all votes do not exceed."""
    return min(v for v in votes if sum(w <= v for w in votes) > fraction * len(votes))


def slow(quotes):
    """The rule by counting, without a sort or an index."""
    kept = [
        (q["price"], q["conf"])
        for q in quotes
        if q["status"] == 1 and q["conf"] > 0 and 0 <= 1001 - (1000 + q.get("slot_diff", 0)) <= 25
    ]
    votes = [
        p + k * c for p, c in kept if all(LEAST <= p + k * c <= MOST for k in (-1, 1)) for k in (-1, 0, 1)
    ]
    if not votes:
        return 0, 0, "unknown"
    mirrored = [-v for v in votes]
    half, quarter = Fraction(1, 2), Fraction(1, 4)
    price = math.floor(Fraction(quantile(votes, half) - quantile(mirrored, half), 2))
    below, above = price - quantile(votes, quarter), -quantile(mirrored, quarter) - price
    return price, max(below, above), "trading"


@given(QUOTES)
def test_it_is_the_rule_read_slowly(quotes):
    assert aggregate_quotes(quotes, -8) == slow(quotes)


@given(QUOTES, st.randoms(use_true_random=False))
def test_the_order_of_quotes_does_not_matter(quotes, random):
    assert aggregate_quotes(random.sample(quotes, len(quotes)), -8) == aggregate_quotes(quotes, -8)


@pytest.mark.parametrize(
    "refused",
    [
        quote(5, 0),
        quote(5, 1, status=0),
        quote(5, 1, status=2),
        quote(5, 1, slot_diff=-25),
        quote(5, 1, slot_diff=2),
        quote(MOST, 1),
        quote(LEAST, 1),
        quote(LEAST + 1, 2),
        quote(0, 1 << 63),
        quote(-1, 1 << 63),
    ],
    ids=str,
)
def test_what_does_not_count_leaves_nothing_known_and_moves_nobody_else(refused):
    assert aggregate_quotes([refused], -3) == (0, 0, "unknown")
    others = [quote(100, 1), quote(102, 1)]
    assert aggregate_quotes([*others, refused], -3) == aggregate_quotes(others, -3)


@pytest.mark.parametrize(
    "counted",
    [
        quote(5, 1, slot_diff=-24),
        quote(5, 1, slot_diff=1),
        quote(MOST - 1, 1),
        quote(LEAST + 1, 1),
        quote(0, MOST),
    ],
    ids=str,
)
def test_what_just_counts(counted):
    assert aggregate_quotes([counted], -3) == (counted["price"], counted["conf"], "trading")


def test_halves_are_rounded_down_below_zero_too():
    assert aggregate_quotes([quote(-1, 1), quote(-2, 1)], 0).price == -2
    assert aggregate_quotes([quote(1, 1), quote(2, 1)], 0).price == 1


def test_nobody_is_no_price():
    assert aggregate_quotes([], -3) == (0, 0, "unknown")


def test_an_exponent_is_that_of_an_account():
    with pytest.raises(ValueError, match="exponent"):
        aggregate_quotes([], 1 << 31)
