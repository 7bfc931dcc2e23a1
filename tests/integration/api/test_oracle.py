"""Sources over HTTP, as a real oracle leaves them: who said what, who was refused, what came of it."""

import pytest

from app.adapters.redis_streams.tick_log import RedisTickLog
from app.domain.market import Tick, TickKind
from app.oracle.declared import Declared, Ladder, Quorum, Source
from tests.integration.api.client import CLOCK_NS, assert_problem
from tests.running_oracle import writing
from tests.waiting import eventually

BTC = "BTC-USDT"
MILLISECOND = 1_000_000


def tick(source, sequence, value, *, confidence=0.0, time_ns=CLOCK_NS, instrument=BTC):
    return Tick(TickKind.PRICE, source, instrument, sequence, time_ns, value, confidence)


@pytest.fixture
async def running_oracle(asyncpg_pool, redis_url, wire, market_rows):
    """The role on the replay's clock; gives where to publish."""
    async with writing(asyncpg_pool, redis_url):
        yield RedisTickLog(wire)


@pytest.fixture
async def declared(units):
    async with units() as unit:
        await unit.sources.declare(
            Declared(
                {
                    "a": Source(weight=2.0),
                    "signer": Source(public_key=bytes(31) + b"\1"),
                    "quiet": Source(quote="USD", enabled=False),
                },
                {BTC: Quorum(2)},
                {BTC: Ladder()},
            )
        )


async def position(api):
    answer = await api("GET", "/v1/market")
    return answer.json().get("position")


async def at(api, expected):
    async def there():
        return await position(api) == expected

    await eventually(there, what=f"position {expected}")


async def test_a_person_sees_why(api, declared, running_oracle):
    await running_oracle.publish(
        [
            tick("a", 1, 100.0, confidence=1.0),
            tick("b", 7, 101.0),
            tick("signer", 1, 900.0),
            tick("x", 1, 1.0, instrument="?"),
        ]
    )
    await at(api, "1-1")
    await running_oracle.publish(
        [tick("a", 2, 100.5, time_ns=CLOCK_NS + 250 * MILLISECOND), tick("b", 7, 3.0)]
    )
    await at(api, "1-2")

    shown = await api.ok("GET", f"/v1/market/{BTC}")
    (value,) = shown["values"]
    assert (value["value"], value["quality"], value["sources"]) == ("100.5", "valid", 2)
    assert [
        (v["source"], v["value"], v["weight"], v["halvings"], v["age_seconds"]) for v in value["votes"]
    ] == [
        ("a", "100.5", "2", 0, "0"),
        ("b", "101", "1", 0, "0.25"),
    ]
    assert value["votes"][1] == {
        "source": "b",
        "value": "101",
        "confidence": "0",
        "sequence": 7,
        "time": "2023-11-14T22:13:20.000000000Z",
        "age_seconds": "0.25",
        "fresh": True,
        "weight": "1",
        "halvings": 0,
        "doubted": None,
    }
    assert value["averages"]["twap"] == "101", "what stood for that quarter of a second"
    assert shown["rejections"] == {"b": {"old_sequence": 1}}

    registry = await api.ok("GET", "/v1/oracle/sources")
    by_id = {source["id"]: source for source in registry["sources"]}
    assert list(by_id) == ["a", "b", "quiet", "signer"]
    assert (by_id["a"]["declared"], by_id["b"]["declared"], by_id["quiet"]["enabled"]) == (True, False, False)
    assert [(w["instrument"], w["value"], w["consensus"], w["quality"]) for w in by_id["a"]["words"]] == [
        (BTC, "100.5", "100.5", "valid")
    ]
    assert by_id["signer"]["rejections"] == {"unsigned": 1}
    assert by_id["signer"]["words"] == []
    assert registry["rejections_of_others"] == {"unknown_instrument": 1}


async def test_before_the_first_frame_and_without_an_oracle(api, redis):
    assert_problem(await api("GET", "/v1/oracle/sources"), 503, "unavailable")
