"""Ticks in and sources out over HTTP, beside a real oracle: who said what, who was refused, and why."""

from base64 import b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from app.adapters.redis_streams.client import fields, read_range
from app.adapters.redis_streams.keys import DEADLETTER, TICKS
from app.adapters.redis_streams.tick_publisher import RedisTickPublisher
from app.domain.market import Rejection, Tick, TickKind
from app.entrypoints.api.application import BODY_LIMIT_BYTES
from app.oracle.declared import Declared, Source
from app.oracle.signatures import signed_bytes
from app.services.publish_ticks import MAXIMUM_TICKS
from tests import factories
from tests.integration.api.client import CLOCK_NS, SECOND_NS, Client, assert_problem
from tests.running_oracle import writing
from tests.waiting import eventually

BTC = "BTC-USDT"
MILLISECOND = 1_000_000
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw()
TICKS_PATH = "/v1/oracle/ticks"


def tick(source, sequence, value, *, confidence=0.0, time_ns=CLOCK_NS, instrument=BTC):
    return Tick(TickKind.PRICE, source, instrument, sequence, time_ns, value, confidence)


@pytest.fixture
async def running_oracle(asyncpg_pool, redis_url, wire, market_rows):
    """The role on the replay's clock; gives where to publish."""
    async with writing(asyncpg_pool, redis_url):
        yield RedisTickPublisher(wire)


async def declare(units, declared):
    async with units() as unit:
        await unit.sources.declare(declared)


@pytest.fixture
async def declared(units):
    sources = {
        "a": Source(weight=2.0, publisher="house"),
        "signer": Source(public_key=PUBLIC),
        "quiet": Source(quote="USD", publisher="house", enabled=False),
        "*": Source(publisher="house"),
    }
    await declare(units, Declared(sources, {BTC: {"sources": 2}}))


@pytest.fixture
async def spoken_for(units):
    """Everybody, by the tenant of `api`."""
    await declare(units, Declared({"*": Source(publisher="house")}))


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
        "stands_by": "tick",
        "away_since": None,
        "silent": None,
        "converted_by": None,
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
    assert {name: source["may_publish"] for name, source in by_id.items()} == dict.fromkeys(by_id, True)


def beat(source, time_ns):
    return Tick(TickKind.HEARTBEAT, source, "", 1, time_ns, 0.0)


@pytest.fixture
async def of_every_sort(units):
    """Before the oracle begins: what is declared later it learns in its own time."""
    sources = {
        "chainlink": Source(heartbeat_ns=3_600 * SECOND_NS),
        "coins": Source(quote="USDC"),
        "mute": Source(maximum_age_ns=90 * SECOND_NS),
        "off": Source(),
    }
    await declare(units, Declared(sources))
    return sources


async def test_a_person_sees_who_is_away_and_since_when_and_why_a_word_does_not_vote(
    api, units, of_every_sort, running_oracle
):
    later = CLOCK_NS + 100 * SECOND_NS
    said = [tick(name, 1, 100.0) for name in ("chainlink", "coins", "off", "gone")]
    await running_oracle.publish(said)
    await at(api, "1-1")
    await declare(units, Declared(of_every_sort | {"off": Source(enabled=False)}))
    await running_oracle.publish([beat(name, later) for name in ("gone", "mute", "stranger")])
    await at(api, "1-2")

    (value,) = (await api.ok("GET", f"/v1/market/{BTC}"))["values"]
    away = "2023-11-14T22:14:20.000000000Z"
    assert {
        v["source"]: (v["fresh"], v["stands_by"], v["away_since"], v["silent"]) for v in value["votes"]
    } == {
        "chainlink": (True, "heartbeat", None, None),
        "coins": (False, None, away, "no_market"),
        "off": (False, None, away, "disabled"),
        "gone": (False, None, away, "away"),
    }
    registry = await api.ok("GET", "/v1/oracle/sources")
    first, beaten = "2023-11-14T22:13:20.000000000Z", "2023-11-14T22:15:00.000000000Z"
    assert {
        each["id"]: (each["last_tick"], each["last_heartbeat"], each["away_since"])
        for each in registry["sources"]
    } == {
        "chainlink": (first, None, None),
        "coins": (first, None, away),
        "gone": (first, beaten, away),
        "mute": (None, beaten, None),
        "off": (first, None, away),
    }
    terms = {
        each["id"]: (each["heartbeat_seconds"], each["maximum_age_seconds"]) for each in registry["sources"]
    }
    assert (terms["chainlink"], terms["mute"]) == (("3600", None), ("0", "90"))


async def test_before_the_first_frame_and_without_an_oracle(api, redis):
    assert_problem(await api("GET", "/v1/oracle/sources"), 503, "unavailable")


def document(*ticks, signature=None):
    """As JSON, decimals as strings."""
    names = ("kind", "source", "instrument", "sequence", "time_ns")
    sent = [
        {name: getattr(t, name) for name in names}
        | {"value": repr(t.value), "confidence": repr(t.confidence)}
        for t in ticks
    ]
    return {"ticks": sent} | ({} if signature is None else {"signature": b64encode(signature).decode()})


