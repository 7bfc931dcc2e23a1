"""On days when the market fell, a guard keeps accounts from liquidation wherever a cure existed.

A cure existed where at the first frame that triggered the permitted actions could have restored the level, as
a search with arithmetic of its own finds. What liquidates an account all the same is either a gap, one frame
from above the trigger to below liquidation, or the cures are used up: when it triggered again, nothing that
was permitted restored it any more.
"""

import sys
from collections import Counter
from enum import StrEnum
from uuid import UUID

import pytest

from app.domain.portfolios import Portfolio
from tests.unit.engine.crash_days import DAYS, Chance, Day, Life, lived
from tests.unit.engine.cures_by_search import Holding, is_curable, levels


class Fate(StrEnum):
    CALM = "calm"
    INCURABLE = "incurable"
    JUMPED = "jumped at once"
    KEPT = "kept"
    GAP = "gap later"
    USED_UP = "used up later"
    FAILED = "FAILED"


_CURABLE = (Fate.KEPT, Fate.GAP, Fate.USED_UP)


class Judge:
    def __init__(self, day: Day, life: Life) -> None:
        self._day, self._life = day, life
        self._guard = life.start.policies[0].policy
        self._acts, self._restore = levels(self._guard)

    def ratio(self, portfolio: Portfolio, account: UUID, k: int) -> float:
        return Holding(portfolio.account(account), self._day.quotes(k)).ratio()

    def worst(self, portfolio: Portfolio, k: int) -> float:
        return max(self.ratio(portfolio, account.id, k) for account in portfolio.accounts)

    def triggered(self) -> int | None:
        """The first frame past the trigger, by the portfolio that was there at first."""
        start = self._life.start
        return next((k for k in range(len(self._day.frames)) if self.worst(start, k) >= self._acts), None)

    def fate(self) -> Fate:
        first = self.triggered()
        if first is None:
            return Fate.CALM
        if self.worst(self._life.start, first) >= 1.0:
            return Fate.JUMPED
        if not is_curable(self._life.start, self._guard, self._day.quotes(first)):
            return Fate.INCURABLE
        found = [self._why(k, account) for k, account in self._life.liquidated]
        return max(found, key=list(Fate).index, default=Fate.KEPT)

    def _why(self, last: int, account: UUID) -> Fate:
        """Back from the liquidation to where the account was last above the trigger."""
        life, k = self._life, last - 1
        assert self.ratio(life.before(last), account, last) >= 1.0
        while self.ratio(life.after(k), account, k) >= self._acts:
            k -= 1
        if k == last - 1:
            return Fate.GAP
        before = life.before(k + 1)
        ill = [before.account(account)]
        return Fate.FAILED if is_curable(before, self._guard, self._day.quotes(k + 1), ill) else Fate.USED_UP


def fates(day: Day, seeds: range) -> dict[int, Fate]:
    portfolios = {seed: Chance(seed, day).portfolio() for seed in seeds}
    lives = lived(list(portfolios.values()), day)
    return {seed: Judge(day, lives[one.id]).fate() for seed, one in portfolios.items()}


def _check(day: Day, seeds: range, least: int) -> Counter[Fate]:
    found = fates(day, seeds)
    assert [seed for seed, fate in found.items() if fate is Fate.FAILED] == []
    assert sum(fate in _CURABLE for fate in found.values()) >= least
    return Counter(found.values())


@pytest.mark.parametrize("name", ["2020-03-12", "2021-05-19"])
def test_no_account_is_liquidated_that_could_be_cured(name):
    _check(Day(name), range(60), 10)


@pytest.mark.long
@pytest.mark.parametrize(("name", "every"), [(name, 50 if name == "2024-08-08" else 1) for name in DAYS])
def test_no_account_of_many_is_liquidated_that_could_be_cured(name, every, capsys):
    found = _check(Day(name, every=every), range(100 if name == "2024-08-08" else 1_000), 30)
    told = ", ".join(f"{found[fate]} {fate}" for fate in Fate)
    with capsys.disabled():
        sys.stdout.write(f"\n{name}: {sum(found.values())} portfolios: {told}\n")
