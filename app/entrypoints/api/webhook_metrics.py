"""How webhooks go out, in the form that every monitor reads. Of all tenants together, and by no endpoint."""

from collections.abc import Iterator
from datetime import timedelta
from itertools import accumulate
from typing import Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from typing_extensions import override

from app.ports.webhook_figures import BEYOND, LATENCY_BOUNDS_MS, AttemptFigures, QueueFigures

_SECOND: Final = timedelta(seconds=1)


class AttemptMetrics(Collector):
    def __init__(self, figures: AttemptFigures) -> None:
        self._figures = figures

    @override
    def collect(self) -> Iterator[Metric]:
        figures = self._figures
        attempts = CounterMetricFamily(
            "ballast_webhook_attempts",
            "Attempts to deliver, by class of status; no_answer where none came.",
            labels=("outcome",),
        )
        for outcome, count in sorted(figures.outcomes.items()):
            attempts.add_metric((outcome,), count)
        yield attempts
        counts = accumulate(figures.latencies.get(str(bound), 0) for bound in LATENCY_BOUNDS_MS)
        buckets = [
            (str(bound / 1_000), count) for bound, count in zip(LATENCY_BOUNDS_MS, counts, strict=True)
        ]
        within = buckets[-1][1]
        yield HistogramMetricFamily(
            "ballast_webhook_attempt_seconds",
            "Time of an attempt, to its answer or its end.",
            buckets=[*buckets, ("+Inf", within + figures.latencies.get(BEYOND, 0))],
            sum_value=figures.latency_ms / 1_000,
        )
        yield CounterMetricFamily(
            "ballast_webhook_given_up",
            "Deliveries that were tried for the last time.",
            value=figures.given_up,
        )


class QueueMetrics(Collector):
    def __init__(self, figures: QueueFigures) -> None:
        self._figures = figures

    @override
    def collect(self) -> Iterator[Metric]:
        figures = self._figures
        for name, meaning, value in (
            ("waiting_deliveries", "Not delivered yet, retries to come included.", figures.waiting),
            ("held_deliveries", "Of endpoints that are disabled.", figures.held),
            ("oldest_waiting_seconds", "Age of the oldest that waits.", figures.oldest_waiting / _SECOND),
            (
                "overdue_seconds",
                "Since a queue should have been looked at: grows when couriers are behind, or gone.",
                figures.overdue / _SECOND,
            ),
            (
                "undispatched_seconds",
                "Age of the oldest event of which no deliveries were made: the same.",
                figures.undispatched / _SECOND,
            ),
            (
                "open_breakers",
                "Endpoints that failed too often in a row and are let be.",
                figures.open_breakers,
            ),
        ):
            yield GaugeMetricFamily(f"ballast_webhook_{name}", meaning, value=value)
        endpoints = GaugeMetricFamily(
            "ballast_webhook_endpoints", "Endpoints, by who disabled them.", labels=("state",)
        )
        endpoints.add_metric(("enabled",), figures.enabled)
        endpoints.add_metric(("disabled_by_owner",), figures.disabled_by_owner)
        endpoints.add_metric(("disabled_by_service",), figures.disabled_by_service)
        yield endpoints
