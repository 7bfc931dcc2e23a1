"""Whatever cursor a client is told, it has everything that had committed by then: searched with hypothesis.

Transactions begin, and commit events to logs in another order; logs are handed out as they come; PostgreSQL
is looked at, and what it said arrives later; clients join in the middle.
"""

import json
import re
from dataclasses import dataclass, field
from types import SimpleNamespace
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.ports.delivery import Horizon
from app.services.event_listeners import Listeners, Subscription

TENANT = UUID(int=1)
PORTFOLIOS = [UUID(int=n) for n in range(10, 13)]


@pytest.mark.parametrize("cursor", ["", "-", "1-", "-1", "1--2", "x", "1 ", "1\n", "1" * 19, "٣"])
def test_what_is_no_cursor(cursor):
    with pytest.raises(ValueError, match=f"^{re.escape(cursor)}$"):
        Horizon.of(cursor)


@given(st.integers(0, 10**18 - 1), st.lists(st.integers(0, 10**18 - 1), max_size=5))
def test_a_cursor_is_read_as_it_was_written(end, running):
    horizon = Horizon(end, tuple(running))
    assert Horizon.of(horizon.cursor) == horizon


@dataclass
class History:
    """PostgreSQL: events by portfolio, each with the transaction that committed it."""

    next_transaction: int = 1
    running: list[int] = field(default_factory=list)
    logs: dict[UUID, list[int]] = field(default_factory=lambda: {key: [] for key in PORTFOLIOS})

    def begin(self):
        self.running.append(self.next_transaction)
        self.next_transaction += 1

    def commit(self, which, portfolios):
        if self.running:
            transaction = self.running.pop(which % len(self.running))
            for portfolio in portfolios:
                self.logs[portfolio].append(transaction)

    def now(self):
        horizon = Horizon(self.next_transaction, tuple(self.running))
        return horizon, {key: len(log) for key, log in self.logs.items()}

    def committed_by(self, horizon):
        return {
            (key, sequence)
            for key, log in self.logs.items()
            for sequence, transaction in enumerate(log, start=1)
            if transaction < horizon.end and transaction not in horizon.running
        }


class Client:
    """Has what its snapshot showed and what it was told since."""

    closed = congested = False

    def __init__(self, history, joined_at):
        self.history = history
        self.has = history.committed_by(joined_at)
        self.last = joined_at

    def push(self, message):
        told = json.loads(message)
        self.has.add((UUID(told["event"]["portfolio_id"]), told["event"]["sequence"]))
        cursor = Horizon.of(told["cursor"])
        covered = self.history.committed_by(cursor)
        assert covered <= self.has
        assert self.history.committed_by(self.last) <= covered, "a cursor never goes back"
        self.last = cursor


class World:
    def __init__(self):
        self.history = History()
        self.listeners = Listeners()
        self.tenant = self.listeners.tenant(TENANT)
        self.looks = []
        self.clients = []

    def hand_out(self, portfolio):
        log = self.tenant.logs.get(portfolio)
        if log is not None and log.sequence < len(self.history.logs[portfolio]):
            log.hand_out(self._event(portfolio, log.sequence + 1))

    def join(self):
        horizon, heads = self.history.now()
        client = Client(self.history, horizon)
        subscription = Subscription(client, "adjustments")
        subscription.horizon = horizon
        subscription.tenant = self.tenant
        self.tenant.subscriptions.append(subscription)
        for portfolio, head in heads.items():
            log = self.listeners.log(self.tenant, portfolio)
            if log.sequence < 0:
                log.sequence, log.filling = head, False
            subscription.ahead[portfolio] = head
        self.tenant.joined(subscription)
        self.clients.append(client)

    def _event(self, portfolio, sequence):
        body = json.dumps({"portfolio_id": str(portfolio), "sequence": sequence}).encode()
        return SimpleNamespace(tenant_id=TENANT, portfolio_id=portfolio, sequence=sequence, body=body)


steps = st.one_of(
    st.tuples(st.just("begin")),
    st.tuples(st.just("commit"), st.integers(0, 9), st.lists(st.sampled_from(PORTFOLIOS), max_size=3)),
    st.tuples(st.just("hand_out"), st.sampled_from(PORTFOLIOS)),
    st.tuples(st.just("look")),
    st.tuples(st.just("hear")),
    st.tuples(st.just("join")),
)


@settings(max_examples=500)
@given(st.lists(steps, max_size=60))
def test_a_client_has_whatever_its_cursor_covers(steps):
    world = World()
    for step, *given_ in steps:
        match step:
            case "begin" | "commit":
                getattr(world.history, step)(*given_)
            case "look":
                world.looks.append(world.history.now())
            case "hear" if world.looks:
                world.tenant.aim_at(*world.looks.pop(0))
            case "join" | "hand_out":
                getattr(world, step)(*given_)
    for portfolio in PORTFOLIOS:
        for _ in range(60 * 3):
            world.hand_out(portfolio)
    world.tenant.aim_at(*world.history.now())
    for client in world.clients:
        horizon, _ = world.history.now()
        assert client.has == world.history.committed_by(horizon)
    if world.clients:
        assert world.tenant.horizon is not None
