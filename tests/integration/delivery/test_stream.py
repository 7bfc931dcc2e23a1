"""`/v1/stream` on a real socket, with a real stream and a real log."""

import asyncio
import logging
from datetime import timedelta

import pytest

from tests.waiting import eventually


async def greeted(client):
    assert await client.hear() == {"op": "authenticated"}
    return client


async def closed(client):
    """The close code, after whatever still comes."""
    return (await client.until_closed())[1]


async def test_a_portfolio_is_told_snapshot_first_then_live(stream, dial, feed, committed):
    portfolio = await committed.portfolio(stream.tenant)
    await feed.publish(await committed.commit(stream.tenant, portfolio, 2))
    client = await greeted(await dial(stream))

    channel = f"portfolio.{portfolio}"
    granted = await client.ask(op="subscribe", channel=channel)
    assert granted == {
        "op": "subscribed", "channel": channel, "epoch": granted["epoch"], "cursor": "2", "recovered": False,
    }  # fmt: skip
    assert await client.hear() == {
        "op": "snapshot", "channel": channel, "cursor": "2", "adjustments": [], "last": True,
    }  # fmt: skip
    (event,) = await committed.commit(stream.tenant, portfolio)
    await feed.publish([event])
    raw = await asyncio.wait_for(client.socket.recv(), 10)
    assert raw == f'{{"op":"event","channel":"{channel}","cursor":"3","event":{event.body.decode()}}}'


async def test_the_key_may_come_as_the_first_message(stream, dial):
    client = await dial(stream, key=None)
    assert await client.ask(op="authenticate", key=stream.keys["good"]) == {"op": "authenticated"}
    assert await client.ask(op="ping") == {"op": "pong"}


@pytest.mark.parametrize(
    "refused",
    [
        ("wrong", None, "invalid_token", 3500),
        (None, {"op": "subscribe", "channel": "adjustments"}, "invalid_token", 3500),
        (None, {"op": "authenticate", "key": "wrong"}, "invalid_token", 3500),
        ("blind", None, "denied", 3507),
    ],
)
async def test_f39_nothing_is_said_before_authentication(stream, dial, caplog, refused):
    key, first, code, close_code = refused
    caplog.set_level(logging.DEBUG)
    client = await dial(stream, key=key)
    if first is not None:
        await client.say(**first)
    assert (await client.hear())["code"] == code
    assert await closed(client) == close_code
    server_side = [r.getMessage() for r in caplog.records if not r.name.startswith("websockets.client")]
    assert not [line for line in server_side if "Bearer" in line or "wrong" in line]


NESTED = '{"op":"ping","pad":' + "[" * 30_000 + "]" * 30_000 + "}"


@pytest.mark.parametrize("text", ["nonsense", '{"op":"fly"}', '{"op":"subscribe"}', b"\x00", NESTED])
async def test_what_is_not_of_the_protocol_closes_with_3501(stream, dial, text):
    client = await greeted(await dial(stream))
    await client.socket.send(text)
    assert (await client.hear())["code"] == "bad_request"
    assert await closed(client) == 3501


async def test_a_foreign_portfolio_looks_like_none(stream, dial, feed, committed):
    theirs = await committed.portfolio(stream.other)
    owner = await greeted(await dial(stream, key="other"))
    await owner.recover(f"portfolio.{theirs}")
    stranger = await greeted(await dial(stream))
    assert await stranger.look("adjustments")
    for kind, recover in (("portfolio", None), ("portfolio", {"cursor": "0"}), ("risk", None)):
        answer = await stranger.ask(op="subscribe", channel=f"{kind}.{theirs}", recover=recover)
        assert (answer["op"], answer["code"]) == ("error", "not_found")
    await feed.publish(await committed.commit(stream.other, theirs, 3))
    assert await owner.sequences(3) == [1, 2, 3]
    assert await stranger.ask(op="ping") == {"op": "pong"}  # and nothing before it


