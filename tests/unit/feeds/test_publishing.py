"""Publishing a feed, on a feed and a stream that do as they are told."""

import asyncio
import time

import pytest

from app.adapters.wall_clock import SystemClock
from app.domain.errors import ConfigurationError, FeedLost
from app.domain.market import Tick, TickKind
from app.entrypoints import feed as feed_process
from app.oracle.sequencer import Limits
from app.services import publish_feed
from app.services.publish_feed import MAXIMUM_LEAD_NS, PublishFeed
from tests.waiting import eventually

NOW = time.time_ns()


def price(sequence, *, kind=TickKind.PRICE):
    return Tick(kind, "desk", "BTC-USD", sequence, NOW, 64_250.0)


class Told:
    """Each connection says its groups, and then ends as it is told; the last one stands and is silent."""

    source = "desk"

    def __init__(self, *connections):
        self._connections = list(connections)

    async def listen(self):
        groups, error = self._connections.pop(0) if self._connections else ((), None)
        for group in groups:
            yield group
        if error is not None:
            raise error
        await asyncio.Event().wait()


class Stream:
    """Refuses so many times first."""

    def __init__(self, refusals=0):
        self.entries = []
        self._refusals = refusals

    async def publish(self, ticks):
        if self._refusals:
            self._refusals -= 1
            raise ConnectionError("the stream is away")
        self.entries.append([tick.sequence for tick in ticks])
        return "1-0"


async def run_until(told, stream, done, monkeypatch):
    monkeypatch.setattr(publish_feed, "FIRST_BACKOFF_SECONDS", 0.01)
    monkeypatch.setattr(feed_process, "RETRY_SECONDS", 0.01)
    stop = asyncio.Event()
    service = PublishFeed(feed=told, publisher=stream, clock=SystemClock())
    running = asyncio.create_task(feed_process.run(feed=service, stop=stop))
    try:
        await eventually(lambda: done() or running.done())
    finally:
        stop.set()
        await running


def test_what_is_left_out_is_what_the_oracle_would_refuse():
    assert Limits().maximum_lead_ns == MAXIMUM_LEAD_NS


async def test_groups_are_entries_and_what_was_told_is_not_told_again(monkeypatch):
    told = Told(
        ([[price(1), price(1, kind=TickKind.MARK)], [], [price(1), price(2)]], FeedLost("gone")),
        ([[price(2)], [price(3)]], None),
    )
    stream = Stream()
    await run_until(told, stream, lambda: len(stream.entries) == 3, monkeypatch)
    assert stream.entries == [[1, 1], [2], [3]]


async def test_what_could_not_be_published_is_told_when_the_stream_is_back(monkeypatch):
    told = Told(([[price(1)]], None), ([[price(1)]], None))
    stream = Stream(refusals=1)
    await run_until(told, stream, lambda: stream.entries, monkeypatch)
    assert stream.entries == [[1]]


async def test_what_the_operator_has_to_change_ends_the_process(monkeypatch):
    told = Told(([], ConfigurationError("no key")))
    with pytest.raises(ConfigurationError, match="no key"):
        await run_until(told, Stream(), lambda: False, monkeypatch)


async def test_a_wait_that_is_asked_for_is_kept(monkeypatch):
    waits = []

    async def noted(seconds):
        waits.append(seconds)

    told = Told(
        ([], FeedLost("gone")), ([], FeedLost("too often", retry_after_seconds=60.0)), ([[price(1)]], None)
    )
    stream = Stream()
    monkeypatch.setattr(publish_feed, "sleep", noted)
    await run_until(told, stream, lambda: stream.entries, monkeypatch)
    assert waits[0] <= publish_feed.FIRST_BACKOFF_SECONDS
    assert waits[1] == 60.0