def changed(**terms):
    made = document(tick("b", 1, 100.0))
    made["ticks"][0] |= terms
    return made


async def appended(redis):
    return len(await read_range(redis, TICKS, "-", "+", count=1_000))


async def refusals(redis):
    entries = await read_range(redis, DEADLETTER, "-", "+", count=1_000)
    return [Rejection(dict(fields(flat))[b"reason"].decode()) for _, flat in entries]


async def test_ticks_over_http_make_one_frame_and_count_once(api, spoken_for, running_oracle, redis):
    batch = document(tick("a", 1, 100.1, confidence=0.5), tick("b", 1, 100.1, confidence=0.5))
    taken = await api("POST", TICKS_PATH, batch, Idempotency_Key=None)
    assert (taken.status_code, taken.json()["accepted"], taken.json()["refused"]) == (202, 2, [])
    await at(api, "1-1")
    again = await api("POST", TICKS_PATH, batch)
    assert again.status_code == 202
    assert (await api("POST", TICKS_PATH, document(tick("a", 2, 100.2)))).status_code == 202
    await at(api, "1-2")
    assert await refusals(redis) == [Rejection.OLD_SEQUENCE] * 2
    (value,) = (await api.ok("GET", f"/v1/market/{BTC}"))["values"]
    assert [(v["source"], v["value"], v["sequence"]) for v in value["votes"]] == [
        ("a", "100.2", 2),
        ("b", "100.1", 1),
    ]


async def test_the_good_ticks_of_a_batch_are_taken_and_the_others_told_why(api, declared, running_oracle):
    ticks = [
        tick("b", 1, 100.0),
        tick("b", 2, -1.0),
        tick("b", 3, 100.0, instrument="NONE"),
        tick("signer", 1, 100.0),
        tick("quiet", 1, 100.0),
        tick("b", 1, 101.0),
        tick("b", 4, 100.5),
    ]
    taken = (await api("POST", TICKS_PATH, document(*ticks))).json()
    assert taken["accepted"] == 2
    assert [(each["index"], each["reason"]) for each in taken["refused"]] == [
        (1, "not_positive"),
        (2, "unknown_instrument"),
        (3, "unsigned"),
        (4, "undeclared"),
        (5, "old_sequence"),
    ]
    assert all(each["detail"] for each in taken["refused"])


async def test_stale_ticks_are_told_so_once_there_is_a_clock(api, spoken_for, running_oracle):
    assert (await api("POST", TICKS_PATH, document(tick("b", 1, 100.0)))).status_code == 202
    await at(api, "1-1")
    stale = document(tick("b", 2, 100.0, time_ns=CLOCK_NS - 61 * SECOND_NS))
    problem = assert_problem(await api("POST", TICKS_PATH, stale), 422, "invalid-input")
    assert problem["errors"][0]["pointer"] == "/ticks/0"
    assert problem["errors"][0]["detail"].startswith("stale: 61")


async def test_a_signed_batch_is_taken_whole_or_not_at_all(api, declared, running_oracle, redis):
    good = [tick("signer", 1, 100.1), tick("a", 1, 100.2)]
    for signature in (None, bytes(64), KEY.sign(signed_bytes(good[:1]))):
        problem = await api("POST", TICKS_PATH, document(*good[:1], tick("a", 1, -1.0), signature=signature))
        errors = assert_problem(problem, 422, "invalid-input")["errors"]
        assert [error["pointer"] for error in errors] == ["/ticks/0", "/ticks/1"]
    half = [good[0], tick("a", 1, -1.0)]
    problem = await api("POST", TICKS_PATH, document(*half, signature=KEY.sign(signed_bytes(half))))
    assert [e["pointer"] for e in assert_problem(problem, 422, "invalid-input")["errors"]] == ["/ticks/1"]
    assert await appended(redis) == 0

    taken = await api("POST", TICKS_PATH, document(*good, signature=KEY.sign(signed_bytes(good))))
    assert taken.json()["accepted"] == 2
    await at(api, "1-1")
    one = tick("signer", 2, 100.3)
    await api("POST", TICKS_PATH, document(one, signature=KEY.sign(signed_bytes([one]))))
    await at(api, "1-2")
    assert await refusals(redis) == []


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/ticks"),
        ({"ticks": []}, "/ticks"),
        ({"ticks": [{}]}, "/ticks/0/kind"),
        (changed(value="NaN"), "/ticks/0/value"),
        (changed(value="1e400"), "/ticks/0/value"),
        (changed(value=1.5), "/ticks/0/value"),
        (changed(value=None), "/ticks/0/value"),
        (changed(confidence="Infinity"), "/ticks/0/confidence"),
        (changed(kind="rumour"), "/ticks/0/kind"),
        (changed(source=""), "/ticks/0/source"),
        (changed(source="s" * 65), "/ticks/0/source"),
        (changed(source="*"), "/ticks/0"),
        (changed(source="a  b"), "/ticks/0"),
        (changed(sequence=1 << 63), "/ticks/0/sequence"),
        (changed(sequence="x"), "/ticks/0/sequence"),
        (changed(time_ns=None), "/ticks/0/time_ns"),
        (changed(time_ns=0), "/ticks/0"),
        (changed(colour="red"), "/ticks/0/colour"),
        (changed() | {"signature": "?"}, "/signature"),
        (changed() | {"signature": 7}, "/signature"),
        (changed() | {"signature": b64encode(bytes(63)).decode()}, "/signature"),
        ({"ticks": [changed()["ticks"][0]] * (MAXIMUM_TICKS + 1)}, "/ticks"),
    ],
)
async def test_f13_what_cannot_be_a_batch_of_ticks_is_told_with_its_place(
    api, spoken_for, redis, body, pointer
):
    problem = assert_problem(await api("POST", TICKS_PATH, body), 422, "invalid-input")
    assert pointer in [error["pointer"] for error in problem["errors"]]
    assert await appended(redis) == 0


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"[" * 200_000, 400),
        (b'{"ticks":' + b"[" * 40 + b"]" * 40 + b"}", 400),
        (b'{"ticks": [], "ticks": []}', 400),
        (b" " * (BODY_LIMIT_BYTES + 1), 413),
    ],
    ids=["deep", "deeper than allowed", "twice", "large"],
)
async def test_f17_bodies_that_nobody_should_send(api, redis, content, status):
    headers = {"Authorization": f"Bearer {api.key}", "Content-Type": "application/json"}
    answer = await api.http.post(TICKS_PATH, content=content, headers=headers)
    assert answer.status_code == status
    assert await appended(redis) == 0


