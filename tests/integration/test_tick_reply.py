"""Ticks of every form, read off a real stream: what the loop's connection reads is what redis-py reads."""

import random

import pytest

from app.adapters.redis_streams.client import connect, read_range
from app.adapters.redis_streams.keys import TICKS
from app.adapters.redis_streams.tick_log import RedisTickLog, decode_entry
from app.adapters.redis_streams.tick_publisher import RedisTickPublisher, flat_fields
from app.adapters.redis_streams.whole_replies import WholeReplies
from app.adapters.redis_streams.wire import Wire
from app.domain.market import Tick, TickKind
from app.oracle.entries import UNREAD
from tests.integration.test_redis_wire import _is_blocked
from tests.unit.oracle.test_tick_reply import (
    HARD,
    ODD_INTEGERS,
    ODD_NUMBERS,
    agrees,
    paired,
    read,
    unpaired,
)
from tests.waiting import eventually

ENTRIES = 1_000


def ticks(draw, count):
    return [
        Tick(
            draw.choice(list(TickKind)), draw.choice(["venue", "Börse", "x" * 64]), "BTC-USDT",
            draw.getrandbits(draw.randint(1, 63)), draw.getrandbits(63),
            draw.uniform(-1e5, 1e5), draw.random(),
        )
        for _ in range(count)
    ]  # fmt: skip


def odd_fields(draw):
    """Of one tick: another word here or there, another order, a field twice or not at all."""
    pairs = paired(flat_fields(ticks(draw, 1)[0]))
    for _ in range(draw.randint(0, 2)):
        at = draw.randrange(len(pairs))
        word = draw.choice([*HARD, *ODD_NUMBERS, *ODD_INTEGERS, b"\xff", b"n" * 65])
        pairs[at] = (pairs[at][0], word)
    form = draw.randrange(6)
    if form == 0:
        draw.shuffle(pairs)
    elif form == 1:
        pairs.pop(draw.randrange(len(pairs)))
    elif form == 2:
        pairs.append(draw.choice(pairs))
    return unpaired(pairs)


async def sent(redis_url):
    """Through what publishers use, or by hand."""
    draw = random.Random(7)
    async with Wire(redis_url) as wire:
        publisher = RedisTickPublisher(wire)
        for n in range(ENTRIES):
            signature = draw.randbytes(64) if n % 5 == 0 else b""
            if n % 3 == 0:
                await publisher.publish(ticks(draw, 1), signature)
            elif n % 3 == 1:
                await publisher.publish(ticks(draw, draw.choice([2, 15, 16, 40])), signature)
            elif n % 12 == 2:
                body = draw.choice([b"", b"\x90", b"\xdc\xff\xff", draw.randbytes(30)])
                await wire.execute_command("XADD", TICKS, "*", "packed", body)
            else:
                await wire.execute_command("XADD", TICKS, "*", *odd_fields(draw))
    async with connect(redis_url) as client:
        return await read_range(client, TICKS, "-", "+", count=2 * ENTRIES)


@pytest.mark.parametrize("count", [1, 7, 100, 333, ENTRIES, 2 * ENTRIES])
async def test_what_is_read_in_parts_is_what_redis_holds(redis_url, count):
    """Once, in order, to the bit; and nothing that a publisher writes and does not sign is left unread."""
    entries = [(entry.decode(), flat) for entry, flat in await sent(redis_url)]
    assert len(entries) == ENTRIES
    async with Wire(redis_url, WholeReplies) as streams, Wire(redis_url) as wire:
        log, after, done = RedisTickLog(streams, wire), "0-0", 0
        while len(batch := await log.read(after, count=count, block_ms=None)):
            for i in range(len(batch)):
                entry, flat = entries[done]
                agrees(batch, i, entry, flat)
                assert repr(batch.entry(i)) == repr(decode_entry(entry, flat))  # of what is NaN too
                is_published = done % 3 < 2 and done % 5 != 0
                assert not is_published or read(batch, i) is not None
                after, done = entry, done + 1
        assert done == ENTRIES
        assert len(await log.read(after, count=count, block_ms=1)) == 0


async def test_ticks_are_waited_for(redis_url):
    """The reply comes once there is one, behind what nothing came of."""
    async with Wire(redis_url, WholeReplies) as streams, Wire(redis_url) as wire:
        log = RedisTickLog(streams, wire)
        assert len(await log.read("$", count=10, block_ms=1)) == 0
        waiting = log.read("$", count=10, block_ms=5_000)
        tick = Tick(TickKind.PRICE, "venue", "BTC-USDT", 1, 2, 1.5, 0.5)
        await eventually(lambda: _is_blocked(wire))
        published = await RedisTickPublisher(wire).publish([tick])
        batch = await waiting
        assert (batch.id(0), batch.entry(0).ticks, batch.entries.ticks) == (published, [tick], 1)
        assert UNREAD not in batch.entries.rows
