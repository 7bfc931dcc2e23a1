"""Conditions that can never be true, or never be false: what a user did not mean.

Sound, and no more than that: what is reported is proved, but not every contradiction is found. Each condition
is turned into what must hold when it is true (or false): for every quantity that it reads, an interval. All
intersects them, any takes the smallest interval around them, and where nothing is left there is no such case.
Values are compared as the floats that they are evaluated as.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf
from typing import assert_never

from typing_extensions import override

from app.domain.conditions import (
    AllOf,
    AnyOf,
    Comparison,
    Condition,
    Crosses,
    Direction,
    Dwell,
    Not,
    Op,
    RateOfChange,
    walked,
)
from app.domain.metrics import METRICS, MetricRef


@dataclass(frozen=True, slots=True)
class Finding:
    """`path` is a JSON pointer into the tree, empty for the whole of it.

    `holds`: true whenever its metrics are known; otherwise never true.
    """

    path: str
    holds: bool

    @property
    def message(self) -> str:
        what = "this condition" if self.path else "the whole condition"
        return f"{what} is always true" if self.holds else f"{what} can never be true"


def contradictions(tree: Condition) -> list[Finding]:
    """The smallest conditions that are never true, or always, and the whole tree where it is."""
    found: list[Finding] = []
    for path, node in walked(tree):
        known = any(finding.path.startswith(path + "/") for finding in found)
        if known and path:
            continue  # a part of it says why
        if _must_hold(node, when=True) is None:
            found.append(Finding(path, holds=False))
        elif _must_hold(node, when=False) is None:
            found.append(Finding(path, holds=True))
    return found


def is_certain(tree: Condition, known: Mapping[MetricRef, "Range"]) -> bool:
    """Whether the tree is true where these figures are known to be in these ranges."""
    facts: _Facts = {(metric,): value for metric, value in known.items()}
    return _all_of([facts, _must_hold(tree, when=False)]) is None


@dataclass(frozen=True, slots=True)
class Range:
    """Of values; an end belongs to it unless it is said to be without."""

    low: float = -inf
    high: float = inf
    without_low: bool = False
    without_high: bool = False

    @override
    def __str__(self) -> str:
        return f"{self.low:g}" if self.low == self.high else f"between {self.low:g} and {self.high:g}"

    @property
    def is_empty(self) -> bool:
        return self.low > self.high or (self.low == self.high and (self.without_low or self.without_high))

    def meet(self, other: "Range") -> "Range":
        low, without_low = max((self.low, self.without_low), (other.low, other.without_low))
        high, within = min((self.high, not self.without_high), (other.high, not other.without_high))
        return Range(low, high, without_low, not within)

    def hull(self, other: "Range") -> "Range":
        low, without_low = min((self.low, self.without_low), (other.low, other.without_low))
        high, within = max((self.high, not self.without_high), (other.high, not other.without_high))
        return Range(low, high, without_low, not within)


_Quantity = tuple[object, ...]
"""A metric, the order of two metrics, or the change of one over a window."""
_Facts = Mapping[_Quantity, Range]
_NOTHING: _Facts = {}
_OPPOSITE = {Op.ABOVE: Op.AT_MOST, Op.BELOW: Op.AT_LEAST, Op.AT_LEAST: Op.BELOW, Op.AT_MOST: Op.ABOVE}
_MIRRORED = {Op.ABOVE: Op.BELOW, Op.BELOW: Op.ABOVE, Op.AT_LEAST: Op.AT_MOST, Op.AT_MOST: Op.AT_LEAST}


def _must_hold(node: Condition, *, when: bool) -> _Facts | None:
    """What is certain where the condition is true (or false); None where it cannot be."""
    match node:
        case AllOf():
            parts = [_must_hold(part, when=when) for part in node.conditions]
            return _all_of(parts) if when else _any_of(parts)
        case AnyOf():
            parts = [_must_hold(part, when=when) for part in node.conditions]
            return _any_of(parts) if when else _all_of(parts)
        case Not():
            return _must_hold(node.condition, when=not when)
        case Comparison():
            return _of_comparison(node, node.op if when else _OPPOSITE[node.op])
        case RateOfChange():
            quantity = (node.metric, node.window_seconds, node.relative)
            return _fact(quantity, node.op if when else _OPPOSITE[node.op], float(node.value))
        case Crosses():
            side = Op.ABOVE if node.direction is Direction.ABOVE else Op.BELOW
            return _fact((node.metric,), side, float(node.value)) if when else _NOTHING
        case Dwell():
            if not when:
                return _NOTHING  # it also waits while its part is true
            return None if _is_momentary(node.condition) else _must_hold(node.condition, when=True)
        case _:
            assert_never(node)


def _of_comparison(node: Comparison, op: Op) -> _Facts | None:
    if node.other is None:
        assert node.value is not None  # noqa: S101 - a comparison has one of the two
        return _fact((node.metric,), op, float(node.value))
    if node.metric == node.other:
        return _NOTHING if op in (Op.AT_LEAST, Op.AT_MOST) else None
    if str(node.metric) < str(node.other):
        return _fact((node.metric, node.other), op, 0.0)
    return _fact((node.other, node.metric), _MIRRORED[op], 0.0)


def _fact(quantity: _Quantity, op: Op, value: float) -> _Facts | None:
    interval = {
        Op.ABOVE: Range(low=value, without_low=True),
        Op.AT_LEAST: Range(low=value),
        Op.BELOW: Range(high=value, without_high=True),
        Op.AT_MOST: Range(high=value),
    }[op]
    return _all_of([{quantity: interval}, {quantity: _known_of(quantity)}])


def _known_of(quantity: _Quantity) -> Range:
    match quantity:
        case (MetricRef(name=name),) if METRICS[name].at_least_zero:
            return Range(low=0.0)
        case _:
            return Range()


def _all_of(parts: Iterable[_Facts | None]) -> _Facts | None:
    found: dict[_Quantity, Range] = {}
    for part in parts:
        if part is None:
            return None
        for quantity, interval in part.items():
            narrowed = found.get(quantity, interval).meet(interval)
            if narrowed.is_empty:
                return None
            found[quantity] = narrowed
    return found


def _any_of(parts: Iterable[_Facts | None]) -> _Facts | None:
    """What holds in every case that there is."""
    cases = [part for part in parts if part is not None]
    if not cases:
        return None
    found = dict(cases[0])
    for case in cases[1:]:
        found = {q: interval.hull(case[q]) for q, interval in found.items() if q in case}
    return found


def _is_momentary(node: Condition) -> bool:
    """Whether it is true on single frames alone, so that it never lasts."""
    match node:
        case Crosses():
            return True
        case AllOf():
            return any(_is_momentary(part) for part in node.conditions)
        case _:
            return False
