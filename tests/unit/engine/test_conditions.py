"""Compiled conditions against a plain recursive reading of the tree, on random trees and random markets."""

import json
from decimal import Decimal
from itertools import pairwise
from math import inf, isnan, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from app.domain.conditions import (
    AllOf,
    AnyOf,
    Comparison,
    ConditionTree,
    Crosses,
    Direction,
    Dwell,
    Not,
    Op,
    RateOfChange,
)
from app.domain.contradictions import contradictions
from app.domain.metrics import MetricRef
from app.engine.columns import Columns
from app.engine.conditions import ConditionColumns, Opcode, Operand, compile_condition
from app.engine.registers import advanced, fitting, wakes_ns
from tests.evaluated_conditions import evaluated

SECOND = 1_000_000_000
START_NS = 1_767_225_600 * SECOND
METRICS = [MetricRef.parse(text) for text in ("leverage", "net_delta.BTC", "price.BTC-USDT-PERP")]
TREE = TypeAdapter(ConditionTree)


class Compiled:
    """A programme in columns, among rows and registers of others."""

    def __init__(self, tree):
        self.programme = compile_condition(tree, lambda ref: (Operand(Opcode.UNKNOWN, METRICS.index(ref)),))
        columns = Columns(ConditionColumns)
        other = compile_condition(Not(condition=comparison(0, "above", 1)), lambda _: (Operand(0, 0),))
        columns.append(other.rows)
        self.first, self.stop = columns.append(self.programme.rows)
        columns.append(other.rows)
        self.columns = columns.arrays

    def look(self, registers, values, time_ns):
        """The truth, whether registers are due to change, and the results."""
        rows = self.programme.rows
        results = np.full(len(rows) + 2, nan)
        for at, row in enumerate(rows, start=1):
            if row.opcode is Opcode.UNKNOWN:
                results[at] = values[row.subject]
            elif row.opcode is Opcode.CONSTANT:
                results[at] = row.constant
        held = np.array([nan, *fitting(self.programme, registers), nan])
        truth, due = evaluated(
            self.first, self.stop, 1, self.columns, results, held, 1, float(time_ns // 1_000)
        )
        return truth, due, results[1:-1].tolist()

    def through(self, frames, cuts):
        """Block by block: a block is looked at as a whole, and again from where registers have changed."""
        registers, truths = (), []
        bounds = [0, *cuts, len(frames)]
        for start, stop in pairwise(bounds):
            k = start
            while k < stop:
                seen = [self.look(registers, values, time_ns) for time_ns, values in frames[k:stop]]
                changed = next((at for at, (_, due, _) in enumerate(seen) if due), len(seen) - 1)
                truths += [truth for truth, _, _ in seen[: changed + 1]]
                _, due, results = seen[changed]
                after = advanced(self.programme, registers, results, frames[k + changed][0])
                assert due or after == fitting(self.programme, registers)
                registers, k = after, k + changed + 1
        return truths, registers


class Plain:
    """The same by recursion over the tree, with whole histories for memory."""

    def __init__(self, tree):
        self._tree = tree
        self._memory = {}

    def look(self, values, time_ns):
        return self._truth(self._tree, "", dict(zip(METRICS, values, strict=True)), time_ns)

    def _truth(self, node, path, values, time_ns):
        match node:
            case AllOf() | AnyOf():
                found = [self._truth(part, path + step, values, time_ns) for step, part in node.parts]
                decides = isinstance(node, AnyOf)
                return decides if decides in found else None if None in found else not decides
            case Not():
                found = self._truth(node.condition, path + "/condition", values, time_ns)
                return None if found is None else not found
            case Comparison():
                limit = values[node.other] if node.other else float(node.value)
                return _compared(values[node.metric], node.op, limit)
            case RateOfChange():
                return _compared(self._change(node, path, values, time_ns), node.op, float(node.value))
            case Crosses():
                return self._crosses(node, path, values)
            case Dwell():
                return self._dwells(node, path, values, time_ns)

    def _crosses(self, node, path, values):
        value, level = values[node.metric], float(node.value)
        before = self._memory.get(path)
        if isnan(value):
            return None
        if value != level:
            self._memory[path] = value > level
        above = node.direction is Direction.ABOVE
        there = value > level if above else value < level
        return (None if before is None else before is not above) if there else False

    def _dwells(self, node, path, values, time_ns):
        holds = self._truth(node.condition, path + "/condition", values, time_ns)
        since = self._memory.get(path)
        if holds is None:
            return None
        if not holds:
            self._memory.pop(path, None)
            return False
        self._memory.setdefault(path, time_ns)
        return since is not None and time_ns - since >= node.seconds * SECOND

    def _change(self, node, path, values, time_ns):
        value, window = values[node.metric], node.window_seconds * SECOND
        history = self._memory.setdefault(path, [])
        before = next((v for t, v in reversed(history) if t <= time_ns - window), nan)
        if not isnan(value) and (not history or time_ns - history[-1][0] >= window / 32):
            history.append((time_ns, value))
        if not node.relative:
            return value - before
        return (value - before) / abs(before) if before else nan


def _compared(value, op, limit):
    if isnan(value) or isnan(limit):
        return None
    return {
        Op.ABOVE: value > limit,
        Op.BELOW: value < limit,
        Op.AT_LEAST: value >= limit,
        Op.AT_MOST: value <= limit,
    }[op]


def comparison(metric, op, value):
    return Comparison(metric=METRICS[metric], op=op, value=value)


TRUTHS = {True: 1.0, False: 0.0, None: nan}
metrics = st.sampled_from(METRICS)
ops = st.sampled_from(Op)
limits = st.integers(-2, 4).map(Decimal)
leaves = st.one_of(
    st.builds(Comparison, metric=metrics, op=ops, value=limits),
    st.builds(Comparison, metric=metrics, op=ops, other=metrics),
    st.builds(Crosses, metric=metrics, direction=st.sampled_from(Direction), value=limits),
    st.builds(
        RateOfChange,
        metric=metrics,
        window_seconds=st.integers(1, 40),
        op=ops,
        value=limits,
        relative=st.booleans(),
    ),
)
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(AllOf, conditions=st.lists(inner, min_size=1, max_size=4).map(tuple)),
        st.builds(AnyOf, conditions=st.lists(inner, min_size=1, max_size=4).map(tuple)),
        st.builds(Not, condition=inner),
        st.builds(Dwell, condition=inner, seconds=st.integers(1, 20)),
    ),
    max_leaves=10,
)
figures = st.one_of(st.integers(-3, 5).map(float), st.sampled_from([nan, inf, -inf, 0.5]))
steps_ns = st.one_of(
    st.integers(0, 8).map(lambda seconds: seconds * SECOND),
    st.integers(0, 3_000_000).map(lambda microseconds: microseconds * 1_000),
)
steps = st.lists(st.tuples(steps_ns, st.tuples(figures, figures, figures)), min_size=1, max_size=60)


