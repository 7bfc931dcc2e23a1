"""What nobody should send: a clean 4xx, a problem document, and nothing stored (faults 13 and 17)."""

import resource

import pytest

from tests.integration.api.client import assert_problem, delta_neutral, portfolio_document

JSON = {"Content-Type": "application/json"}
MIB = 1 << 20


async def send(api, content, path="/v1/portfolios", **headers):
    headers = {"Authorization": f"Bearer {api.key}", "Idempotency-Key": "k"} | JSON | headers
    return await api.http.post(path, content=content, headers=headers)


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b'{"name":' + b"[" * 40 + b"]" * 40 + b"}",
        b"{",
        b"\xff\xfe",
        b'{"name":"\\u0000"}',
        b'{"name":"\\ud800"}',
        b'{"name":"a","name":"b"}',
        b'{"name":NaN}',
        b'{"name":-Infinity}',
        b'{"name":' + b"9" * 10_000 + b"}",
    ],
    ids=lambda content: repr(content[:16]),
)
async def test_f17_malformed_bodies_are_a_400(api, content):
    assert_problem(await send(api, content), 400, "bad-request")


@pytest.mark.parametrize(
    "amount",
    [1.5, "NaN", "Infinity", "1e400", "1e-400", "1e999999999", "-1e25", "x", "", None, True, [], 10**30],
    ids=repr,
)
async def test_f13_no_amount_is_taken_that_is_not_kept_exactly(api, amount):
    document = portfolio_document()
    document["accounts"][0]["balances"][0]["amount"] = amount
    problem = assert_problem(await api("POST", "/v1/portfolios", document), 422, "invalid-input")
    assert problem["errors"][0]["pointer"] == "/accounts/0/balances/0/amount"


async def test_a_json_float_is_told_to_become_a_string(api):
    document = portfolio_document(reserves=[{"asset": "USDT", "amount": 0.1}])
    problem = assert_problem(await api("POST", "/v1/portfolios", document), 422, "invalid-input")
    assert "string" in problem["detail"]
    for exact in ("0.1", 7):
        created = await api.portfolio(reserves=[{"asset": "USDT", "amount": exact}])
        assert created["reserves"][0]["amount"] == str(exact)
    assert_problem(await send(api, b'{"name": 1e400}'), 422, "invalid-input")


async def test_f17_a_body_beyond_the_limit_is_refused_unread(api):
    def endless():
        raise AssertionError("the body was read")
        yield b""

    async def unread():
        for chunk in endless():
            yield chunk

    response = await send(api, unread(), **{"Content-Length": str(100 * MIB)})
    assert_problem(response, 413, "too-large")


async def test_f17_a_body_that_never_ends_is_cut_off_with_flat_memory(api):
    sent = 0

    async def endless():
        nonlocal sent
        while True:
            sent += 1 << 16
            yield b" " * (1 << 16)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert_problem(await send(api, endless()), 413, "too-large")
    assert sent <= 2 * MIB
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024


async def test_what_is_not_json_is_a_415(api):
    for content_type in ("text/plain", "application/x-www-form-urlencoded", ""):
        response = await send(api, b"{}", **{"Content-Type": content_type})
        assert_problem(response, 415, "unsupported-media-type")


async def test_unknown_places_are_problem_documents_too(api):
    assert_problem(await api("GET", "/v1/nothing"), 404, "not-found")
    assert_problem(await api("POST", "/healthz"), 405, "method-not-allowed")
    other = await api("POST", "/v1/instruments/BTC-USDT")
    assert assert_problem(other, 405, "method-not-allowed")["detail"] == "this path takes GET, PUT"
    assert other.headers["Allow"] == "GET, PUT"
    assert_problem(await api("GET", "/v1/portfolios/not-a-uuid"), 422, "invalid-input")
    assert_problem(await api("GET", "/v1/instruments/%00"), 422, "invalid-input")
    assert_problem(await api("GET", "/v1/market/%ff%00"), 422, "invalid-input")


@pytest.mark.parametrize("key", ["", "x" * 256, "ü", "\x7f"])
async def test_an_idempotency_key_has_bounds(api, key):
    problem = assert_problem(await send(api, b"{}", **{"Idempotency-Key": key.encode()}), 400, "bad-request")
    (error,) = problem["errors"]
    assert (error["in"], error["pointer"]) == ("header", "/idempotency-key")


async def test_a_parameter_that_nobody_reads_is_refused(api):
    """A misspelt filter would otherwise show everything."""
    problem = assert_problem(await api("GET", "/v1/adjustments?portfolio_id=1&limit=1"), 422, "invalid-input")
    assert problem["detail"] == "query /portfolio_id: is not known here"
    repeated = await api("GET", "/v1/adjustments?state=queued&state=executed")
    assert assert_problem(repeated, 422, "invalid-input")["errors"] == [
        {"pointer": "/state", "detail": "is there twice", "in": "query"}
    ]
    assert_problem(await api("GET", "/v1/market?instrument=BTC-USDT"), 422, "invalid-input")


@pytest.mark.parametrize(
    "as_of",
    ["2026-11-23T09:00:00", "yesterday", 1_700_000_000, "9999-01-01T00:00:00Z", "1600-01-01T00:00:00Z"],
)
async def test_a_time_has_a_zone_and_a_place_in_history(api, as_of):
    portfolio = await api.portfolio()
    body = {"account": "main", "as_of": as_of, "positions": []}
    response = await api("PUT", f"/v1/portfolios/{portfolio['id']}/positions", body)
    problem = assert_problem(response, 422, "invalid-input")
    assert problem["errors"][0]["pointer"] == "/as_of"


async def test_a_huge_exponent_in_a_policy_is_refused_at_once(api):
    portfolio = await api.portfolio()
    body = delta_neutral(band="1e999999")
    response = await api("POST", f"/v1/portfolios/{portfolio['id']}/policies", body)
    assert_problem(response, 422, "invalid-input")
