"""Clients that are gone, send too much or do not read; and a server that goes."""

import asyncio
import json
import time

import pytest

from bench.drivers.websocket_client import WebSocketClient
from tests.waiting import eventually

OPENING, CONTINUED = b"\x01\x80\0\0\0\0", b"\x00\x80\0\0\0\0"
"""Fragments of a text, both empty, neither of them the last."""
QUICK_PINGS = {"ws_ping_interval": 0.05, "ws_ping_timeout": 0.2}


@pytest.fixture
async def raw(stream):
    """A client on a plain socket, which does what it is told only."""
    opened = []

    def connect(server=stream):
        port = int(server.url.split(":")[2].split("/")[0])
        headers = {"Authorization": f"Bearer {stream.keys['good']}"}
        client = WebSocketClient(port=port, path="/v1/stream", headers=headers)
        opened.append(client)
        return client

    yield connect
    for client in opened:
        client.close()


async def test_who_does_not_answer_pings_is_closed_3012(serve, feed, raw):
    server = await serve(feed, server_options=QUICK_PINGS)
    client = await asyncio.to_thread(raw, server)
    heard = await asyncio.to_thread(client.receive)
    assert json.loads(heard[0]) == {"op": "authenticated"}
    await eventually(lambda: len(server.hub.listeners.receivers) == 1)

    def until_closed():
        client.answers_pings = False
        client.receive()

    with pytest.raises(ConnectionError, match="3012"):
        await asyncio.to_thread(until_closed)
    await eventually(lambda: not server.hub.listeners.receivers, what="it is forgotten")


async def test_who_answers_pings_stays(serve, feed, stream, dial):
    server = await serve(feed, server_options=QUICK_PINGS)
    server.keys = stream.keys
    client = await dial(server)
    await client.hear()
    began = time.monotonic()
    await eventually(lambda: time.monotonic() - began > 0.6)
    assert await client.ask(op="ping") == {"op": "pong"}


async def test_a_message_that_is_too_large_closes_with_1009(stream, dial):
    client = await dial(stream)
    await client.hear()
    await client.socket.send('{"op":"ping","pad":"' + "x" * 65_536 + '"}')
    assert (await client.until_closed())[1] == 1009


async def test_a_message_of_empty_fragments_without_end_closes_with_1009(raw):
    client = await asyncio.to_thread(raw)

    def fragments():
        client._socket.sendall(OPENING + CONTINUED * 5_000)
        while True:
            client.receive()

    with pytest.raises(ConnectionError, match="1009"):
        await asyncio.to_thread(fragments)


async def test_who_sends_too_fast_is_read_slower(stream, dial, monkeypatch):
    monkeypatch.setattr("app.entrypoints.api.stream_connection.COMMANDS_AT_ONCE", 5)
    client = await dial(stream)
    await client.hear()
    began = time.monotonic()
    for _ in range(20):
        await client.say(op="ping")
    assert [await client.hear() for _ in range(20)] == [{"op": "pong"}] * 20
    assert time.monotonic() - began > 0.2  # fifteen more than at once, at fifty a second


async def test_f37_who_sends_pings_and_never_reads_is_cut_off(stream, raw):
    client = await asyncio.to_thread(raw)
    await eventually(lambda: len(stream.hub.listeners.receivers) == 1)

    def flood():
        while True:
            client.ping(b"x" * 125, times=1_000)

    with pytest.raises(OSError, match=r"reset|pipe"):
        await asyncio.to_thread(flood)
    await eventually(lambda: not stream.hub.listeners.receivers, what="it is forgotten")


async def test_f40_a_process_that_stops_sends_clients_on_one_by_one(stream, serve, feed, dial, committed):
    """Closed with 1012 in any order, they go on elsewhere, and nothing is missed."""
    other = await serve(feed)
    other.keys = stream.keys
    portfolio = await committed.portfolio(stream.tenant)
    channel = f"portfolio.{portfolio}"
    clients = [await dial(stream) for _ in range(12)]
    for client in clients:
        await client.hear()
        granted = await client.recover(channel)
    await feed.publish(await committed.commit(stream.tenant, portfolio, 2))
    order = []

    async def moves_on(number):
        heard, code = await clients[number].until_closed()
        assert code == 1012
        order.append(number)
        seen = [message["event"]["sequence"] for message in heard]
        client = await dial(other)
        await client.hear()
        assert (await client.recover(channel, str(seen[-1]), granted["epoch"]))["recovered"]
        return seen + await client.sequences(4 - len(seen))

    async with asyncio.TaskGroup() as moving:
        views = [moving.create_task(moves_on(number)) for number in range(len(clients))]
        stream.stop.set()
        await feed.publish(await committed.commit(stream.tenant, portfolio, 2))
    assert [view.result() for view in views] == [[1, 2, 3, 4]] * len(clients)
    assert order != sorted(order)
