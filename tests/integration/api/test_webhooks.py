"""Routes of webhook endpoints and of what was delivered to them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import httpx
import pytest
from prometheus_client import CollectorRegistry

from app.adapters.postgres.event_rows import append_events
from app.domain.events import EventType, NewEvent
from app.entrypoints.api.application import create_app
from app.services.manage_webhooks import Reach
from tests.integration.api.client import Client, assert_problem

HOOK = {"url": "https://example.com/hook"}


def days_ago(days):
    return (datetime.now(UTC) - timedelta(days=days)).isoformat()


@pytest.fixture
async def hook(api):
    created = await api.ok("POST", "/v1/webhooks", HOOK)
    return f"/v1/webhooks/{created['id']}"


async def test_an_endpoint_is_as_its_owner_says_and_changes_in_versions_that_were_seen(api):
    book = (await api.portfolio())["id"]
    terms = {
        "url": "https://example.com:8443/hook?desk=1",
        "event_types": ["policy.notified", "adjustment.failed"],
        "portfolios": [book],
        "description": "desk",
        "rate_limit": 5,
        "ordered": True,
    }
    created = await api.ok("POST", "/v1/webhooks", terms)
    terms["event_types"].sort()
    assert {name: created[name] for name in terms} == terms
    path = f"/v1/webhooks/{created['id']}"
    assert (await api("GET", path)).headers["etag"] == '"1"'
    assert_problem(await api("PATCH", path, {"ordered": False}), 428, "precondition-required")
    response = await api("PATCH", path, {"ordered": False, "rate_limit": None}, If_Match='"1"')
    assert response.headers["etag"] == '"2"'
    changed = await api.ok("GET", path)
    assert {name: changed[name] for name in terms} == terms | {"ordered": False, "rate_limit": None}
    assert_problem(await api("PATCH", path, {"ordered": True}, If_Match='"1"'), 412, "version-moved")
    assert_problem(await api("DELETE", path, If_Match='"1"'), 412, "version-moved")


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"url": "http://example.com/"}, "/url"),
        ({"url": "https://example.com:22/"}, "/url"),
        ({"portfolios": [str(uuid4())]}, "/portfolios"),
        ({"rate_limit": 0}, "/rate_limit"),
        ({"event_types": ["webhook.test"]}, "/event_types/0"),
    ],
)
async def test_what_cannot_be_meant_is_refused_at_its_place(api, hook, wrong, pointer):
    for response in (
        await api("POST", "/v1/webhooks", HOOK | wrong),
        await api("PATCH", hook, wrong, If_Match="*"),
    ):
        problem = assert_problem(response, 422, "invalid-input")
        assert problem["errors"][0]["pointer"] == pointer


async def test_what_is_left_as_it_is_need_not_be_possible_any_more(api, dependencies):
    """A portfolio that was deleted, and a URL from before the operator narrowed where webhooks may go."""
    book = await api.portfolio()
    created = await api.ok("POST", "/v1/webhooks", HOOK | {"portfolios": [book["id"]]})
    path = f"/v1/webhooks/{created['id']}"
    await api.ok("DELETE", f"/v1/portfolios/{book['id']}", If_Match="*")
    narrowed = create_app(
        replace(dependencies, webhook_reach=Reach(ports=(8443,)), registry=CollectorRegistry())
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(narrowed), base_url="http://api") as http:
        narrow = Client(http, api.key)
        changed = await narrow.ok("PATCH", path, {"description": "all the same"}, If_Match='"1"')
        assert changed["portfolios"] == [book["id"]]
        for wrong in ({"url": "https://example.com/other"}, {"portfolios": [book["id"], str(uuid4())]}):
            assert_problem(await narrow("PATCH", path, wrong, If_Match="*"), 422, "invalid-input")


async def test_another_tenants_portfolio_is_not_there(api, stranger):
    book = (await api.portfolio())["id"]
    assert_problem(
        await stranger("POST", "/v1/webhooks", HOOK | {"portfolios": [book]}), 422, "invalid-input"
    )


async def test_a_rotated_secret_is_shown_once(api, hook):
    first = await api.ok("POST", f"{hook}/rotate-secret", {"overlap_seconds": 60}, Idempotency_Key="k")
    assert first["secret"].startswith("whsec_")
    assert first["rotated_until"] is not None
    again = await api.ok("POST", f"{hook}/rotate-secret", {"overlap_seconds": 60}, Idempotency_Key="k")
    assert again == first | {"secret": None}
    for wrong in (-1, 7 * 86_400 + 1):
        assert_problem(
            await api("POST", f"{hook}/rotate-secret", {"overlap_seconds": wrong}), 422, "invalid-input"
        )


async def test_a_test_event_is_a_delivery_that_can_be_listed_and_sent_again(api, hook, stranger):
    sent = await api.ok("POST", f"{hook}/test")
    assert (sent["state"], sent["portfolio_id"], sent["attempts"]) == ("pending", None, [])
    assert (await api.ok("GET", f"{hook}/deliveries?state=pending"))["items"] == [sent]
    assert (await api.ok("GET", f"{hook}/deliveries?state=failed"))["items"] == []
    again = await api.ok("POST", f"{hook}/deliveries/{sent['id']}/resend")
    assert again["event_id"] == sent["event_id"]
    assert_problem(await api("POST", f"{hook}/deliveries/{sent['id'] + 1}/resend"), 404, "not-found")
    statistics = await api.ok("GET", f"{hook}/statistics?hours=1")
    assert (statistics["attempts"], statistics["success_share"], statistics["pending"]) == (0, None, 1)
    await api.ok("POST", f"{hook}/disable")
    for path, body in (("test", None), ("recover", {"since": days_ago(29)})):
        assert_problem(await api("POST", f"{hook}/{path}", body), 409, "conflict")
        assert_problem(await stranger("POST", f"{hook}/{path}", body), 404, "not-found")
    for path in ("deliveries", "statistics"):
        assert_problem(await stranger("GET", f"{hook}/{path}"), 404, "not-found")


@pytest.mark.made_up_events
async def test_what_was_missed_is_recovered_and_an_event_is_read_by_its_place(
    api, stranger, hook, tenant, asyncpg_pool
):
    book = (await api.portfolio())["id"]
    event = NewEvent(EventType.ADJUSTMENT_QUEUED, tenant, UUID(book), 0, {"n": 1})
    async with asyncpg_pool.acquire() as connection, connection.transaction():
        (appended, _) = await append_events(connection, [event, event])
    since = days_ago(29)
    answer = await api.ok("POST", f"{hook}/recover", {"since": since})
    assert answer == {"deliveries": 2, "complete": True}
    for wrong in ({"since": since, "until": since}, {"since": days_ago(31)}):
        problem = assert_problem(await api("POST", f"{hook}/recover", wrong), 422, "invalid-input")
        assert problem["errors"][0]["pointer"] == "/since"
    page = await api.ok("GET", f"{hook}/deliveries?limit=1")
    assert [item["sequence"] for item in page["items"]] == [2]
    page = await api.ok("GET", f"{hook}/deliveries?limit=1&cursor={page['next_cursor']}")
    assert [item["sequence"] for item in page["items"]] == [1]
    assert page["items"][0]["event_id"] == appended.id
    path = f"/v1/portfolios/{book}/events/1"
    assert (await api.ok("GET", path))["id"] == appended.id
    assert_problem(await api("GET", f"/v1/portfolios/{book}/events/3"), 404, "not-found")
    assert_problem(await stranger("GET", path), 404, "not-found")


async def test_opened_networks_are_reached_in_the_clear_on_any_port(dependencies, api):
    app = create_app(replace(dependencies, webhook_reach=Reach(opened=True)))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as http:
        opened = Client(http, api.key)
        await opened.ok("POST", "/v1/webhooks", {"url": "http://receiver.internal:9000/hook"})