async def test_publishing_has_a_scope_of_its_own(engine, http, tenant, spoken_for, redis):
    others = Client(http, await factories.create_key(engine, tenant, scopes=["read", "trade", "admin"]))
    assert_problem(await others("POST", TICKS_PATH, document(tick("a", 1, 1.0))), 403, "denied")
    publisher = Client(http, await factories.create_key(engine, tenant, scopes=["ticks"]))
    assert (await publisher("POST", TICKS_PATH, document(tick("a", 1, 1.0)))).status_code == 202
    assert_problem(await publisher("GET", "/v1/oracle/sources"), 403, "denied")
    assert await appended(redis) == 1


async def test_nobody_is_spoken_for_but_by_its_publisher(api, stranger, units, redis):
    """By its signature where the registry names no publisher; by both where it names one of who signs."""
    sources = {
        "ours": Source(publisher="house"),
        "silent": Source(),
        "signer": Source(public_key=PUBLIC),
        "both": Source(public_key=PUBLIC, publisher="house"),
    }
    await declare(units, Declared(sources))

    async def answer(client, *names, signed=False):
        ticks = [tick(name, 1, 100.0) for name in names]
        signature = KEY.sign(signed_bytes(ticks)) if signed else None
        return await client("POST", TICKS_PATH, document(*ticks, signature=signature))

    assert (await answer(api, "ours")).status_code == 202
    assert (await answer(stranger, "signer", signed=True)).status_code == 202
    assert (await answer(api, "both", "ours", signed=True)).status_code == 202
    assert_problem(await answer(stranger, "signer"), 422, "invalid-input")
    for client, names, signed in (
        (api, ["silent"], False),
        (api, ["silent"], True),
        (api, ["undeclared"], False),
        (api, ["ours", "undeclared"], False),
        (stranger, ["ours"], False),
        (stranger, ["both"], True),
    ):
        problem = assert_problem(await answer(client, *names, signed=signed), 403, "not-publisher")
        assert f"may not speak for {names[-1]}:" in problem["detail"]
        assert "ballast sources apply" in problem["detail"]
    await declare(units, Declared())
    assert_problem(await answer(api, "ours"), 403, "not-publisher")
    assert await appended(redis) == 3


async def test_refusals_are_measured_by_reason_and_registered_source(api, declared, running_oracle):
    """Names that nobody registered are one, however many were heard of them."""
    await running_oracle.publish(
        [tick("a", 1, 100.0), tick("a", 2, -1.0), *(tick(f"b{n}", 1, 100.0) for n in range(3))]
    )
    await at(api, "1-1")
    await running_oracle.publish(
        [*(tick(f"b{n}", 1, 1.0) for n in range(3)), tick("nobody", 1, -1.0), tick("signer", 1, 1.0)]
    )
    await running_oracle.publish([tick("a", 3, 100.5)])
    await at(api, "1-2")
    text = (await api.http.get("/metrics")).text
    assert {line for line in text.splitlines() if line.startswith("ballast_oracle_refused_ticks_total")} == {
        'ballast_oracle_refused_ticks_total{reason="not_positive",source="a"} 1.0',
        'ballast_oracle_refused_ticks_total{reason="old_sequence",source="other"} 3.0',
        'ballast_oracle_refused_ticks_total{reason="not_positive",source="other"} 1.0',
        'ballast_oracle_refused_ticks_total{reason="unsigned",source="signer"} 1.0',
    }
