"""The writer's state in a real Redis: whatever was appended, a successor finds it as it was left."""

import hashlib

import pytest

from app.adapters.redis_streams.keys import STATE
from app.adapters.redis_streams.market_log import _APPEND, RedisMarketLog
from app.adapters.redis_streams.wire import Wire
from app.domain.errors import Fenced, StreamReset
from app.domain.market import StreamPosition, Tick, TickKind
from app.oracle.declared import Pair
from app.oracle.sequencer import ClockMode, Sequencer

NOW_NS = 1_767_225_600_000_000_000
START = StreamPosition(1, 0)


def tick(sequence, *, source="a", instrument="BTC-USDT"):
    return Tick(TickKind.PRICE, source, instrument, sequence, NOW_NS, 100.0 + sequence)


@pytest.fixture
async def market(redis_url):
    async with Wire(redis_url) as wire:
        market = RedisMarketLog(wire, wire)
        await market.start_generation(epoch=1, generation=1)
        yield market


def sequencer(state=None):
    return Sequencer(
        generation=1,
        sequence=state.position.sequence if state else 0,
        time_ns=state.time_ns if state else 0,
        clock=ClockMode.LIVE,
        instruments={name: Pair(*name.split("-"), is_spot=True) for name in ("BTC-USDT", "ETH-USDT")},
        memory=state.memory if state else None,
    )


async def append(market, machine, ticks, *, cursor, epoch=1, whole=False):
    previous = StreamPosition(1, machine.sequence)
    machine.take(entry=cursor, ticks=ticks, wall_ns=NOW_NS)
    machine.close(wall_ns=NOW_NS)
    await market.append(
        epoch=epoch,
        previous=previous,
        cursor=cursor,
        frames=machine.frames(),
        consensus=machine.consensus(),
        memory=machine.memory() if whole else machine.news(),
        whole=whole,
    )


async def test_whoever_opened_a_market_is_known_by_his_script(market, redis):
    """Of one that was never written too: the first frames wait for nothing."""
    await redis.script_flush()
    await redis.delete(STATE)
    assert await market.open(epoch=1, at_least=StreamPosition(1, 0)) is None
    known = hashlib.sha1(_APPEND.encode(), usedforsecurity=False).hexdigest()
    assert await redis.script_exists(known) == [True]


async def test_a_successor_has_every_quote_from_the_snapshot_or_from_the_log_after_it(market):
    machine = sequencer()
    appends = [
        ([tick(1), tick(1, source="b")], False),
        ([tick(2)], False),
        ([], False),
        ([tick(2, instrument="ETH-USDT")], True),
        ([tick(3, source="b"), tick(3)], False),
        ([], True),
        ([tick(4, source="c")], False),
    ]
    for epoch, (ticks, whole) in enumerate(appends, start=1):
        await append(market, machine, ticks, cursor=f"{epoch}-0", epoch=epoch, whole=whole)
        state = await market.open(epoch=epoch + 1, at_least=START)
        successor = sequencer(state)
        assert (state.cursor, state.position.sequence) == (f"{epoch}-0", machine.sequence)
        assert (successor.memory(), state.time_ns) == (machine.memory(), machine.time_ns)
        machine = successor


async def test_an_old_writer_changes_nothing(market):
    await append(market, sequencer(), [tick(1)], cursor="1-0")
    before = await market.open(epoch=2, at_least=START)
    with pytest.raises(Fenced):
        await append(market, sequencer(before), [tick(9)], cursor="9-0", epoch=1, whole=True)
    with pytest.raises(StreamReset):
        await append(market, sequencer(), [tick(9)], cursor="9-0", epoch=2, whole=True)
    assert await market.open(epoch=2, at_least=START) == before