def frames_of(found):
    time_ns, frames = START_NS, []
    for step_ns, values in found:
        time_ns += step_ns
        frames.append((time_ns, values))
    return frames


@settings(max_examples=300, deadline=None)
@given(tree=trees, found=steps, cuts=st.sets(st.integers(1, 59), max_size=6))
def test_the_compiled_tree_says_what_the_tree_says_however_frames_are_cut_into_blocks(tree, found, cuts):
    frames = frames_of(found)
    plain = Plain(tree)
    expected = [TRUTHS[plain.look(values, time_ns)] for time_ns, values in frames]
    compiled = Compiled(tree)
    truths, registers = compiled.through(frames, sorted(cut for cut in cuts if cut < len(frames)))
    np.testing.assert_array_equal(truths, expected)
    one_by_one = compiled.through(frames, range(1, len(frames)))
    np.testing.assert_array_equal(truths, one_by_one[0])
    assert registers == one_by_one[1]


def test_false_decides_all_and_true_decides_any_though_the_rest_is_unknown():
    known, unknown = comparison(0, "above", 1), comparison(1, "above", 1)
    for kind, value, expected in (
        (AllOf, 0.0, 0.0), (AllOf, 2.0, nan), (AnyOf, 2.0, 1.0), (AnyOf, 0.0, nan),
    ):  # fmt: skip
        for parts in ((known, unknown), (unknown, known)):
            truth, due, _ = Compiled(kind(conditions=parts)).look((), (value, nan, nan), START_NS)
            np.testing.assert_equal((truth, due), (expected, False))


