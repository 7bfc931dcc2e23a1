"""A client with a key, the documents it sends, and the states of the world it meets."""

import itertools
import json
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import httpx
import msgspec
from sqlalchemy import insert

from app.adapters.postgres.tables.adjustments import adjustments
from app.adapters.redis_streams.keys import CONSENSUS, STATE
from app.domain.adjustment_json import legs_to_json
from app.domain.adjustments import TradeLeg
from app.domain.market import Change, Quality, TickKind, line_name

CLOCK_NS = 1_700_000_000_000_000_000
SECOND_NS = 1_000_000_000
CLOCK = "2023-11-14T22:13:20Z"

_names = itertools.count()


@dataclass
class Client:
    http: httpx.AsyncClient
    key: str
    headers: dict[str, str] = field(default_factory=dict)

    async def __call__(
        self, method: str, path: str, body: Any = None, **headers: str | None
    ) -> httpx.Response:
        """`body` as JSON; header names with underscores. A POST has a key of its own unless one is given."""
        sent = {"Authorization": f"Bearer {self.key}"} | self.headers
        if method == "POST":
            sent["Idempotency-Key"] = uuid4().hex
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {name: value for name, value in sent.items() if value is not None}
        content = None
        if body is not None:
            content = json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        return await self.http.request(method, path, content=content, headers=sent)

    async def ok(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        response = await self(method, path, body, **headers)
        assert response.status_code in (200, 201, 204), response.text
        return response.json() if response.content else None

    async def portfolio(self, **changes: Any) -> dict[str, Any]:
        return await self.ok("POST", "/v1/portfolios", portfolio_document(**changes))

    async def policy(self, portfolio_id: str, **changes: Any) -> dict[str, Any]:
        return await self.ok("POST", f"/v1/portfolios/{portfolio_id}/policies", delta_neutral(**changes))

    async def revision(self, portfolio_id: str) -> int:
        return (await self.ok("GET", f"/v1/portfolios/{portfolio_id}"))["revision"]


def assert_problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert document["type"] == f"urn:ballast:problem:{code}", document
    assert document["status"] == status
    return document


def portfolio_document(**changes: Any) -> dict[str, Any]:
    return {
        "name": f"book {next(_names)}",
        "valuation_currency": "USDT",
        "accounts": [
            {
                "name": "main",
                "balances": [{"asset": "USDT", "amount": "20000"}],
                "positions": [{"instrument": "BTC-USDT-PERP", "quantity": "1", "entry_price": "60000"}],
            },
            {"name": "second"},
        ],
        "reserves": [{"asset": "USDT", "amount": "5000", "keep": "1000"}],
    } | changes


def delta_neutral(**changes: Any) -> dict[str, Any]:
    return {
        "kind": "delta_neutral",
        "name": "flat",
        "mode": "confirm",
        "underlying": "BTC",
        "band": "0.25",
        "hedge_instruments": ["BTC-USDT-PERP"],
    } | changes


async def start_market(redis: Any, *, clock_ns: int = CLOCK_NS, **values: Any) -> None:
    """A market whose newest frame is at `clock_ns`; BTC-USDT-PERP at 61000.5 of that moment."""
    await redis.hset(STATE, mapping={"generation": 1, "sequence": 10, "time_ns": clock_ns})
    change = {
        "kind": TickKind.PRICE,
        "instrument": "BTC-USDT-PERP",
        "value": 61000.5,
        "confidence": 0.0,
        "sources": 1,
        "quality": Quality.VALID,
        "time_ns": clock_ns,
    } | values
    packed = msgspec.msgpack.encode(Change(**change))
    await redis.hset(CONSENSUS, line_name(change["kind"], change["instrument"]), packed)


async def add_adjustment(
    engine: Any,
    tenant_id: UUID,
    portfolio: dict[str, Any],
    *,
    policy_id: str | None = None,
    state: str = "recommended",
    mode: str = "confirm",
    quantity: str = "-1",
    legs: list[dict[str, Any]] | None = None,
    **values: Any,
) -> str:
    """As an evaluator would have written it: sell what is held."""
    leg = TradeLeg(
        UUID(portfolio["accounts"][0]["id"]), "BTC-USDT-PERP", Decimal(quantity), Decimal(60000), reduces=True
    )
    planned = legs if legs is not None else legs_to_json([leg])
    adjustment_id = uuid4()
    row = {
        "id": adjustment_id,
        "tenant_id": tenant_id,
        "portfolio_id": UUID(portfolio["id"]),
        "policy_id": UUID(policy_id) if policy_id else uuid4(),
        "policy_version": 1,
        "state": state,
        "mode": mode,
        "priority": 100,
        "risk_reducing": True,
        "legs": planned,
        "remaining": planned,
        "expected_cost": Decimal("30.5"),
        "metrics_before": {"net_delta.BTC": "1"},
        "metrics_after": {"net_delta.BTC": "0"},
        "reaches_target": True,
        "generation": 1,
        "sequence": 9,
        "decided_at_ns": CLOCK_NS - SECOND_NS,
        "expires_at_ns": CLOCK_NS + 300 * SECOND_NS,
    } | values
    async with engine.begin() as connection:
        await connection.execute(insert(adjustments).values(row))
    return str(adjustment_id)


async def events_of(asyncpg_pool: Any, portfolio_id: str) -> list[tuple[int, str, dict[str, Any]]]:
    rows = await asyncpg_pool.fetch(
        "SELECT sequence, type, data FROM events WHERE portfolio_id = $1 ORDER BY sequence",
        UUID(portfolio_id),
    )
    return [(row["sequence"], row["type"], json.loads(row["data"])) for row in rows]
