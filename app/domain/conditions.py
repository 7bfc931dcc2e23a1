"""Conditions: trees of all, any and not over comparisons of metrics, with crossings, changes and dwell.

A condition is true, false or unknown. It is unknown where a price that it needs is not known, unless the rest
of the tree decides it: false and unknown is false, true or unknown is true. A rule fires on true alone.
"""

from collections.abc import Iterator
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from typing_extensions import override

from app.domain.metrics import MetricRef, MetricReference

MOST_LEVELS = 8
MOST_NODES = 64
MOST_WINDOWS = 8
_DAY_SECONDS = 86_400

Seconds = Annotated[int, Field(ge=1, le=7 * _DAY_SECONDS)]


class Op(StrEnum):
    ABOVE = "above"
    BELOW = "below"
    AT_LEAST = "at_least"
    AT_MOST = "at_most"


class Direction(StrEnum):
    ABOVE = "above"
    BELOW = "below"


class _Node(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @property
    def parts(self) -> tuple[tuple[str, "Condition"], ...]:
        """The conditions that it is made of, each with its JSON pointer from here."""
        return ()

    @property
    def metrics(self) -> tuple[MetricRef, ...]:
        """What it reads itself, its parts not counted."""
        return ()


def _at_least_one(parts: tuple["Condition", ...]) -> tuple["Condition", ...]:
    if not parts:
        raise ValueError("at least one condition is needed")
    return parts


class _Several(_Node):
    conditions: Annotated[
        tuple["Condition", ...],
        AfterValidator(_at_least_one),  # of what is valid: a part that is not is no missing one
        Field(max_length=MOST_NODES, json_schema_extra={"minItems": 1}),
    ]

    @property
    @override
    def parts(self) -> tuple[tuple[str, "Condition"], ...]:
        return tuple((f"/conditions/{at}", part) for at, part in enumerate(self.conditions))


class _Around(_Node):
    condition: "Condition"

    @property
    @override
    def parts(self) -> tuple[tuple[str, "Condition"], ...]:
        return (("/condition", self.condition),)


_LOW_MARGIN = {"kind": "comparison", "metric": "health_factor@main", "op": "below", "value": "1.5"}
_CALM = {"kind": "comparison", "metric": "stress.MARKET", "op": "below", "value": "0.5"}


def _example(document: dict[str, Any]) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [document]})


class AllOf(_Several):
    """True when every part is."""

    model_config = _example({"kind": "all", "conditions": [_LOW_MARGIN, _CALM]})

    kind: Literal["all"] = "all"


class AnyOf(_Several):
    """True when one part is."""

    model_config = _example({"kind": "any", "conditions": [_LOW_MARGIN, _CALM]})

    kind: Literal["any"] = "any"


class Not(_Around):
    """True when its part is false."""

    model_config = _example({"kind": "not", "condition": _CALM})

    kind: Literal["not"] = "not"


class Comparison(_Node):
    """Compares a metric with a value, or with another metric."""

    model_config = _example(_LOW_MARGIN)

    kind: Literal["comparison"] = "comparison"
    metric: MetricReference
    op: Op
    value: Decimal | None = None
    other: MetricReference | None = None

    @model_validator(mode="after")
    def _compares_with_one_thing(self) -> Self:
        if (self.value is None) == (self.other is None):
            raise ValueError("a comparison needs either value or other, the metric to compare with")
        return self

    @property
    @override
    def metrics(self) -> tuple[MetricRef, ...]:
        return (self.metric,) if self.other is None else (self.metric, self.other)


class Crosses(_Node):
    """True on the one frame on which a metric comes to the other side of a level.

    To touch the level is not to cross it; which side it came from is remembered.
    """

    model_config = _example(
        {"kind": "crosses", "metric": "price.BTC-USDT-PERP", "direction": "below", "value": "60000"}
    )

    kind: Literal["crosses"] = "crosses"
    metric: MetricReference
    direction: Direction
    value: Decimal

    @property
    @override
    def metrics(self) -> tuple[MetricRef, ...]:
        return (self.metric,)


class RateOfChange(_Node):
    """Compares the change of a metric over a window: a difference, or a fraction of what it was.

    What it was is kept at 32 moments a window, so the window may be longer by that much. Unknown until
    what has been seen spans the window.
    """

    model_config = _example(
        {
            "kind": "rate_of_change",
            "metric": "price.BTC-USDT-PERP",
            "window_seconds": 300,
            "op": "below",
            "value": "-0.03",
            "relative": True,
        }
    )

    kind: Literal["rate_of_change"] = "rate_of_change"
    metric: MetricReference
    window_seconds: Seconds
    op: Op
    value: Decimal
    relative: Annotated[
        bool, Field(description="Whether the change is a fraction of the absolute value before.")
    ] = False

    @property
    @override
    def metrics(self) -> tuple[MetricRef, ...]:
        return (self.metric,)


class Dwell(_Around):
    """True once its part has been true for so long. While its part is unknown, time counts on."""

    model_config = _example({"kind": "dwell", "condition": _LOW_MARGIN, "seconds": 60})

    kind: Literal["dwell"] = "dwell"
    seconds: Seconds


Condition = Annotated[
    AllOf | AnyOf | Not | Comparison | Crosses | RateOfChange | Dwell, Field(discriminator="kind")
]


def within_limits(tree: Condition) -> Condition:
    windows = 0
    for nodes, (path, level, node) in enumerate(_levelled(tree), start=1):
        windows += isinstance(node, RateOfChange)
        if level > MOST_LEVELS:
            raise ValueError(f"at most {MOST_LEVELS} levels are taken; {path} is deeper")
        if nodes > MOST_NODES:
            raise ValueError(f"at most {MOST_NODES} conditions are taken; {path} is one too many")
        if windows > MOST_WINDOWS:
            raise ValueError(f"at most {MOST_WINDOWS} rate_of_change are taken; {path} is one too many")
    return tree


ConditionTree = Annotated[Condition, AfterValidator(within_limits)]
"""A whole tree, as a policy has it: no deeper and no larger than the limits."""


def walked(tree: Condition, path: str = "") -> Iterator[tuple[str, Condition]]:
    """Every condition with its JSON pointer, parts before what is made of them."""
    for step, part in tree.parts:
        yield from walked(part, path + step)
    yield path, tree


def metrics_of(tree: Condition) -> dict[MetricRef, str]:
    """What it reads, with the JSON pointer of the first condition that does."""
    found: dict[MetricRef, str] = {}
    for path, node in walked(tree):
        for metric in node.metrics:
            found.setdefault(metric, path)
    return found


def _levelled(tree: Condition) -> Iterator[tuple[str, int, Condition]]:
    """Level by level, so that the first one that is too deep is not reached through others of its kind."""
    level, following = 1, [("", tree)]
    while following:
        here, following = following, []
        for path, node in here:
            yield path, level, node
            following += [(path + step, part) for step, part in node.parts]
        level += 1


for _kind in (AllOf, AnyOf, Not, Dwell):
    _kind.model_rebuild()
