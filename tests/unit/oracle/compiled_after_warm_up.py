"""`python -m tests.unit.oracle.compiled_after_warm_up`: what entries of every kind still had compiled."""

import asyncio
import json
import sys

from app.adapters.redis_streams import tick_reply
from app.adapters.redis_streams.tick_publisher import flat_fields
from app.adapters.redis_streams.whole_replies import WholeReplies
from app.oracle.sequencer import ClockMode
from app.oracle.warm_up import warm_up
from app.services.take_entries import TakeEntries
from tests.compiled_loops import compiled, compiled_since
from tests.unit.oracle.test_overload import Batch
from tests.unit.oracle.test_sequencer import NOW_NS, SECOND, heartbeat, price, sequencer


def read(ticks):
    """Single ticks, as Redis tells of them and a loop reads it."""
    replies = WholeReplies()
    whole = reply_of([flat_fields(tick) for tick in ticks])
    for part in (whole[:50], whole[50:]):
        replies.feed(part)
    return Batch([[tick] for tick in ticks], tick_reply.TickReply(replies.gets()).entries)


def reply_of(bodies):
    entries = [array(bulk(f"{n}-0"), array(*map(bulk, body))) for n, body in enumerate(bodies)]
    return array(array(bulk("oracle:ticks"), array(*entries)))


def array(*elements):
    return b"*%d\r\n" % len(elements) + b"".join(elements)


def bulk(word):
    told = str(word).encode()
    return b"$%d\r\n%b\r\n" % (len(told), told)


class Clock:
    time_ns = NOW_NS

    def now_ns(self):
        return self.time_ns


async def take_all():
    async def learn(_named):
        return

    for clock in ClockMode:
        machine, wall = sequencer(clock=clock), Clock()
        take, at = TakeEntries(machine, wall, learn), 0
        for merging in (False, True):
            ticks = []
            for second in range(12):
                wall.time_ns = time_ns = NOW_NS + at * SECOND
                at += 1
                ticks += [price(1.0 + second, sequence=at, source=name, time_ns=time_ns) for name in "ab"]
                ticks += [heartbeat(time_ns=time_ns)] if second % 5 == 0 else []
            batch = read(ticks)
            await take(batch, 0, len(batch), merging=merging and clock is ClockMode.LIVE)
            assert len(machine.frames())
            machine.consensus(), machine.news(), machine.memory()


def main():
    warm_up()
    tick_reply.warm_up()
    before = compiled()
    asyncio.run(take_all())
    json.dump(compiled_since(before), sys.stdout)


if __name__ == "__main__":
    main()
