"""The hot path's own connection to Redis: replies never cross, what is lost says so. FAULTS 1, 7 and 10."""

import asyncio
import gc
import time

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from app.adapters.embedded.redis import EmbeddedRedis
from app.adapters.redis_streams import wire as wires
from app.adapters.redis_streams.client import read_stream
from app.adapters.redis_streams.wire import Asked, Script, Wire
from tests.waiting import eventually


@pytest.fixture
async def wire(redis_url):
    async with Wire(redis_url) as connected:
        yield connected


async def test_commands_are_answered_in_their_order(wire):
    asked = [wire.execute_command("ECHO", f"word {n}") for n in range(200)]
    assert await asyncio.gather(*asked) == [f"word {n}".encode() for n in range(200)]


async def test_many_commands_share_a_write_and_give_all_replies(wire):
    replies = await wire.execute_many([("SET", "a", 1), ("INCR", "a"), ("GET", "a"), ("GET", "nothing")])
    assert replies == [b"OK", 2, b"2", None]
    assert await wire.execute_many([]) == []


async def test_an_error_among_many_is_raised_once_all_are_done(wire):
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await wire.execute_many([("SET", "a", "text"), ("LPUSH", "a", 1), ("SET", "b", "done")])
    assert await wire.execute_command("GET", "b") == b"done"


async def test_f10_a_cancelled_command_leaves_no_crossed_reply(wire):
    """Many times over: the answer to a read that was given up belongs to nobody."""
    for turn in range(50):
        reading = asyncio.create_task(read_stream(wire, {"stream": "$"}, count=1, block_ms=20))
        await asyncio.sleep(0)
        asked = asyncio.create_task(wire.execute_command("ECHO", f"mine {turn}"))
        await asyncio.sleep(0)
        reading.cancel()
        assert await asked == f"mine {turn}".encode()
        with pytest.raises(asyncio.CancelledError):
            await reading


async def test_f01_an_idle_stream_is_no_error(wire):
    assert await read_stream(wire, {"stream": "0-0"}, count=10, block_ms=30) == {}


async def test_silence_is_told_and_the_next_command_connects_anew(wire, monkeypatch):
    monkeypatch.setattr(wires, "REPLY_SECONDS", 0.05)
    with pytest.raises(RedisTimeoutError, match="did not answer"):
        await wire.execute_command("XREAD", "BLOCK", 60_000, "STREAMS", "stream", "$")
    monkeypatch.setattr(wires, "REPLY_SECONDS", 5.0)
    assert await wire.execute_command("PING") == b"PONG"


async def test_silence_counts_for_each_command_from_when_it_was_asked(wire, monkeypatch):
    """Though one timer watches over all of them."""
    monkeypatch.setattr(wires, "REPLY_SECONDS", 0.3)
    started = time.monotonic()
    while time.monotonic() - started < 0.5:  # answered ones keep the line alive for longer than one may take
        assert await read_stream(wire, {"stream": "0-0"}, count=1, block_ms=20) == {}
    asked_at = time.monotonic()
    with pytest.raises(RedisTimeoutError):
        await wire.execute_command("XREAD", "BLOCK", 60_000, "STREAMS", "stream", "$")
    assert time.monotonic() - asked_at >= 0.3


async def test_what_is_asked_is_sent_before_anything_is_awaited(wire):
    async def doubled(reply):
        return 2 * await reply

    async def in_words(reply):
        return f"{await reply} of them"

    await wire.execute_command("PING")
    asked = [Asked(wire.ask("INCR", "a"), doubled) for _ in range(3)]
    assert await wire.execute_command("GET", "a") == b"3"
    assert [await one for one in asked] == [2, 4, 6]
    assert await Asked(wire.ask("INCR", "a"), doubled).then(in_words) == "8 of them"


async def test_what_nobody_waits_for_any_more_fails_silently(wire, caplog):
    given_up = Asked(wire.ask("GET", "a", "b"), doubtful), Asked(wire.ask("GET", "a", "b"), doubtful)
    given_up[0].cancel()
    with pytest.raises(ResponseError):
        await wire.execute_command("GET", "a", "b")
    given_up[1].cancel()  # it has failed by now
    del given_up
    gc.collect()
    assert not caplog.records


async def doubtful(reply):
    return await reply


async def test_what_is_asked_connects_where_there_is_no_connection(redis_url):
    wire = Wire(redis_url)
    try:
        assert await wire.ask("ECHO", "first") == b"first"
    finally:
        await wire.aclose()


async def test_a_server_that_goes_fails_what_waits_and_is_found_again(tmp_path):
    server = EmbeddedRedis(tmp_path / "redis", durable=True)
    await asyncio.to_thread(server.start)
    try:
        async with Wire(server.url) as wire:
            await wire.execute_command("SET", "a", "kept")
            waiting = asyncio.create_task(
                wire.execute_command("XREAD", "BLOCK", 60_000, "STREAMS", "stream", "$")
            )
            async with Wire(server.url) as other:
                await eventually(lambda: _is_blocked(other))
            await asyncio.to_thread(server.stop)
            with pytest.raises(RedisConnectionError):
                await waiting
            with pytest.raises(RedisConnectionError, match="cannot be reached"):
                await wire.execute_command("PING")
            await asyncio.to_thread(server.start)
            assert await wire.execute_command("GET", "a") == b"kept"
    finally:
        await asyncio.to_thread(server.stop)


async def _is_blocked(wire):
    return b"blocked_clients:1" in await wire.execute_command("INFO", "clients")