@pytest.mark.parametrize(
    "asked",
    [
        {"channel": "portfolio.{p}", "recover": {"cursor": "-1"}},
        {"channel": "portfolio.{p}", "recover": {"cursor": "3-2"}},
        {"channel": "portfolio.{p}", "recover": {"cursor": "9" * 19}},
        {"channel": "portfolio.{p}", "interval_ms": 1_000},
        {"channel": "adjustments", "recover": {"cursor": "x"}},
        {"channel": "adjustments", "recover": {"cursor": ""}},
        {"channel": "adjustments.{p}"},
        {"channel": "risk.{p}", "recover": {"cursor": "0"}},
        {"channel": "risk.x"},
        {"channel": "market."},
        {"channel": "market.\0"},
        {"channel": "adjustments."},
        {"channel": "PORTFOLIO.{p}"},
    ],
)
async def test_what_cannot_be_subscribed_to_is_refused_and_nothing_is_left_of_it(
    stream, dial, committed, asked
):
    portfolio = await committed.portfolio(stream.tenant)
    client = await greeted(await dial(stream))
    answer = await client.ask(op="subscribe", **asked | {"channel": asked["channel"].format(p=portfolio)})
    assert (answer["op"], answer["code"]) == ("error", "invalid")
    listeners = stream.hub.listeners
    assert not listeners.logs
    assert not listeners.tenants


async def test_unsubscribed_means_silence(stream, dial, feed, committed):
    portfolio = await committed.portfolio(stream.tenant)
    client = await greeted(await dial(stream))
    channel = f"portfolio.{portfolio}"
    await client.recover(channel)
    assert (await client.ask(op="subscribe", channel=channel))["code"] == "invalid"
    await client.ask(op="unsubscribe", channel=channel)
    await feed.publish(await committed.commit(stream.tenant, portfolio))
    granted = await client.recover(channel)
    assert granted["op"] == "subscribed"
    assert await client.sequences(1) == [1]


