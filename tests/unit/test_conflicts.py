"""Policies that would fight are named when one is saved; those that would not, are not."""

import pytest
from pydantic import TypeAdapter

from app.domain.conflicts import conflicts_of
from app.domain.policies import POLICY, AnyPolicy

ANY: TypeAdapter[AnyPolicy] = POLICY


def policy(kind, **fields):
    return ANY.validate_python({"kind": kind, "name": f"the {kind}"} | fields)


def delta(**fields):
    known = {"underlying": "BTC", "band": "0.2", "hedge_instruments": ["BTC-USDT-PERP"]}
    return policy("delta_neutral", **(known | fields))


def guard(**fields):
    return policy("liquidation_guard", **({"trigger": "0.5", "restore": "0.3"} | fields))


def leverage(**fields):
    return policy("leverage_band", **({"minimum": "1", "target": "2", "maximum": "3"} | fields))


def volatility(**fields):
    source = {"kind": "forecast", "instrument": "BTC-USDT-PERP"}
    known = {"underlying": "BTC", "volatility": source, "target_volatility_annual": "0.4"}
    return policy("volatility_target", **(known | fields))


def stress():
    tier = {"name": "red", "above": "0.8", "recover_below": "0.5", "exposure_multiplier": "0.2"}
    return policy("stress_response", tiers=[tier])


ABOVE = {"kind": "comparison", "metric": "margin_ratio", "op": "above", "value": "0.5"}


def below(value, metric="margin_ratio"):
    return {"kind": "comparison", "metric": metric, "op": "below", "value": value}


def leverage_is(op, value):
    return {"kind": "comparison", "metric": "leverage", "op": op, "value": value}


def for_a_minute(condition):
    return {"kind": "dwell", "condition": condition, "seconds": 60}


def crossing(direction, value):
    return {"kind": "crosses", "metric": "leverage", "direction": direction, "value": value}


def all_of(*conditions):
    return {"kind": "all", "conditions": list(conditions)}


def rule(condition, sets_leverage=None):
    """Says something, or sets leverage."""
    says = {"kind": "notify", "message": "so it is"}
    sets = {"kind": "set_leverage", "leverage": sets_leverage}
    return policy("rule", condition=condition, actions=[says if sets_leverage is None else sets])


def pockets(target, maximum="9"):
    pocket = {"account": "main", "minimum_health": "1.5", "target_health": target, "maximum_health": maximum}
    route = {"source": "main", "destination": "reserve", "asset": "USDT"}
    return policy("capital_efficiency", pockets=[pocket], routes=[route])


