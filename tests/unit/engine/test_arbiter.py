"""One plan for all policies: it says what it misses, and costs no more than one policy after the other.

Random portfolios with three to six policies, half of them sharing an account and its instruments. Plans are
priced by the report of risk, and what policies miss is reckoned from that report alone. Costs are compared,
to a lot of everything that is traded, where one after the other reaches all targets; elsewhere rules fight.
"""

import statistics
import sys
from collections import Counter
from decimal import Decimal

import pytest
from msgspec.structs import replace

from app.domain.policies import StoredPolicy
from tests.unit.engine.one_by_one import Desk, missed, one_by_one
from tests.unit.engine.random_policies import PolicyChance
from tests.unit.engine.random_portfolios import Chance


def case(seed):
    """A desk, and holdings with their policies."""
    chance, shares = Chance(seed), seed % 2 == 0
    frame = chance.frame()
    desk = Desk(chance.universe, frame, chance.market(frame))
    count = 1 if shares else int(chance.random.integers(2, 4))
    accounts = [
        chance.account(f"account {k}", chance.some(chance.derivatives(), most=6), size=80_000, cash=60_000)
        for k in range(count)
    ]
    reserves = [("USDT", chance.decimal(0, 20_000, 2), Decimal(100))]
    holdings = chance.portfolio(accounts, reserves=reserves)
    policies = PolicyChance(chance, holdings, desk.risk(holdings), shares=shares).policies()
    stored = tuple(StoredPolicy(chance.identity(), 1, policy) for policy in policies)
    return desk, replace(holdings, policies=stored)


class Tally:
    def __init__(self):
        self.counts = Counter()
        self.savings = []

    def take(self, seed):
        desk, holdings = case(seed)
        adjustment = desk.adjustment(holdings)
        if adjustment is None:
            self.counts["nothing to do"] += 1
            return
        before = desk.risk(holdings)
        after = desk.risk(desk.done(holdings, adjustment.legs))
        found = missed(desk, holdings, adjustment.policies, before, after)
        said = {miss.policy_id for miss in adjustment.misses}
        for (policy_id, figure), much in found.items():
            acted = policy_id in adjustment.policies
            assert much <= 0.0 or (acted and policy_id in said), (seed, figure, much, acted)
        one = one_by_one(desk, holdings)
        others = missed(desk, holdings, adjustment.policies, before, desk.risk(one.holdings))
        self.counts["plans"] += 1
        self.counts["plans that miss something and say so"] += bool(said)
        if any(much > 0.0 for much in others.values()):
            self.counts["rules that fight: one after the other does not reach all targets"] += 1
            return
        self.counts["compared"] += 1
        cost = desk.cost(adjustment.legs)
        assert cost <= one.cost + desk.lot_cost([*adjustment.legs, *one.legs]), (seed, cost, one.cost)
        if one.cost > 0.0:
            self.savings.append(1.0 - cost / one.cost)


def test_a_plan_says_what_it_misses_and_is_no_dearer_than_policies_one_by_one():
    tally = Tally()
    for seed in range(80):
        tally.take(seed)
    assert tally.counts["compared"] >= 8
    assert max(tally.savings) > 0.0


@pytest.mark.long
def test_a_thousand_plans(capsys):
    tally = Tally()
    for seed in range(1_000):
        tally.take(seed)
    assert tally.counts["compared"] >= 100
    told = ", ".join(f"{count} {what}" for what, count in tally.counts.items())
    median, mean = statistics.median(tally.savings), statistics.mean(tally.savings)
    with capsys.disabled():
        sys.stdout.write(f"\n{told}; saving: median {median:.1%}, mean {mean:.1%}\n")
