"""Whom the oracle refused, in the form that every monitor reads."""

from collections import Counter
from collections.abc import Collection, Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from app.oracle.declared import EVERYBODY_ELSE
from app.ports.sources import Rejections

OTHER: Final = "other"


class OracleMetrics(Collector):
    """By reason, and by source where that is registered: whoever may publish can think up names without end.

    A source that is registered takes what was counted of it along, which a monitor takes for a restart of
    `other`.
    """

    def __init__(self, rejections: Rejections, registered: Collection[str]) -> None:
        self._counts = Counter[tuple[str, str]]()
        for source, reasons in rejections.items():
            named = source in registered and source != EVERYBODY_ELSE
            for reason, count in reasons.items():
                self._counts[reason, source if named else OTHER] += count

    @override
    def collect(self) -> Iterator[Metric]:
        refused = CounterMetricFamily(
            "ballast_oracle_refused_ticks",
            "Ticks that the oracle did not let in.",
            labels=("reason", "source"),
        )
        for labels, count in sorted(self._counts.items()):
            refused.add_metric(labels, count)
        yield refused
