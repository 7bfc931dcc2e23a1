"""Route of the registry of metrics: what policies and conditions may name."""

from fastapi import APIRouter
from pydantic import Field

from app.domain.metrics import METRICS, Level, Metric, MetricName
from app.entrypoints.api.dependencies import Reader
from app.entrypoints.api.schemas import Listing, Shown
from app.entrypoints.api.strict_json import StrictRoute

router = APIRouter(prefix="/v1/metrics", tags=["market"], route_class=StrictRoute)


class ShownMetric(Shown):
    """`levels`: what it is a figure of. `examples`: how it is written there, level by level."""

    name: MetricName = Field(examples=["margin_ratio"])
    unit: str = Field(examples=["fraction"])
    levels: list[Level] = Field(examples=[["account", "portfolio"]])
    examples: list[str] = Field(examples=[["margin_ratio@main", "margin_ratio"]])
    definition: str = Field(examples=["maintenance margin / equity; 1 is liquidation"])

    @classmethod
    def of(cls, metric: Metric) -> "ShownMetric":
        return cls(
            name=metric.name,
            unit=metric.unit,
            levels=list(metric.levels),
            examples=list(metric.examples),
            definition=metric.definition,
        )


@router.get("")
async def list_all(_: Reader) -> Listing[ShownMetric]:
    """The whole registry."""
    return Listing(items=[ShownMetric.of(metric) for metric in METRICS.values()])
