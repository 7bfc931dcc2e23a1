"""On recorded markets portfolios sleep in intervals as wide as the true ones, or nearly, and are left alone.

What is simulated beside the recorded prices is said in `market_histories`. Tables that are printed stand in
docs/wake-bounds.md, with the reasons of what is not within the bars.
"""

import sys
from collections.abc import Iterable

import numpy as np
import pytest

from tests.unit.engine.market_histories import MINUTES, MONTH, History
from tests.unit.engine.sleeping_books import Chance
from tests.unit.engine.sleeping_policies import ALWAYS_AWAKE, LINEAR, OPTIONAL, OTHERS
from tests.unit.engine.wake_bounds import Looks, Standstill, looks, tightness

_NAMES = pytest.mark.parametrize("name", [MONTH, MINUTES])
_MOMENTS = {MONTH: (500, 8_000, 22_000, 30_000), MINUTES: (60, 1_500, 3_000)}
_FORTNIGHT = {"begin": 8_000, "stop": 22_400}
_CRASH = {"begin": 20_000, "stop": 24_000}
"""Of 2021: from 7 May to the afternoon of the crash, 19 May; from 17 May to 21 May. Whoever is beyond cure
from then on is planned for with every frame.
"""
_WITH_NEWS = ("volatility_target, implied", "volatility_target, realized", "stress_response, index")
"""They wake with all news of what they read, which the month tells with every frame, or every fourth."""


def _tell(capsys, title: str, rows: Iterable[tuple]) -> None:
    lines = ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    with capsys.disabled():
        sys.stdout.write("\n".join(("", title, *lines, "")))


@pytest.mark.long
@_NAMES
def test_no_interval_is_wider_than_the_true_one_and_on_one_price_it_is_that_one(name, capsys):
    history, rows = History(name), []
    for family in (*LINEAR, *OPTIONAL, *OTHERS):
        found = tightness(family, history, _MOMENTS[name], portfolios=200)
        quantiles = [np.quantile(shares, (0.0, 0.1, 0.5)) for shares in (found.shares, found.held)]
        rows.append((family.name, *(f"{share:.3f}" for three in quantiles for share in three)))
        assert found.wider == 0, family.name
        if family in LINEAR and family.name != "volatility_target, realized":  # not known on a frame alone
            assert found.shares.min() >= 0.99, family.name
        if family in OPTIONAL:
            assert np.median(found.shares) >= 0.5, family.name
        if family in OTHERS and "ether" not in family.name:
            assert np.median(found.shares) >= 0.96, family.name
    title = f"{name}, shares of the true width: least, tenth, half; with volatilities and time held as well"
    _tell(capsys, title, rows)


def _told(found: dict[str, Looks], capsys, title: str) -> None:
    rows = [(name, f"{100.0 * each.awake:.3f} %", each.events, each.pairs) for name, each in found.items()]
    _tell(capsys, f"{title}: looked at between events; events; pairs", rows)


@pytest.mark.long
@_NAMES
def test_between_events_books_on_one_price_are_hardly_looked_at(name, capsys):
    if name == MINUTES:
        found = looks(LINEAR, History(name), portfolios=200)
    else:
        families = [family for family in LINEAR if family.name not in _WITH_NEWS]
        found = looks(families, History(name, most=_FORTNIGHT["stop"]), portfolios=50, **_FORTNIGHT)
    _told(found, capsys, name)
    assert all(
        each.awake <= 0.01 for family, each in found.items() if family != "volatility_target, realized"
    )


@pytest.mark.long
@_NAMES
def test_between_events_books_on_several_prices_are_hardly_looked_at(name, capsys):
    if name == MINUTES:
        found = looks(OTHERS, History(name), portfolios=200)
    else:
        found = looks(OTHERS, History(name, most=_FORTNIGHT["stop"]), portfolios=50, **_FORTNIGHT)
    _told(found, capsys, name)
    assert all(each.awake <= 0.01 for each in found.values())


@pytest.mark.long
def test_between_events_books_of_options_are_hardly_looked_at_within_minutes(capsys):
    found = looks(OPTIONAL, History(MINUTES), portfolios=200)
    _told(found, capsys, MINUTES)
    assert all(each.awake <= 0.05 for each in found.values())


@pytest.mark.long
@pytest.mark.parametrize("noise", [0.0, 0.001, 0.002, 0.005])
def test_how_often_books_of_options_are_looked_at_in_a_crash(noise, capsys):
    families = [family for family in OPTIONAL if family.name not in _WITH_NEWS]
    found = looks(families, History(MONTH, noise=noise, most=_CRASH["stop"]), portfolios=15, **_CRASH)
    _told(found, capsys, f"{MONTH}, noise of volatilities {noise:.1%} a minute")
    assert all(each.events or each.idle for each in found.values())
    if not noise:
        assert all(each.awake <= 0.05 for each in found.values())


@pytest.mark.parametrize("family", ALWAYS_AWAKE, ids=lambda family: family.name)
def test_who_is_always_awake(family):
    history, k = History(MINUTES, most=100), 60
    chance = Chance(family.name, history, k, family.listed)
    still = Standstill(history, k, family.listed, [chance.portfolio(family) for _ in range(10)])
    assert still.rests() == [None] * 10
    assert not still.fires().any()
