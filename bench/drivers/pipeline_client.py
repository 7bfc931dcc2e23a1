"""Publishes ticks and receives what they cause: `python -m bench.drivers.pipeline_client PLAN`.

One process reads a WebSocket and times it; at a rate, a second one publishes on a fixed schedule, and each
latency counts from the time its tick was due, so that a system that stalls cannot hide it. Prints the
latencies in seconds as JSON.
"""

import ctypes
import json
import os
import re
import sys
import time

import msgspec

from bench.drivers.ticks import single
from bench.drivers.websocket_client import WebSocketClient
from bench.floors.redis_wire import BlockingRedis

_PORTFOLIO = re.compile(rb'"portfolio_id":\s*"(\d{8})-')
_RECOMMENDED = b'"adjustment.recommended"'
_PR_SET_TIMERSLACK = 29
_LEAD_SECONDS = 0.2


class Load(msgspec.Struct, frozen=True):
    """`rate_per_second` 0: one tick at a time, the next `gap_seconds` after the last one's message.

    The first `warm_up` ticks are always sent that way and not reported.
    """

    warm_up: int
    ticks: int
    rate_per_second: float = 0.0
    gap_seconds: float = 0.005

    @property
    def instruments(self) -> int:
        return self.warm_up + self.ticks


class Feed(msgspec.Struct, frozen=True):
    """Where messages come from, and what to say before they do."""

    port: int
    path: str = "/"
    headers: dict[str, str] = {}
    hello: list[str] = []
    answers_to_hello: int = 0


class Plan(msgspec.Struct, frozen=True):
    redis_path: str
    feed: Feed
    load: Load


def main(plan: Plan) -> None:
    # Sleeps end when they should, not up to 50 µs later.
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
    redis = BlockingRedis(plan.redis_path)
    feed = WebSocketClient(port=plan.feed.port, path=plan.feed.path, headers=plan.feed.headers)
    greet(feed, plan.feed)
    load = plan.load
    one_by_one(redis, feed, first=0, ticks=load.warm_up, gap_seconds=load.gap_seconds)
    if load.rate_per_second:
        latencies = on_schedule(redis, feed, load)
    else:
        latencies = one_by_one(
            redis, feed, first=load.warm_up, ticks=load.ticks, gap_seconds=load.gap_seconds
        )
    json.dump(latencies, sys.stdout)


def greet(client: WebSocketClient, feed: Feed) -> None:
    for text in feed.hello:
        client.send(text)
    answers = 0
    while answers < feed.answers_to_hello:
        answers += len(client.receive())


def one_by_one(
    redis: BlockingRedis, feed: WebSocketClient, *, first: int, ticks: int, gap_seconds: float
) -> list[float]:
    latencies = []
    for number in range(first, first + ticks):
        tick = single(instrument=number, sequence=1)
        sent = time.perf_counter()
        redis.send(tick)
        while not any(_RECOMMENDED in message for message in feed.receive()):
            pass
        latencies.append(time.perf_counter() - sent)
        redis.reply()
        time.sleep(gap_seconds)
    return latencies


def on_schedule(redis: BlockingRedis, feed: WebSocketClient, load: Load) -> list[float]:
    start = time.perf_counter() + _LEAD_SECONDS
    publisher = os.fork()
    if publisher == 0:
        publish(redis, load, start=start)
        os._exit(0)
    received: list[tuple[float, bytes]] = []
    while len(received) < load.ticks:
        messages = feed.receive()
        now = time.perf_counter()
        received += [(now, message) for message in messages if _RECOMMENDED in message]
    os.waitpid(publisher, 0)
    arrived = {_number(message) - load.warm_up: at for at, message in received}
    if sorted(arrived) != list(range(load.ticks)):
        raise SystemExit(f"{load.ticks} ticks, but messages for {len(arrived)}")
    return [arrived[i] - (start + i / load.rate_per_second) for i in range(load.ticks)]


def _number(message: bytes) -> int:
    """Of the portfolio: the first eight digits of its id, as `bench.floors.records` and the book have it."""
    found = _PORTFOLIO.search(message)
    if found is None:
        raise SystemExit(f"no portfolio in {message!r}")
    return int(found[1])


def publish(redis: BlockingRedis, load: Load, *, start: float) -> None:
    """Late ones leave at once and together: a schedule is kept, whoever is slow."""
    sent = 0
    while sent < load.ticks:
        time.sleep(max(0.0, start + sent / load.rate_per_second - time.perf_counter()))
        due = min(load.ticks, int((time.perf_counter() - start) * load.rate_per_second) + 1)
        batch = range(sent, max(due, sent + 1))
        redis.send(b"".join(single(instrument=load.warm_up + i, sequence=1) for i in batch))
        for _ in batch:
            redis.reply()
        sent = batch.stop


if __name__ == "__main__":
    main(msgspec.json.decode(sys.argv[1], type=Plan))