async def test_password_and_logical_database_come_from_the_address(redis_url, redis):
    await redis.execute_command("ACL", "SETUSER", "reader", "on", ">secret", "~*", "+@all")
    try:
        address = redis_url.replace("unix://", "unix://reader:secret@", 1)
        async with Wire(address) as known:
            assert await known.execute_command("ACL", "WHOAMI") == b"reader"
        async with Wire(redis_url.replace("unix://", "unix://reader:wrong@", 1)) as unknown:
            with pytest.raises(ResponseError, match="WRONGPASS"):
                await unknown.execute_command("PING")
    finally:
        await redis.execute_command("ACL", "DELUSER", "reader")


async def test_a_script_is_sent_again_where_the_server_forgot_it(wire):
    script = Script(wire, "return {KEYS[1], ARGV[1]}")
    assert await script(keys=["k"], args=["v"]) == [b"k", b"v"]
    await wire.execute_command("SCRIPT", "FLUSH")
    assert await script(keys=["k"], args=["w"]) == [b"k", b"w"]


async def test_a_script_is_sent_before_it_is_awaited_once_it_is_known(wire):
    script = Script(wire, "return redis.call('INCR', KEYS[1])")
    first = script.ask(keys=["n"], args=[])
    assert await first == 1
    second = script.ask(keys=["n"], args=[])
    assert await wire.execute_command("GET", "n") == b"2"
    assert await second == 2
    await wire.execute_command("SCRIPT", "FLUSH")
    assert await script.ask(keys=["n"], args=[]) == 3


@pytest.fixture
def own_server(tmp_path):
    """One that nobody else asks anything."""
    with EmbeddedRedis(tmp_path / "redis", durable=False) as server:
        yield server


async def _reads(wire):
    """How often the server has found something to read, this question included."""
    told = await wire.execute_command("INFO", "stats")
    return int(told.partition(b"total_reads_processed:")[2].partition(b"\r\n")[0])


async def test_what_is_asked_together_leaves_in_one_write_at_its_end(own_server):
    async with Wire(own_server.url) as wire, Wire(own_server.url) as other:
        await wire.execute_command("PING")
        before = await _reads(other)
        with wire.together():
            asked = [wire.ask("INCR", "a") for _ in range(200)]
            assert await other.execute_command("GET", "a") is None
            assert await _reads(other) == before + 2
        assert await asyncio.gather(*asked) == list(range(1, 201))
        assert await _reads(other) == before + 4
        assert await wire.execute_command("GET", "a") == b"200"  # and what follows waits for nothing


async def test_what_is_asked_together_is_answered_in_its_order(wire):
    await wire.execute_command("PING")
    with wire.together():
        asked = [wire.ask("ECHO", "1"), wire.ask("GET", "a", "b"), wire.ask("ECHO", "2")]
        many = asyncio.create_task(wire.execute_many([("ECHO", "3"), ("ECHO", "4")]))
        await asyncio.sleep(0)
        asked[0].cancel()
        asked.append(wire.ask("ECHO", "5"))
    answers = await asyncio.gather(*asked, many, return_exceptions=True)
    assert [type(answer) for answer in answers[:2]] == [asyncio.CancelledError, ResponseError]
    assert answers[2:] == [b"2", b"5", [b"3", b"4"]]


async def test_a_block_within_another_ends_with_it(own_server):
    async with Wire(own_server.url) as wire, Wire(own_server.url) as other:
        await wire.execute_command("PING")
        with wire.together():
            asked = [wire.ask("INCR", "a")]
            with wire.together():
                asked.append(wire.ask("INCR", "a"))
            asked.append(wire.ask("INCR", "a"))
            before = await _reads(other)
            assert await other.execute_command("GET", "a") is None
        assert await asyncio.gather(*asked) == [1, 2, 3]
        assert await _reads(other) == before + 3


async def test_what_was_asked_is_sent_though_the_block_fails(wire):
    await wire.execute_command("PING")
    asked = []

    def fail_within():
        with wire.together():
            asked.append(wire.ask("INCR", "a"))
            raise KeyError

    with pytest.raises(KeyError):
        fail_within()
    assert await asked[0] == 1
    assert await wire.execute_command("GET", "a") == b"1"


async def test_blocks_without_anything_asked_send_nothing(own_server):
    async with Wire(own_server.url) as wire, Wire(own_server.url) as other:
        await wire.execute_command("PING")
        before = await _reads(other)
        with wire.together():
            pass
        assert await _reads(other) == before + 1
        assert await wire.execute_command("PING") == b"PONG"


async def test_what_is_asked_together_connects_where_there_is_no_connection(redis_url):
    async with Wire(redis_url) as wire:
        with wire.together():
            asked = [wire.ask("INCR", "a") for _ in range(3)]
        assert await asyncio.gather(*asked) == [1, 2, 3]


async def test_a_connection_that_is_lost_within_fails_what_was_asked(own_server):
    """Before it could be sent; what is asked afterwards connects anew, in the same block."""
    async with Wire(own_server.url) as wire, Wire(own_server.url) as other:
        await wire.execute_command("PING")
        with wire.together():
            lost = [wire.ask("INCR", "a") for _ in range(3)]
            await other.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            await eventually(lambda: all(one.done() for one in lost))
            again = wire.ask("INCR", "a")
            assert await again == 1
        for one in lost:
            with pytest.raises(RedisConnectionError, match="was lost"):
                await one
        assert await wire.execute_command("GET", "a") == b"1"


async def test_a_wire_that_is_closed_within_fails_what_was_asked(wire):
    await wire.execute_command("PING")
    with wire.together():
        asked = wire.ask("INCR", "a")
        await wire.aclose()
    with pytest.raises(RedisConnectionError, match="was lost"):
        await asked
    assert await wire.execute_command("GET", "a") is None
