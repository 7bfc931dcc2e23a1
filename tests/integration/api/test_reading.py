"""Market, risk, instruments, webhooks, and the routes for operators."""

from functools import partial

import httpx
import pytest

from app.adapters.redis_streams.client import connect
from app.adapters.redis_streams.evaluator_figures import read_figures
from app.adapters.redis_streams.market_feed import RedisMarketFeed
from app.adapters.redis_streams.market_reader import (
    read_clock,
    read_consensus,
    read_rejections,
    read_whole_consensus,
)
from app.domain.market import StreamPosition, TickKind
from app.domain.metrics import METRICS, MetricName
from app.engine.book import Book
from app.engine.census import census_of
from app.engine.universe import Universe
from app.entrypoints.api.application import create_app
from app.entrypoints.api.dependencies import Dependencies
from app.ports.figures import EvaluatorFigures
from app.ports.management import MarketNow
from tests import factories
from tests.integration.api.client import (
    CLOCK_NS,
    SECOND_NS,
    Client,
    assert_problem,
    portfolio_document,
    start_market,
)


async def test_market_values_carry_quality_and_age_by_the_market_clock(api, redis):
    assert_problem(await api("GET", "/v1/market"), 503, "unavailable")
    await start_market(redis, time_ns=CLOCK_NS - SECOND_NS // 4)
    await start_market(redis, instrument="BTC-USDT", value=61010.0)
    await start_market(redis, kind=TickKind.IMPLIED_VOL, value=0.55)
    market = await api.ok("GET", "/v1/market")
    assert market["clock"] == "2023-11-14T22:13:20.000000000Z"
    assert [(v["instrument"], v["kind"], v["value"]) for v in market["values"]] == [
        ("BTC-USDT", "price", "61010"),
        ("BTC-USDT-PERP", "implied_vol", "0.55"),
        ("BTC-USDT-PERP", "price", "61000.5"),
    ]
    one = await api.ok("GET", "/v1/market/BTC-USDT-PERP")
    price = next(v for v in one["values"] if v["kind"] == "price")
    assert (price["age_seconds"], price["quality"], price["sources"]) == ("0.25", "valid", 1)
    assert price["origin"] == "sources"
    await start_market(
        redis, kind=TickKind.IMPLIED_VOL, instrument=factories.BTC_CALL.id, value=0.6, sources=0
    )
    (read_off,) = (await api.ok("GET", f"/v1/market/{factories.BTC_CALL.id}"))["values"]
    assert (read_off["origin"], read_off["sources"]) == ("surface", 0)
    await start_market(redis, kind=TickKind.STRESS, instrument="MARKET", value=0.62)
    (stress,) = (await api.ok("GET", "/v1/market/MARKET"))["values"]
    assert (stress["kind"], stress["instrument"], stress["value"]) == ("stress", "MARKET", "0.62")
    await start_market(redis, kind=TickKind.POOL_DEPTH, instrument="ethereum/WETH-USDC-5/50bps", value=2.5e6)
    (depth,) = (await api.ok("GET", "/v1/market/ethereum/WETH-USDC-5/50bps"))["values"]
    assert (depth["kind"], depth["value"]) == ("pool_depth", "2500000")
    assert (await api.ok("GET", "/v1/market/BTC-USD-PERP"))["values"] == []
    assert_problem(await api("GET", "/v1/market/NONE"), 404, "not-found")


async def test_the_registry_of_metrics_is_listed_for_who_writes_conditions(api):
    listed = await api.ok("GET", "/v1/metrics")
    assert [metric["name"] for metric in listed["items"]] == [name.value for name in METRICS]
    assert listed["items"][3] == {
        "name": "margin_ratio",
        "unit": "fraction",
        "levels": ["account", "portfolio"],
        "examples": ["margin_ratio@main", "margin_ratio"],
        "definition": METRICS[MetricName.MARGIN_RATIO].definition,
    }
    assert listed["next_cursor"] is None


async def test_risk_is_worked_out_on_the_newest_frame(api, redis):
    await start_market(redis, instrument="BTC-USDT", value=61000.5)
    await start_market(redis)
    portfolio = await api.portfolio()
    risk = await api.ok("GET", f"/v1/portfolios/{portfolio['id']}/risk")
    assert risk["revision"] == 1
    # 20,000 of collateral and 1 x (61,000.5 - 60,000) of profit; 0.5 % of 61,000.5 is the maintenance.
    assert risk["equity"] == "21000.5"
    assert risk["accounts"][0]["maintenance_margin"] == "305.0025"
    assert float(risk["margin_ratio"]) == pytest.approx(305.0025 / 21000.5, rel=1e-11)
    assert float(risk["leverage"]) == pytest.approx(61000.5 / 21000.5, rel=1e-11)
    assert [(u["underlying"], u["net_delta"]) for u in risk["underlyings"]] == [("BTC", "1")]
    await start_market(redis, value=59000.0)
    assert (await api.ok("GET", f"/v1/portfolios/{portfolio['id']}/risk"))["equity"] == "19000"


async def test_risk_of_an_account_that_is_margined_as_a_whole(api, redis):
    await start_market(redis, instrument="BTC-USDT", value=61000.5)
    await start_market(redis)
    document = portfolio_document()
    document["accounts"][0]["margin_mode"] = "portfolio"
    portfolio = await api.ok("POST", "/v1/portfolios", document)
    risk = await api.ok("GET", f"/v1/portfolios/{portfolio['id']}/risk")
    main = risk["accounts"][0]
    # The ladder of scenarios ends 16 % down, and the roll shock of the delta is 1 %; 80 % of both maintains.
    assert float(main["initial_margin"]) == pytest.approx(0.17 * 61000.5, rel=1e-11)
    assert float(main["maintenance_margin"]) == pytest.approx(0.8 * 0.17 * 61000.5, rel=1e-11)


async def test_what_has_no_price_is_unknown_not_zero(api, redis):
    await start_market(redis, instrument="BTC-USDT")
    document = portfolio_document()
    document["accounts"][0]["positions"] = [
        {"instrument": "BTC-USD-PERP", "quantity": "10", "entry_price": "60000"}
    ]
    portfolio = await api.ok("POST", "/v1/portfolios", document)
    risk = await api.ok("GET", f"/v1/portfolios/{portfolio['id']}/risk")
    assert risk["equity"] == risk["margin_ratio"] == "unknown"


async def test_instruments_change_in_terms_but_not_in_kind(api):
    perpetual = factories.BTC_PERP.model_dump(mode="json")
    assert_problem(await api("POST", "/v1/instruments", perpetual), 409, "already-exists")
    portfolio = await api.portfolio()
    path = f"/v1/instruments/{perpetual['id']}"
    changed = perpetual | {"maintenance_margin_rate": "0.01"}
    assert (await api("PUT", path, changed)).status_code == 200
    assert await api.revision(portfolio["id"]) == 2  # it holds one
    assert (await api.ok("GET", path))["maintenance_margin_rate"] == "0.01"
    assert_problem(await api("PUT", path, perpetual | {"multiplier": "10"}), 409, "conflict")
    assert_problem(await api("PUT", "/v1/instruments/OTHER", perpetual), 422, "invalid-input")
    new = perpetual | {"id": "ETH/USDT:PERP", "underlying": "ETH"}
    assert (await api("PUT", "/v1/instruments/ETH/USDT:PERP", new)).status_code == 201
    assert (await api.ok("GET", "/v1/instruments/ETH/USDT:PERP"))["underlying"] == "ETH"
    assert "ETH/USDT:PERP" in [i["id"] for i in (await api.ok("GET", "/v1/instruments"))["items"]]
    missing = perpetual | {"id": "X", "marked_by": "NONE"}
    problem = assert_problem(await api("POST", "/v1/instruments", missing), 422, "invalid-input")
    assert problem["errors"][0]["pointer"] == "/marked_by"


async def test_a_webhook_shows_its_secret_once(api):
    body = {"url": "https://example.com/hook", "event_types": ["adjustment.recommended"], "description": "d"}
    created = await api.ok("POST", "/v1/webhooks", body)
    assert created.pop("secret").startswith("whsec_")
    path = f"/v1/webhooks/{created['id']}"
    assert await api.ok("GET", path) == created
    assert (await api.ok("GET", "/v1/webhooks"))["items"] == [created]
    assert (await api.ok("POST", f"{path}/disable"))["enabled"] is False
    assert (await api.ok("POST", f"{path}/enable"))["enabled"] is True
    assert (await api.ok("GET", f"{path}/deliveries"))["items"] == []
    await api.ok("DELETE", path)
    assert_problem(await api("GET", path), 404, "not-found")


@pytest.mark.parametrize(
    "url",
    ["ftp://example.com", "example.com", "http://", "https://u:p@example.com/", "http://a b/", "http://a:x/",
     "https://example.com/#part", "http://[::1"],
)  # fmt: skip
async def test_a_webhook_url_has_a_form(api, url):
    problem = assert_problem(await api("POST", "/v1/webhooks", {"url": url}), 422, "invalid-input")
    assert problem["errors"][0]["pointer"] == "/url"


async def test_alive_ready_and_measured_without_a_key(http, api):
    await api.portfolio()
    assert (await http.get("/healthz")).json() == {"status": "ok", "failing": {}}
    assert (await http.get("/readyz")).json() == {"status": "ok", "failing": {}}
    metrics = (await http.get("/metrics")).text
    assert 'ballast_http_requests_total{method="POST",route="/v1/portfolios",status="201"} 1.0' in metrics


async def test_measured_are_the_evaluators_too(http, wire):
    figures = EvaluatorFigures((2, 3), 100, 7, 10, 4, census_of(Book(Universe(()))))
    feed = RedisMarketFeed(reading=wire, writing=wire)
    await feed.publish([], dict.fromkeys(figures.shards, StreamPosition(1, 5)))
    await feed.report(2, figures.packed())
    metrics = (await http.get("/metrics")).text
    assert 'ballast_evaluator_woken_total{shard="2"} 7.0' in metrics
    assert "# HELP ballast_evaluator_boundless_policies Policies always awake by nature." in metrics


async def test_without_redis_it_is_not_ready_and_says_so(units, engine, tenant, tmp_path):
    gone = connect(f"unix://{tmp_path}/none.sock")
    market = MarketNow(
        clock=partial(read_clock, gone),
        values=partial(read_consensus, gone),
        everything=partial(read_whole_consensus, gone),
    )
    app = create_app(
        Dependencies(
            units=units,
            market=market,
            checks={"redis": gone.ping},
            evaluators=partial(read_figures, gone),
            rejections=partial(read_rejections, gone),
        )
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as http:
        ready = await http.get("/readyz")
        assert (ready.status_code, ready.json()["failing"]) == (503, {"redis": "ConnectionError"})
        metrics = await http.get("/metrics")
        assert metrics.status_code == 200
        assert "ballast_http_requests_total" in metrics.text
        assert "ballast_oracle" not in metrics.text
        client = Client(http, await factories.create_key(engine, tenant))
        assert_problem(await client("GET", "/v1/market"), 503, "unavailable")
        await client.portfolio()
    await gone.aclose()
