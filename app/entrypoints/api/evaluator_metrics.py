"""What evaluators say of themselves, in the form that every monitor reads."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from app.engine.census import Census
from app.ports.figures import EvaluatorFigures

_COUNTERS: Final[tuple[tuple[str, str, Callable[[EvaluatorFigures], int]], ...]] = (
    ("frames", "Frames taken since the shards were opened.", lambda f: f.frames),
    ("woken", "Portfolios woken by a frame, summed over frames.", lambda f: f.woken),
    ("looks", "Looks at a portfolio on a frame, for whatever reason.", lambda f: f.looks),
    ("idle_looks", "Looks at which nothing was up: the looser the bounds, the more.", lambda f: f.idle_looks),
)
_GAUGES: Final[tuple[tuple[str, str, Callable[[Census], float]], ...]] = (
    ("portfolios", "Portfolios stored.", lambda book: book.portfolios),
    ("awake_portfolios", "Portfolios looked at with all their news.", lambda book: book.awake_portfolios),
    ("policies", "Policies stored and enabled.", lambda book: book.policies),
    ("awake_policies", "Policies of portfolios that are awake.", lambda book: book.awake_policies),
    ("boundless_policies", "Policies always awake by nature.", lambda book: book.boundless_policies),
    ("positions", "Positions stored.", lambda book: book.positions),
    ("bytes_per_position", "Columns in use, by position.", lambda book: book.bytes_per_position),
    ("bytes_per_policy", "Columns in use, by policy.", lambda book: book.bytes_per_policy),
)
_LANE: Final = ("shard",)
_TABLE: Final = ("shard", "table")


class EvaluatorMetrics(Collector):
    """`shard` is the lowest of those that stand at the same position, and have one book."""

    def __init__(self, said: Sequence[EvaluatorFigures]) -> None:
        self._said = [(str(figures.shards[0]), figures) for figures in said]

    @override
    def collect(self) -> Iterator[Metric]:
        for name, meaning, counted in _COUNTERS:
            counter = CounterMetricFamily(f"ballast_evaluator_{name}", meaning, labels=_LANE)
            for shard, figures in self._said:
                counter.add_metric((shard,), counted(figures))
            yield counter
        for name, meaning, measured in _GAUGES:
            gauge = GaugeMetricFamily(f"ballast_evaluator_{name}", meaning, labels=_LANE)
            for shard, figures in self._said:
                gauge.add_metric((shard,), measured(figures.book))
            yield gauge
        set_aside = GaugeMetricFamily(
            "ballast_evaluator_set_aside_portfolios",
            "Portfolios that could not be decided and are tried again: a defect, see the evaluator's log.",
            labels=_LANE,
        )
        for shard, figures in self._said:
            set_aside.add_metric((shard,), figures.set_aside)
        yield set_aside
        used = GaugeMetricFamily("ballast_evaluator_used_bytes", "Columns, by rows in use.", labels=_TABLE)
        allocated = GaugeMetricFamily("ballast_evaluator_allocated_bytes", "Columns, in all.", labels=_TABLE)
        for shard, figures in self._said:
            for table, size in figures.book.tables.items():
                used.add_metric((shard, table), size.used)
                allocated.add_metric((shard, table), size.allocated)
        yield used
        yield allocated
