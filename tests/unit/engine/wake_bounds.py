"""How wide the intervals are in which portfolios sleep beside the true ones, and who is looked at when."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace

from app.domain.adjustments import Leg
from app.domain.identifiers import PolicyId, PortfolioId
from app.domain.market import Frame, TickKind
from app.domain.portfolios import Portfolio
from app.engine.book import Book
from app.engine.decide import affected, decide
from app.engine.fills import apply_legs_as_if_done
from app.engine.market_view import MarketView
from app.engine.memory import PolicyMemory
from app.engine.metrics import observe
from app.engine.sleeping import Rest, rest_of
from app.engine.tables import Findings, PairColumns
from app.engine.universe import Universe
from app.engine.view_watches import Role
from app.quant.arrays import BoolArray, FloatArray, IntArray
from tests.unit.engine.market_histories import History, Key, frame
from tests.unit.engine.sleeping_books import Chance, Family

LOWEST, HIGHEST = 0.5, 2.0
"""Of the present price. Where nothing fires up to there, that is the edge."""
_STEPS = 120
_HALVINGS = 40


class Edges(NamedTuple):
    """Of intervals, as multiples of the present price, by portfolio."""

    low: FloatArray
    high: FloatArray

    def narrowed(self, other: "Edges") -> "Edges":
        return Edges(np.maximum(self.low, other.low), np.minimum(self.high, other.high))

    def shares(self, true: "Edges") -> FloatArray:
        """Of the width, by portfolio. What nothing is left of is not narrower than that."""
        width = true.high - true.low
        return np.where(width > 0.0, (self.high - self.low) / np.where(width > 0.0, width, 1.0), 1.0)


class Slept(NamedTuple):
    """Intervals of those who may sleep, by what share volatilities may move meanwhile, and for how long.

    Whoever must stay awake has an interval without width.
    """

    edges: Edges
    spread: FloatArray
    later_ns: IntArray


class Standstill:
    """A book on one frame of a market, looked at with prices moved and all else equal."""

    def __init__(self, history: History, k: int, listed: str, portfolios: Sequence[Portfolio]) -> None:
        self._universe: Universe = history.universes[listed]
        self._known, self._time_ns = history.known[k], history.frames[k].time_ns
        self.book = Book(self._universe)
        for one in portfolios:
            self.book.put(one)
        self._slots = [self.book.slot(one.id) for one in portfolios]
        self._numbers = np.array([self.book.numbers(slot)[0] for slot in self._slots])

    def rests(self) -> list[Rest | None]:
        block = MarketView(self._universe).advance([frame(1, self._time_ns, self._known)])
        return [rest_of(self.book, block, slot) for slot in self._slots]

    def fires(self) -> BoolArray:
        """Where prices are what they are."""
        count = len(self._slots)
        return self._fire(np.arange(count), np.ones(count), "", np.ones(count), np.zeros(count, np.int64))

    def slept(self, underlying: str = "BTC") -> Slept:
        """With the intervals of one underlying's main price."""
        rests, count = self.rests(), len(self._slots)
        low, high, spread, later_ns = (
            np.ones(count),
            np.ones(count),
            np.zeros(count),
            np.zeros(count, np.int64),
        )
        for at, rest in enumerate(rests):
            if rest is None:
                continue
            spread[at] = self._spread(at)
            later_ns[at] = rest.until_ns - self._time_ns if spread[at] else 0
            for row, edges in rest.prices.items():
                name = self._universe.names[row]
                if name.startswith(underlying):
                    price = self._known[TickKind.PRICE, name]
                    low[at], high[at] = max(edges[0] / price, LOWEST), min(edges[1] / price, HIGHEST)
        return Slept(Edges(low, high), spread, later_ns)

    def _spread(self, at: int) -> float:
        """By what share the volatilities of a portfolio's options may all move."""
        own, entries = self.book.watches_of(int(self._numbers[at])), self.book.watches.entries.arrays
        entry = own.entry[np.isin(own.role, (Role.VOLATILITY, Role.PINNED))]
        entry = entry[entries.low[entry] <= entries.high[entry]]  # of the others nothing is known
        low, high = entries.low[entry], entries.high[entry]
        return float(np.min((high - low) / (high + low), initial=1.0)) if entry.size else 0.0

    def true_edges(
        self, underlying: str = "BTC", *, volatility: FloatArray | float = 1.0, later_ns: IntArray | int = 0
    ) -> Edges:
        """Where the first of a row of moves fires, by bisection: what fires may rest again farther out.

        Volatilities are times so much, and it is so much later, by portfolio.
        """
        count = len(self._slots)
        times, later = np.broadcast_to(volatility, count), np.broadcast_to(later_ns, count)
        ends = []
        for far in (LOWEST, HIGHEST):
            moves = far ** (np.arange(_STEPS + 1) / _STEPS)
            every = np.repeat(np.arange(count), moves.size)
            fired = self._fire(every, np.tile(moves, count), underlying, times[every], later[every])
            fired = fired.reshape(count, -1)
            first = np.where(fired.any(axis=1), fired.argmax(axis=1), _STEPS + 1)
            inside, outside = moves[np.maximum(first - 1, 0)], moves[np.minimum(first, _STEPS)]
            for _ in range(_HALVINGS):
                middle = (inside + outside) / 2.0
                fires = self._fire(np.arange(count), middle, underlying, times, later)
                inside, outside = np.where(fires, inside, middle), np.where(fires, middle, outside)
            ends.append(np.where(first > _STEPS, far, np.where(first == 0, 1.0, inside)))
        return Edges(*ends)

    def _fire(
        self, chosen: IntArray, moves: FloatArray, underlying: str, times: FloatArray, later_ns: IntArray
    ) -> BoolArray:
        """Each of the `chosen` at its own move, on a frame of its own."""
        order = np.argsort(later_ns, kind="stable")
        frames = [
            frame(n + 1, self._time_ns + int(later_ns[at]), self._moved(moves[at], underlying, times[at]))
            for n, at in enumerate(order)
        ]
        block = MarketView(self._universe).advance(frames)
        pairs = PairColumns(self._numbers[chosen[order]], np.arange(order.size))
        fires = np.empty(order.size, dtype=bool)
        fires[order] = _is_up(observe(self.book, block, pairs).findings)
        return fires

    def _moved(self, move: float, underlying: str, times: float) -> dict[Key, float]:
        """All prices of an underlying move together."""
        moved = dict(self._known)
        for kind, name in moved:
            if kind is TickKind.PRICE and name.startswith(underlying):
                moved[kind, name] *= float(move)
            elif kind is TickKind.IMPLIED_VOL:
                moved[kind, name] *= float(times)
        return moved


