"""Goals in order: each level as well met as those above it allow, and then the least cost."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, milp

from app.engine.programme import Programme
from app.engine.solver import Solver, Status

SHARED = Solver()
SLACK = 3e-7
"""What scipy may give up of a level: its tolerance is 1e-7 a row."""
GAIN = 1_000.0 * SLACK
"""What that may be worth to the next levels: a row of small effect against one of large."""


def programme(
    matrix, low, high, *, cost=None, upper=None, lower=None, lot=None, level=None, scale=None
) -> Programme:
    matrix = np.array(matrix, dtype=float)
    m, n = matrix.shape
    return Programme(
        lower=np.zeros(n) if lower is None else np.array(lower, dtype=float),
        upper=np.full(n, 10.0) if upper is None else np.array(upper, dtype=float),
        cost=np.ones(n) if cost is None else np.array(cost, dtype=float),
        lot=np.zeros(n) if lot is None else np.array(lot, dtype=float),
        matrix=matrix,
        low=np.array(low, dtype=float),
        high=np.array(high, dtype=float),
        level=np.zeros(m, dtype=np.int64) if level is None else np.array(level),
        scale=np.ones(m) if scale is None else np.array(scale, dtype=float),
    )


@st.composite
def programmes(draw, *, variables=(1, 6), rows=(1, 5), lots=(0.0,), most=12):
    n, m = draw(st.integers(*variables)), draw(st.integers(*rows))
    wholes = st.integers(-5, 5)
    low, high = [], []
    for _ in range(m):
        edge, width = draw(st.integers(-30, 30)), draw(st.integers(0, 4))
        side = draw(st.sampled_from(["both", "low", "high"]))
        low.append(-np.inf if side == "high" else edge)
        high.append(np.inf if side == "low" else edge + width)
    return programme(
        [[draw(wholes) for _ in range(n)] for _ in range(m)],
        low,
        high,
        cost=[draw(st.integers(0, 7)) for _ in range(n)],
        upper=[draw(st.integers(0, most)) for _ in range(n)],
        lot=[draw(st.sampled_from(lots)) for _ in range(n)],
        level=[draw(st.integers(0, 2)) for _ in range(m)],
        scale=[draw(st.sampled_from([0.5, 1.0, 4.0])) for _ in range(m)],
    )


def missed(given_programme, violations):
    """By level, the most important first."""
    levels = np.unique(given_programme.level)
    return [
        float((violations / given_programme.scale)[given_programme.level == each].sum()) for each in levels
    ]


def least_by_stage(p, reached):
    """scipy's least miss of each level, with those above held to what was `reached`; the least cost last."""
    m, n = p.matrix.shape
    levels = [(p.level == each) / p.scale for each in np.unique(p.level)]
    objectives = [
        *(np.concatenate((np.zeros(n), each, each)) for each in levels),
        np.concatenate((p.cost, np.zeros(2 * m))),
    ]
    constraints = [LinearConstraint(np.hstack((p.matrix, np.eye(m), -np.eye(m))), p.low, p.high)]
    bounds = Bounds(
        np.concatenate((p.lower, np.zeros(2 * m))), np.concatenate((p.upper, np.full(2 * m, np.inf)))
    )
    whole = np.concatenate((p.lot > 0.0, np.zeros(2 * m)))
    for objective, held in zip(objectives, [*reached, np.inf], strict=True):
        found = milp(
            objective, constraints=constraints, bounds=bounds, integrality=whole, options={"presolve": False}
        )
        assert found.success, found.message
        yield float(found.fun)
        constraints.append(LinearConstraint(objective, -np.inf, held + SLACK))


def assert_in_limits(p, values):
    assert np.isfinite(values).all()
    assert ((values >= p.lower) & (values <= p.upper)).all()
    assert (values[p.lot > 0.0] == np.rint(values[p.lot > 0.0])).all()


@given(programmes())
@settings(deadline=None)
def test_each_level_is_as_well_met_as_those_above_allow_and_the_rest_is_cheapest(p):
    solution = SHARED.solve(p)
    assert solution.status is Status.SOLVED
    assert_in_limits(p, solution.values)
    reached = missed(p, solution.violations)
    cost = float((p.cost * solution.values).sum())
    least = list(least_by_stage(p, reached))
    assert [*reached, cost] == pytest.approx(least, rel=1e-6, abs=GAIN)