def test_a_dwell_wakes_when_its_time_has_passed_and_is_true_then():
    compiled = Compiled(Dwell(condition=comparison(0, "above", 1), seconds=5))
    truths, registers = compiled.through([(START_NS, (2.0, nan, nan))], ())
    (wake_ns,) = wakes_ns(compiled.programme, registers, START_NS)
    assert (truths, wake_ns) == ([0.0], START_NS + 5 * SECOND)
    assert compiled.look(registers, (2.0, nan, nan), wake_ns - 1_000)[0] == 0.0
    assert compiled.look(registers, (2.0, nan, nan), wake_ns)[:2] == (1.0, False)
    assert wakes_ns(compiled.programme, registers, wake_ns) == []
    assert compiled.look(registers, (1.0, nan, nan), wake_ns)[:2] == (0.0, True)


def test_a_dwell_counts_on_while_its_part_is_unknown():
    compiled = Compiled(Dwell(condition=comparison(0, "above", 1), seconds=5))
    values = [2.0, nan, nan, 2.0, 0.0, 2.0]
    frames = [(START_NS + k * 2 * SECOND, (value, nan, nan)) for k, value in enumerate(values)]
    truths, _ = compiled.through(frames, ())
    np.testing.assert_array_equal(truths, [0.0, nan, nan, 1.0, 0.0, 0.0])


def test_a_crossing_is_true_once_and_a_touch_is_none():
    tree = Crosses(metric=METRICS[2], direction="above", value=100)
    values = [101.0, 99.0, 100.0, 101.0, 102.0, 100.0, 101.0, 99.0, nan, 101.0]
    frames = [(START_NS + k * SECOND, (nan, nan, value)) for k, value in enumerate(values)]
    truths, registers = Compiled(tree).through(frames, ())
    np.testing.assert_array_equal(truths, [nan, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, nan, 1.0])
    assert registers == (1.0,)


def test_a_rate_of_change_is_known_once_its_window_has_passed_and_then_stays_so():
    tree = RateOfChange(metric=METRICS[2], window_seconds=32, op="above", value=31)
    compiled, registers, changes = Compiled(tree), (), []
    for k in range(200):
        time_ns = START_NS + k * SECOND
        _, _, results = compiled.look(registers, (nan, nan, float(k)), time_ns)
        registers = advanced(compiled.programme, registers, results, time_ns)
        changes.append(results[compiled.programme.paths.index("/change")])
        assert wakes_ns(compiled.programme, registers, time_ns) == [time_ns + SECOND]
    np.testing.assert_array_equal(changes, [nan] * 32 + [32.0] * 168)


def test_the_largest_tree_is_taken_and_what_is_larger_or_deeper_is_not():
    leaf = {"kind": "comparison", "metric": "leverage", "op": "above", "value": "3"}
    wide = {"kind": "all", "conditions": [leaf] * 63}
    assert Compiled(TREE.validate_python(wide)).look((), (4.0, nan, nan), START_NS)[0] == 1.0
    deep = leaf
    for _ in range(7):
        deep = {"kind": "not", "condition": deep}
    assert Compiled(TREE.validate_python(deep)).look((), (4.0, nan, nan), START_NS)[0] == 0.0
    window = {**leaf, "kind": "rate_of_change", "window_seconds": 60}
    for tree, words in (
        ({"kind": "any", "conditions": [leaf, wide]}, "at most 64 conditions are taken; /conditions/1/con"),
        ({"kind": "not", "condition": deep}, "at most 8 levels are taken; " + "/condition" * 8),
        ({"kind": "all", "conditions": [window] * 9}, "at most 8 rate_of_change are taken; /conditions/8"),
        ({"kind": "all", "conditions": []}, "at least one condition is needed"),
        ({**leaf, "other": "equity"}, "either value or other"),
        ({**leaf, "metric": "levrage"}, "unknown metric 'levrage'; did you mean leverage"),
    ):
        with pytest.raises(ValidationError) as refused:
            TREE.validate_python(tree)
        (error,) = refused.value.errors()
        assert words in error["msg"]


@settings(max_examples=300, deadline=None)
@given(tree=trees)
def test_a_tree_is_read_back_as_it_was_written(tree):
    assert TREE.validate_python(json.loads(TREE.dump_json(tree))) == tree


@settings(max_examples=600, deadline=None)
@given(tree=trees, found=steps)
def test_what_is_said_to_be_never_or_always_true_is_so_on_every_market(tree, found):
    """Metrics that are never negative are not in these markets either."""
    plain = Plain(tree)
    truths = {
        plain.look((abs(values[0]), values[1], abs(values[2])), time_ns)
        for time_ns, values in frames_of(found)
    }
    for finding in contradictions(tree):
        if finding.path == "":
            assert (not finding.holds) not in truths, finding.message
