"""Contradictions that are found, where they are, and what must not be taken for one."""

import pytest
from pydantic import TypeAdapter

from app.domain.conditions import ConditionTree, metrics_of
from app.domain.contradictions import contradictions
from app.domain.metrics import MetricRef

TREE = TypeAdapter(ConditionTree)


def compared(metric, op, value):
    kind = "value" if value.lstrip("-").replace(".", "").isdigit() else "other"
    return {"kind": "comparison", "metric": metric, "op": op, kind: value}


def all_of(*parts):
    return {"kind": "all", "conditions": list(parts)}


def any_of(*parts):
    return {"kind": "any", "conditions": list(parts)}


def negated(part):
    return {"kind": "not", "condition": part}


def dwelling(part):
    return {"kind": "dwell", "condition": part, "seconds": 60}


def crossing(direction, value, metric="net_delta.BTC"):
    return {"kind": "crosses", "metric": metric, "direction": direction, "value": value}


def change(op, value):
    return {
        "kind": "rate_of_change", "metric": "equity", "window_seconds": 60, "op": op, "value": value,
    }  # fmt: skip


HIGH, LOW = compared("net_delta.BTC", "above", "5"), compared("net_delta.BTC", "below", "3")
OTHER = compared("net_delta.ETH", "below", "3")


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        (all_of(HIGH, LOW), [("", False)]),
        (all_of(HIGH, dwelling(LOW)), [("", False)]),
        (all_of(compared("equity", "above", "5"), compared("equity", "at_most", "5")), [("", False)]),
        (all_of(compared("equity", "at_least", "5"), compared("equity", "at_most", "5")), []),
        (all_of(HIGH, OTHER), []),
        (any_of(OTHER, all_of(HIGH, LOW)), [("/conditions/1", False)]),
        (all_of(OTHER, all_of(HIGH, LOW)), [("/conditions/1", False), ("", False)]),
        (any_of(negated(HIGH), negated(LOW)), [("", True)]),
        (negated(any_of(negated(HIGH), negated(LOW))), [("/condition", True), ("", False)]),
        (any_of(HIGH, compared("net_delta.BTC", "at_most", "6")), [("", True)]),
        (any_of(HIGH, compared("net_delta.BTC", "below", "5")), []),
        (all_of(any_of(HIGH, compared("net_delta.BTC", "above", "7")), LOW), [("", False)]),
        (all_of(any_of(HIGH, OTHER), LOW), []),
        (compared("margin_ratio", "below", "0"), [("", False)]),
        (compared("margin_ratio", "at_least", "0"), [("", True)]),
        (compared("equity", "below", "0"), []),
        (compared("equity", "above", "equity"), [("", False)]),
        (compared("equity", "at_least", "equity"), [("", True)]),
        (
            all_of(
                compared("equity", "above", "reserve_available"),
                compared("reserve_available", "at_least", "equity"),
            ),
            [("", False)],
        ),
        (all_of(crossing("above", "5"), LOW), [("", False)]),
        (negated(all_of(crossing("above", "5"), HIGH)), []),
        (dwelling(crossing("above", "5")), [("", False)]),
        (dwelling(all_of(HIGH, crossing("above", "7"))), [("", False)]),
        (dwelling(any_of(HIGH, crossing("above", "7"))), []),
        (negated(dwelling(HIGH)), []),
        (all_of(change("above", "5"), change("below", "3")), [("", False)]),
        (all_of(change("above", "5"), compared("equity", "below", "3")), []),
        # The same float: both are true of 0.1.
        (
            all_of(
                compared("equity", "at_least", "0.1000000000000000000001"),
                compared("equity", "at_most", "0.1"),
            ),
            [],
        ),
    ],
)
def test_findings(tree, expected):
    found = contradictions(TREE.validate_python(tree))
    assert [(finding.path, finding.holds) for finding in found] == expected


def test_a_finding_is_put_into_words():
    never, always = contradictions(TREE.validate_python(negated(any_of(negated(HIGH), negated(LOW)))))[::-1]
    assert never.message == "the whole condition can never be true"
    assert always.message == "this condition is always true"


def test_metrics_are_told_with_where_they_are_first_read():
    tree = TREE.validate_python(
        all_of(OTHER, negated(HIGH), LOW, compared("equity", "above", "reserve_available"))
    )
    assert metrics_of(tree) == {
        MetricRef.parse("net_delta.ETH"): "/conditions/0",
        MetricRef.parse("net_delta.BTC"): "/conditions/1/condition",
        MetricRef.parse("equity"): "/conditions/3",
        MetricRef.parse("reserve_available"): "/conditions/3",
    }