@given(programmes())
@settings(deadline=None)
def test_a_lower_level_never_worsens_a_higher_one(p):
    """What the first level alone would miss, it misses still when others want something too."""
    first = p.level == p.level.min()
    alone = p._replace(
        matrix=p.matrix[first],
        low=p.low[first],
        high=p.high[first],
        level=p.level[first],
        scale=p.scale[first],
    )
    with_others, without = SHARED.solve(p), SHARED.solve(alone)
    assert missed(p, with_others.violations)[0] == pytest.approx(
        missed(alone, without.violations)[0], rel=1e-7, abs=1e-7
    )


@given(programmes(lots=(0.0, 0.1), rows=(1, 3)))
@settings(max_examples=60, deadline=None)
def test_whole_lots_miss_no_more_and_cost_at_most_a_lot_more_than_they_must(p):
    solution = SHARED.solve(p)
    assert solution.status is Status.SOLVED
    assert_in_limits(p, solution.values)
    reached = missed(p, solution.violations)
    *levels, least = least_by_stage(p, reached)
    assert reached == pytest.approx(levels, rel=1e-6, abs=GAIN)
    dearest = float(p.cost[p.lot > 0.0].max(initial=0.0))
    cost = float((p.cost * solution.values).sum())
    assert least - GAIN <= cost <= least + dearest + GAIN


@given(programmes(variables=(1, 3), rows=(1, 3), lots=(1.0,), most=4))
@settings(max_examples=60, deadline=None)
def test_whole_lots_against_every_combination(p):
    solution = SHARED.solve(p)
    levels, least = min(
        (outcome(p, np.array(values)) for values in product(*(range(int(u) + 1) for u in p.upper))),
    )
    found_levels, cost = outcome(p, solution.values)
    assert found_levels == levels
    allowance = p.cost.max() if sum(levels) == 0.0 else 1e-6
    assert least <= cost <= least + allowance


def outcome(p, values):
    """Exact: all figures are small integers, and scales powers of two."""
    moved = (p.matrix * values).sum(axis=1)
    violations = np.maximum(np.maximum(p.low - moved, moved - p.high), 0.0)
    return missed(p, violations), float((p.cost * values).sum())


@given(st.lists(programmes(lots=(0.0, 0.0, 1.0), rows=(1, 3)), min_size=2, max_size=6))
@settings(max_examples=25, deadline=None)
def test_the_same_to_the_bit_alone_and_after_any_others(several):
    solver = Solver()
    after_others = [solver.solve(each) for each in several]
    again = [solver.solve(each) for each in reversed(several)][::-1]
    alone = [Solver().solve(each) for each in several]
    for solutions in zip(after_others, again, alone, strict=True):
        assert len({each.values.tobytes() + each.violations.tobytes() for each in solutions}) == 1


@given(programmes(), st.sampled_from([1e-6, 1e3, 1e8]))
@settings(deadline=None)
def test_the_currency_does_not_matter(p, rate):
    dearer = p._replace(cost=p.cost * rate, matrix=p.matrix * rate, low=p.low * rate, high=p.high * rate)
    here, there = SHARED.solve(p), SHARED.solve(dearer)
    assert missed(dearer, there.violations / rate) == pytest.approx(missed(p, here.violations), abs=1e-6)
    assert (p.cost * there.values).sum() == pytest.approx((p.cost * here.values).sum(), abs=1e-5)


def test_the_cheapest_way_to_what_can_all_be_reached():
    """Two ways to move 6, one at half the price and with room for 4."""
    p = programme([[1.0, 1.0]], [6.0], [np.inf], cost=[1.0, 2.0], upper=[4.0, 10.0])
    solution = SHARED.solve(p)
    assert solution.values == pytest.approx([4.0, 2.0])
    assert solution.violations.tolist() == [0.0]


def test_what_cannot_be_reached_is_missed_by_what_is_left():
    p = programme([[2.0]], [50.0], [60.0], upper=[10.0], scale=[10.0])
    assert SHARED.solve(p).violations == pytest.approx([30.0])


