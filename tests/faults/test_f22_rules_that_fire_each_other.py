"""Two rules that bring each other about: whoever saves the second is told, and they come to rest."""

import pytest

from app.domain.adjustments import Outcome, Reason
from app.domain.conflicts import conflicts_of
from app.domain.policies import Guards, Mode, Rule
from tests.unit.engine.test_guards import Life, frame, prices
from tests.unit.engine.test_turns import PERP, portfolio


def sets_leverage(to, *, when, level, **guards):
    condition = {"kind": "comparison", "metric": "leverage", "op": when, "value": level}
    return Rule(
        name=f"leverage {to}", mode=Mode.AUTO, condition=condition,
        actions=[{"kind": "set_leverage", "leverage": to}], guards=Guards(cooldown_seconds=0, **guards),
    )  # fmt: skip


BOOSTS = sets_leverage("3", when="below", level="1.5")
REPAYS = sets_leverage("1", when="above", level="2")


def test_f22_whoever_saves_the_second_is_told():
    for one, other in ((BOOSTS, REPAYS), (REPAYS, BOOSTS)):
        (fires, fired) = conflicts_of(one, [other])
        assert (fires.code, fires.path) == ("outcome_fires_other", "/actions/0")
        assert (fired.code, fired.path) == ("fired_by_other_outcome", "/condition")
        assert other.name in fires.message


def lived(boosts, repays):
    life = Life(portfolio(positions=[(PERP, "1", "50000")], balance="50000", policies=[boosts, repays]))
    for k in range(60):
        life.see(frame(k, prices(50_000.0 + k % 2)))
    return life, [record for record in life.records if record.outcome is Outcome.ACTED]


def test_f22_planned_together_the_more_urgent_one_has_it():
    life, acted = lived(BOOSTS, REPAYS)
    assert [record.reason for record in acted] == [Reason.TARGET_REACHED, Reason.TARGET_MISSED]
    assert float(life.holdings.accounts[0].position(PERP.instrument_id).quantity) == pytest.approx(
        3, abs=0.01
    )


def test_f22_where_each_waits_for_the_other_the_breaker_brings_them_to_rest():
    """A dwell keeps each out of the other's plan: neither turns round, but the two of them do."""
    waits = {"dwell_seconds": 1}
    life, acted = lived(
        sets_leverage("3", when="below", level="1.5", **waits),
        sets_leverage("1", when="above", level="2", **waits),
    )
    assert len(acted) == 1 + BOOSTS.guards.maximum_reversals_per_hour
    assert len({record.policy_id for record in acted}) == 2
    assert life.records[-1].reason is Reason.OSCILLATION