def _is_up(findings: Findings) -> BoolArray:
    return findings.fired | findings.broken | findings.due | findings.advances


class Tightness(NamedTuple):
    """Widths as shares of the true ones, by portfolio: all else equal, and with volatilities and time as far
    off as the bounds allow. `wider`: how many reach beyond the latter.
    """

    shares: FloatArray
    held: FloatArray
    spread: FloatArray
    wider: int


def tightness(family: Family, history: History, at: Sequence[int], *, portfolios: int) -> Tightness:
    """Of so many portfolios, made on several frames."""
    found = []
    for k in at:
        chance = Chance(f"{family.name} {k}", history, k, family.listed)
        still = Standstill(
            history, k, family.listed, [chance.portfolio(family) for _ in range(portfolios // len(at))]
        )
        slept, true = still.slept(), still.true_edges()
        held = true
        if slept.spread.any():
            for times in (1.0 - slept.spread, 1.0 + slept.spread):
                for later_ns in (0, slept.later_ns):
                    held = held.narrowed(still.true_edges(volatility=times, later_ns=later_ns))
        low, high = slept.edges
        wider = (low < held.low - 1e-9) | (high > held.high + 1e-9)
        asleep = low < high
        found.append((slept.edges.shares(true), slept.edges.shares(held), slept.spread, wider & asleep))
    shares, held_shares, spread, wider = (np.concatenate(column) for column in zip(*found, strict=True))
    return Tightness(shares, held_shares, spread, int(wider.sum()))


class Looks(NamedTuple):
    """Pairs of portfolio and frame: all, those with an event, and the others that were looked at."""

    pairs: int
    events: int
    idle: int

    @property
    def awake(self) -> float:
        """The share of pairs between events that was looked at."""
        return self.idle / (self.pairs - self.events)


def looks(
    families: Sequence[Family], history: History, *, portfolios: int, begin: int = 50, stop: int | None = None
) -> dict[str, Looks]:
    """So many portfolios of each family live through the frames; those with the same listings in one book."""
    found = {}
    for listed in sorted({family.listed for family in families}):
        life = _Life(history.universes[listed])
        for family in families:
            if family.listed == listed:
                chance = Chance(family.name, history, begin, listed)
                life.add(family.name, [chance.portfolio(family) for _ in range(portfolios)])
        life.take(frame(begin + 1, history.frames[begin].time_ns, history.known[begin]))
        for one in history.frames[begin + 1 : stop]:
            life.take(one)
        pairs = portfolios * len(history.frames[begin:stop])
        found |= {name: Looks(pairs, life.events[name], life.idle[name]) for name in life.families}
    return found


class _Life:
    """What is decided is filled on the frame that decided."""

    def __init__(self, universe: Universe) -> None:
        self._universe, self._book, self._market = universe, Book(universe), MarketView(universe)
        self._memories: dict[PolicyId, PolicyMemory] = {}
        self._family: dict[int, str] = {}
        self.families: list[str] = []
        self.events: Counter[str] = Counter()
        self.idle: Counter[str] = Counter()

    def add(self, family: str, portfolios: Iterable[Portfolio]) -> None:
        self.families.append(family)
        for one in portfolios:
            self._book.put(one)
            self._family[self._book.slot(one.id)] = family

    def take(self, one: Frame) -> None:
        """An event is a frame on which a portfolio fires, or is changed."""
        block = self._market.advance([one])
        todo = affected(self._book, block)
        if not todo:
            return
        pairs = PairColumns(self._book.slots.arrays.deciding[todo.slots], todo.frames)
        busy = set(todo.slots[_is_up(observe(self._book, block, pairs).findings)].tolist())
        for key, verdict in decide(self._book, self._memories, block, todo).items():
            self._memories |= verdict.memories
            if verdict.adjustments or verdict.after is not verdict.before:
                self._fill(key, [leg for each in verdict.adjustments for leg in each.legs])
                busy.add(self._book.slot(key))
        for slot in todo.slots.tolist():
            (self.events if slot in busy else self.idle)[self._family[slot]] += 1

    def _fill(self, key: PortfolioId, legs: Iterable[Leg]) -> None:
        one = self._book.portfolio(key)
        done = apply_legs_as_if_done(one, legs, self._universe.instruments)
        self._book.put(replace(done, in_flight=(), revision=done.revision + 1))