def test_rows_of_one_level_are_weighed_in_their_scale():
    """x at 0 misses the second row, at 10 the first: the one with the smaller scale counts more."""
    for scale, expected in (([1.0, 3.0], 0.0), ([3.0, 1.0], 10.0)):
        p = programme([[1.0], [1.0]], [-np.inf, 10.0], [0.0, np.inf], scale=scale)
        assert SHARED.solve(p).values == pytest.approx([expected])


def test_nothing_moves_without_use_though_it_costs_nothing():
    p = programme([[1.0, -1.0, 0.0]], [5.0], [np.inf], cost=[0.0, 0.0, 0.0])
    assert SHARED.solve(p).values == pytest.approx([5.0, 0.0, 0.0])


def test_a_row_that_must_hold_comes_before_all_goals():
    p = programme([[1.0], [1.0]], [8.0, -np.inf], [np.inf, 3.0], level=[0, -1])
    solution = SHARED.solve(p)
    assert solution.status is Status.SOLVED
    assert solution.values == pytest.approx([3.0])
    assert solution.violations == pytest.approx([5.0, 0.0])


def test_rows_that_must_hold_and_cannot():
    p = programme([[1.0], [1.0]], [20.0, 4.0], [np.inf, np.inf], level=[-1, 0])
    solution = SHARED.solve(p)
    assert solution.status is Status.INFEASIBLE
    assert not solution.solved
    assert solution.values.tolist() == [0.0]
    assert solution.violations.tolist() == [20.0, 4.0]


def test_limits_start_where_they_are_said_to():
    p = programme([[1.0, 1.0]], [-np.inf], [5.0], lower=[2.0, 1.0])
    assert SHARED.solve(p).values.tolist() == [2.0, 1.0]
    p = programme([[1.0, 1.0]], [6.0], [np.inf], lower=[2.0, 1.0], cost=[2.0, 1.0], upper=[9.0, 3.0])
    assert SHARED.solve(p).values == pytest.approx([3.0, 3.0])


@pytest.mark.parametrize("field", ["lower", "cost", "lot", "matrix", "low", "high", "scale", "upper"])
def test_what_is_not_a_number_fails_without_one(field):
    p = programme([[1.0, 1.0]], [5.0], [6.0])
    broken = getattr(p, field).copy()
    broken.flat[0] = np.nan
    solution = SHARED.solve(p._replace(**{field: broken}))
    assert solution.status is Status.FAILED
    assert solution.values.tolist() == [0.0, 0.0]
    assert solution.violations.tolist() == [np.inf]


@pytest.mark.parametrize(
    "change",
    [{"low": [7.0]}, {"cost": [-1.0, 1.0]}, {"upper": [-1.0, 1.0]}, {"scale": [0.0]}, {"low": [np.inf]}],
)
def test_what_contradicts_itself_fails(change):
    p = programme([[1.0, 1.0]], [5.0], [6.0])
    (field, value), *_ = change.items()
    assert SHARED.solve(p._replace(**{field: np.array(value)})).status is Status.FAILED


def test_nothing_to_move():
    p = programme(np.zeros((2, 0)), [1.0, -1.0], [np.inf, np.inf], level=[0, 1])
    solution = SHARED.solve(p)
    assert solution.status is Status.SOLVED
    assert solution.values.size == 0
    assert solution.violations.tolist() == [1.0, 0.0]
    assert SHARED.solve(p._replace(level=np.array([-1, 0]))).status is Status.INFEASIBLE


def test_nothing_is_wanted():
    solution = SHARED.solve(programme(np.zeros((0, 3)), [], []))
    assert solution.status is Status.SOLVED
    assert solution.values.tolist() == [0.0, 0.0, 0.0]


def test_a_level_without_effect_is_missed_and_the_next_is_served():
    p = programme([[0.0], [1.0]], [1.0, 4.0], [np.inf, np.inf], level=[0, 1])
    solution = SHARED.solve(p)
    assert solution.values == pytest.approx([4.0])
    assert solution.violations == pytest.approx([1.0, 0.0])