FIGHTS = [
    (guard(restore="0.3", confidence_multiple="1"), guard(trigger="0.3", restore="0.2"), set()),
    (
        guard(restore="0.3"),
        guard(trigger="0.3", restore="0.2", confidence_multiple="1"),
        {"restores_into_trigger"},
    ),
    (delta(target_delta="1"), delta(), {"target_outside_band", "band_excludes_target"}),
    (delta(target_delta="1"), delta(underlying="ETH"), set()),
    (delta(target_delta="0.1"), delta(), set()),
    (delta(band={"kind": "fraction_of_gross", "below": "0.1", "above": "0.1"}), delta(target_delta="1"),
     {"target_outside_band"}),
    (leverage(target="2.5", maximum="4"), leverage(target="1.5", maximum="2"), {"target_outside_band"}),
    (leverage(), leverage(account="main"), set()),
    (guard(), guard(trigger="0.25", restore="0.1"), {"restores_into_trigger"}),
    (guard(trigger="0.25", restore="0.1"), guard(), {"triggers_after_restore"}),
    (guard(), guard(metric="health_factor", trigger="3", restore="4"), set()),
    (guard(metric="health_factor", trigger="2", restore="3"), guard(trigger="0.3", restore="0.2"),
     {"restores_into_trigger"}),
    (guard(account="one"), guard(account="two", trigger="0.25", restore="0.1"), set()),
    (guard(), guard(metric="liquidation_distance", trigger="0.1", restore="0.2"), set()),
    (volatility(minimum_leverage="2.5", maximum_leverage="5"), leverage(target="1.5", maximum="2"),
     {"leverage_limits_exclude_each_other"}),
    (volatility(minimum_leverage="1"), delta(), {"exposure_against_neutrality"}),
    (volatility(), delta(), set()),
    (stress(), leverage(), {"boosts_against_stress"}),
    (stress(), leverage(boost=False), set()),
    (stress(), volatility(minimum_leverage="1"), {"boosts_against_stress"}),
    (pockets("1.9"), guard(), {"drains_into_trigger"}),
    (pockets("2.5"), guard(), set()),
    (rule(leverage_is("below", "1.5"), "3"), rule(leverage_is("above", "2"), "1"),
     {"outcome_fires_other", "fired_by_other_outcome"}),
    (rule(leverage_is("below", "1.5"), "1.8"), rule(leverage_is("above", "2"), "1.6"), set()),
    (rule(leverage_is("below", "1.5"), "3"), leverage(target="1.8", maximum="2"), {"outcome_fires_other"}),
    (rule(leverage_is("below", "2.5"), "3"), leverage(), {"fired_by_other_outcome"}),
    (rule(leverage_is("below", "2.5"), "3"), leverage(recentring_speed="0.1"), set()),
    (rule(all_of(leverage_is("above", "1"), ABOVE), "0"), leverage(), {"outcome_fires_other"}),
    (rule(for_a_minute(leverage_is("above", "2")), "0"), rule(crossing("below", "1"), "3"),
     {"outcome_fires_other", "fired_by_other_outcome"}),
    (rule(below("0.3"), "1"), guard(restore="0.1"), set()),
    (rule(below("0.2", "margin_ratio@main"), "0"), guard(restore="0.1", account="main"),
     {"fired_by_other_outcome"}),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other", "codes"), FIGHTS)
def test_two_policies(one, other, codes):
    assert {conflict.code for conflict in conflicts_of(one, [other])} == codes


@pytest.mark.parametrize(("one", "other", "codes"), FIGHTS)
def test_whoever_is_saved_last_is_told(one, other, codes):
    assert bool(conflicts_of(other, [one])) is bool(codes)


def test_one_that_is_switched_off_fights_nobody():
    assert conflicts_of(delta(), [delta(target_delta="1", enabled=False)]) == []


@pytest.mark.parametrize(
    ("one", "codes"),
    [
        (guard(priority=3), {"guard_not_first"}),
        (guard(guards={"maximum_cost": "100"}), set()),
        (guard(guards={"maximum_cost": "100"}, emergency=None), {"cap_may_disarm_guard"}),
        (guard(guards={"maximum_cost_bps": "5"}, emergency={"trigger": "0.8", "obey_cost_caps": True}),
         {"cap_may_disarm_guard"}),
        (guard(guards={"maximum_cost_bps": "5"}, emergency={"trigger": "0.8"}), set()),
        (delta(guards={"cooldown_seconds": 0, "maximum_reversals_per_hour": None}),
         {"nothing_stops_oscillation"}),
        (delta(guards={"cooldown_seconds": 0}), set()),
        (rule(all_of(ABOVE, below("0.1"))), {"never_true"}),
        (rule(all_of(ABOVE, below("0.9"))), set()),
        (rule({"kind": "not", "condition": all_of(ABOVE, below("0.1"))}), {"never_true", "always_true"}),
    ],
)  # fmt: skip
def test_a_policy_alone(one, codes):
    assert {conflict.code for conflict in conflicts_of(one, [])} == codes


def test_every_pointer_leads_somewhere():
    for one, other, _ in FIGHTS:
        document = one.model_dump(mode="json")
        for conflict in conflicts_of(one, [other]):
            part = document
            for step in conflict.path.split("/")[1:]:
                part = part[int(step)] if isinstance(part, list) else part[step]