async def test_resuming_clients_see_every_event_once_while_events_flow(stream, dial, feed, committed):
    """Each connects, hears a few, drops, and resumes after the last one, again and again."""
    portfolio = await committed.portfolio(stream.tenant)
    total = 400

    async def emit():
        for _ in range(total // 4):
            await feed.publish(await committed.commit(stream.tenant, portfolio, 4))

    granted = await (await greeted(await dial(stream))).recover(f"portfolio.{portfolio}")

    async def follow(patience):
        seen = []
        while len(seen) < total:
            client = await greeted(await dial(stream))
            last = seen[-1] if seen else 0
            await client.recover(f"portfolio.{portfolio}", str(last), granted["epoch"])
            seen += await client.sequences(min(patience, total - len(seen)))
            client.drop()
        return seen

    async with asyncio.TaskGroup() as tasks:
        views = [tasks.create_task(follow(patience)) for patience in (7, 53, 400)]
        tasks.create_task(emit())
    assert [view.result() for view in views] == [list(range(1, total + 1))] * 3


async def test_a_gap_in_the_stream_is_filled_in_order_and_repeats_are_dropped(stream, dial, feed, committed):
    portfolio = await committed.portfolio(stream.tenant)
    client = await greeted(await dial(stream))
    await client.recover(f"portfolio.{portfolio}")
    events = await committed.commit(stream.tenant, portfolio, 6)
    await feed.publish([events[0], events[3], events[3], events[1], events[5], events[4], events[0]])
    assert await client.sequences(6) == [1, 2, 3, 4, 5, 6]
    await feed.publish(await committed.commit(stream.tenant, portfolio))
    assert await client.sequences(1) == [7]


async def test_committed_but_never_published_is_found_without_a_later_event(stream, dial, committed):
    portfolio = await committed.portfolio(stream.tenant)
    client = await greeted(await dial(stream))
    await client.recover(f"portfolio.{portfolio}")
    everything = await greeted(await dial(stream))
    await everything.look("adjustments")
    await committed.commit(stream.tenant, portfolio, 3)
    unheard_of = await committed.portfolio(stream.tenant)
    await committed.commit(stream.tenant, unheard_of, 1)
    assert await client.sequences(3) == [1, 2, 3]
    assert sorted(await everything.events(4)) == sorted(
        [*((str(portfolio), n) for n in (1, 2, 3)), (str(unheard_of), 1)]
    )


async def test_a_flushed_stream_loses_nothing(stream, dial, feed, redis, committed):
    portfolio = await committed.portfolio(stream.tenant)
    client = await greeted(await dial(stream))
    await client.recover(f"portfolio.{portfolio}")
    await feed.publish(await committed.commit(stream.tenant, portfolio, 2))
    assert await client.sequences(2) == [1, 2]
    for turn in range(3):
        lost = await committed.commit(stream.tenant, portfolio, 1)
        await feed.publish(lost)
        await redis.flushdb()
        await feed.publish(await committed.commit(stream.tenant, portfolio, 1))
        assert await client.sequences(2) == [3 + 2 * turn, 4 + 2 * turn]


async def test_a_stream_that_went_back_is_followed_again(stream, dial, feed, redis, committed):
    """Ids lower than those already read: a restored or failed-over Redis."""
    portfolio = await committed.portfolio(stream.tenant)
    client = await greeted(await dial(stream))
    await client.recover(f"portfolio.{portfolio}")
    await redis.execute_command(
        "XADD", "events", "99999999999999-0", *_fields(await committed.commit(stream.tenant, portfolio))
    )
    assert await client.sequences(1) == [1]
    await redis.flushdb()
    await feed.publish(await committed.commit(stream.tenant, portfolio, 1))
    assert await client.sequences(1) == [2]


def _fields(events):
    (event,) = events
    return (
        "t",
        event.tenant_id.bytes,
        "p",
        event.portfolio_id.bytes,
        "s",
        event.sequence,
        "k",
        event.type,
        "d",
        event.body,
    )


async def test_f37_a_client_that_does_not_read_is_closed_3008_and_resumes(stream, dial, feed, committed):
    portfolio = await committed.portfolio(stream.tenant)
    channel = f"portfolio.{portfolio}"
    slow = await greeted(await dial(stream, max_queue=1))
    healthy = await greeted(await dial(stream))
    for client in (slow, healthy):
        granted = await client.recover(channel)
    outgoing = stream.hub.listeners.logs[portfolio].subscriptions[0].receiver
    total = 0
    heard = []
    while not outgoing.closed:
        await feed.publish(await committed.commit(stream.tenant, portfolio, 20, size=20_000))
        total += 20
        assert total < 2_000
        heard += await healthy.sequences(20)
        assert outgoing._queued <= 1 << 20
    assert heard == list(range(1, total + 1))

    missed, code = await slow.until_closed()
    assert code == 3008
    seen = [message["event"]["sequence"] for message in missed]
    assert seen == list(range(1, len(seen) + 1))
    again = await greeted(await dial(stream))
    assert (await again.recover(channel, str(seen[-1]), granted["epoch"]))["recovered"]
    assert seen + await again.sequences(total - len(seen)) == heard
    await eventually(lambda: len(stream.hub.listeners.receivers) == 2, what="the slow one is forgotten")


async def test_a_resume_larger_than_the_queue_keeps_the_client(stream, dial, committed):
    portfolio = await committed.portfolio(stream.tenant)
    for _ in range(4):
        await committed.commit(stream.tenant, portfolio, 500, size=1_000)
    client = await greeted(await dial(stream))
    await client.recover(f"portfolio.{portfolio}")
    assert await client.sequences(2_000) == list(range(1, 2_001))


async def test_shutdown_closes_with_1012_and_keeps_nothing(stream, dial, committed):
    client = await greeted(await dial(stream))
    await client.look("adjustments")
    stream.stop.set()
    assert await closed(client) == 1012
    listeners = stream.hub.listeners
    await eventually(lambda: not listeners.tenants and not listeners.logs, what="nothing is kept")


async def test_heartbeats_carry_the_market_time(serve, feed, committed, stream, dial):
    server = await serve(feed, heartbeat_period=timedelta(milliseconds=20))
    server.keys = stream.keys
    client = await greeted(await dial(server))
    assert await client.hear() == {"op": "heartbeat", "time": "2023-11-14T22:13:20.000000000Z"}
