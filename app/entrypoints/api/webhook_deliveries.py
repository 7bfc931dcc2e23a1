"""Routes of what was and will be delivered to a webhook endpoint, and of asking for it again."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import ConfigDict, Field
from starlette.responses import Response

from app.domain.identifiers import EndpointId
from app.entrypoints.api.cursors import Cursor, Limit, decode_number, encode_number
from app.entrypoints.api.dependencies import Administrator, Deps, Reader
from app.entrypoints.api.schemas import DecimalText, Id, Listing, Shown, WallTime
from app.entrypoints.api.strict_json import StrictRoute
from app.entrypoints.api.writes import Answer, WritingOnce
from app.ports.management import UnitOfWork
from app.ports.webhooks import EndpointStatistics, LoggedAttempt, LoggedDelivery
from app.services.documents import Document, Time
from app.services.manage_webhooks import recover, resend, send_test

router = APIRouter(prefix="/v1/webhooks/{endpoint_id}", tags=["webhooks"], route_class=StrictRoute)

State = Literal["pending", "delivered", "failed"]


class ShownAttempt(Shown):
    number: int = Field(examples=[1])
    at: WallTime
    status: int | None = Field(description="Null where no answer came.", examples=[503])
    latency_ms: int = Field(examples=[41])
    response: str = Field(
        description="The first 1 kB of the answer; where none came, the reason.", examples=["not now"]
    )

    @classmethod
    def of(cls, attempt: LoggedAttempt) -> "ShownAttempt":
        return cls(
            number=attempt.number,
            at=attempt.at,
            status=attempt.status,
            latency_ms=attempt.latency_ms,
            response=attempt.response,
        )


class ShownDelivery(Shown):
    id: int = Field(examples=[91])
    event_id: str = Field(examples=["evt_5f0d3c5e7b8a4f6e9d2c1b0a99887766"])
    portfolio_id: Id | None = Field(description="Null for a test event.")
    sequence: int | None = Field(description="Of the event in its log; null for a test event.", examples=[12])
    state: State = Field(examples=["delivered"])
    next_attempt_at: WallTime | None = Field(description="Null unless it is pending.")
    delivered_at: WallTime | None
    created_at: WallTime
    attempts: list[ShownAttempt]

    @classmethod
    def of(cls, delivery: LoggedDelivery) -> "ShownDelivery":
        return cls(
            id=delivery.id,
            event_id=delivery.event_id,
            portfolio_id=delivery.portfolio_id,
            sequence=delivery.sequence,
            state=delivery.state,
            next_attempt_at=delivery.next_attempt_at if delivery.state == "pending" else None,
            delivered_at=delivery.delivered_at,
            created_at=delivery.created_at,
            attempts=[ShownAttempt.of(attempt) for attempt in delivery.attempts],
        )


class ShownLatencies(Shown):
    p50: int | None = Field(examples=[41])
    p95: int | None = Field(examples=[120])
    p99: int | None = Field(examples=[480])


class ShownStatistics(Shown):
    since: WallTime
    attempts: int = Field(examples=[1280])
    succeeded: int = Field(examples=[1275])
    failed: int = Field(examples=[5])
    success_share: DecimalText | None = Field(description="Null without attempts.", examples=["0.9961"])
    latency_ms: ShownLatencies
    last_failure: ShownAttempt | None
    pending: int = Field(examples=[0])
    failures_in_a_row: int = Field(examples=[0])
    failing_since: WallTime | None = Field(description="Nothing was delivered since then.")
    paused_until: WallTime | None = Field(
        description="Nothing is sent before: it fails, asked to wait, or its rate is spent."
    )

    @classmethod
    def of(cls, statistics: EndpointStatistics) -> "ShownStatistics":
        attempts, failure = statistics.attempts, statistics.last_failure
        share = Decimal(statistics.succeeded) / attempts if attempts else None
        return cls(
            since=statistics.since,
            attempts=attempts,
            succeeded=statistics.succeeded,
            failed=attempts - statistics.succeeded,
            success_share=None if share is None else round(share, 4),
            latency_ms=ShownLatencies(p50=statistics.p50_ms, p95=statistics.p95_ms, p99=statistics.p99_ms),
            last_failure=None if failure is None else ShownAttempt.of(failure),
            pending=statistics.pending,
            failures_in_a_row=statistics.failures_in_a_row,
            failing_since=statistics.failing_since,
            paused_until=statistics.paused_until,
        )


class RecoveryDocument(Document):
    model_config = ConfigDict(json_schema_extra={"examples": [{"since": "2026-11-23T09:00:00Z"}]})

    since: Annotated[Time, Field(description="By the wall clock, as events were logged.")]
    until: Annotated[Time | None, Field(description="Now when absent.")] = None


class ShownRecovery(Shown):
    deliveries: int = Field(description="Created, or failed ones that are tried again.", examples=[420])
    complete: bool = Field(description="False where more is left than is taken at once: ask again.")


@router.get("/deliveries")
async def list_deliveries(
    *,
    endpoint_id: Id,
    caller: Reader,
    deps: Deps,
    state: State | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Listing[ShownDelivery]:
    """Newest first, with every attempt."""
    async with deps.units() as unit:
        await unit.webhooks.get(caller.tenant_id, EndpointId(endpoint_id))
        found = await unit.deliveries.page(
            EndpointId(endpoint_id), state=state, before=decode_number(cursor), limit=limit + 1
        )
    following = encode_number(found[limit - 1].id) if len(found) > limit else None
    return Listing(items=[ShownDelivery.of(d) for d in found[:limit]], next_cursor=following)


@router.post("/deliveries/{delivery_id}/resend", response_model=ShownDelivery)
async def resend_one(
    endpoint_id: Id,
    delivery_id: Annotated[int, Field(ge=1, lt=2**63, examples=[91])],
    caller: Administrator,
    writes: WritingOnce,
) -> Response:
    """Whatever came of it before. One that is being sent just now is not sent a second time beside it."""

    async def work(unit: UnitOfWork) -> Answer:
        delivery = await resend(unit, caller.tenant_id, EndpointId(endpoint_id), delivery_id)
        return Answer(ShownDelivery.of(delivery))

    return await writes.run(caller, work)


@router.post("/recover", response_model=ShownRecovery)
async def recover_missed(
    endpoint_id: Id, document: RecoveryDocument, caller: Administrator, deps: Deps, writes: WritingOnce
) -> Response:
    """Events of that time that were never delivered: it was disabled, not there yet, or failed for good.
    As far back as deliveries are kept.
    """

    async def work(unit: UnitOfWork) -> Answer:
        now = datetime.now(UTC)
        recovered = await recover(
            unit,
            caller.tenant_id,
            EndpointId(endpoint_id),
            since=document.since,
            until=document.until or now,
            known_since=now - deps.deliveries_kept,
        )
        return Answer(ShownRecovery(deliveries=recovered.deliveries, complete=recovered.complete))

    return await writes.run(caller, work)


@router.post("/test", status_code=201, response_model=ShownDelivery)
async def send_test_event(
    endpoint_id: Id, caller: Administrator, deps: Deps, writes: WritingOnce
) -> Response:
    """Sends an event of the type `webhook.test`, whatever it chose; the delivery says what came of it."""
    time_ns = await deps.market.time_ns()

    async def work(unit: UnitOfWork) -> Answer:
        delivery = await send_test(
            unit,
            caller.tenant_id,
            EndpointId(endpoint_id),
            event_id=f"evt_{deps.new_id().hex}",
            time_ns=time_ns,
        )
        return Answer(ShownDelivery.of(delivery), 201)

    return await writes.run(caller, work)


@router.get("/statistics")
async def statistics(
    endpoint_id: Id,
    caller: Reader,
    deps: Deps,
    hours: Annotated[int, Query(ge=1, le=720, description="How far back attempts count.")] = 24,
) -> ShownStatistics:
    async with deps.units() as unit:
        await unit.webhooks.get(caller.tenant_id, EndpointId(endpoint_id))
        found = await unit.deliveries.statistics(EndpointId(endpoint_id), since=timedelta(hours=hours))
    return ShownStatistics.of(found)
