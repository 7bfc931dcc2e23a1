"""Days on which the market fell, as frames, and guarded portfolios by chance that live through them.

Prices are recorded ones of Bitcoin. Where a file has one instrument, the others follow it at a constant
basis; the volatilities of options are constants of the simulation.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import chain
from uuid import UUID

import numpy as np
from msgspec.structs import replace

from app.domain.adjustments import AdjustmentState
from app.domain.events import EventType
from app.domain.instruments import Instrument
from app.domain.market import Change, Frame, Quality, TickKind
from app.domain.policies import Cure, Guards, LiquidationGuard, Mode, StoredPolicy
from app.domain.portfolios import Account, Balance, MarginMode, Portfolio, PortfolioState, Position, Reserve
from app.engine.book import Book
from app.engine.decide import affected, decide, whole_block
from app.engine.fills import apply_legs_as_if_done
from app.engine.market_view import MarketView
from app.engine.universe import Universe
from app.lab.history import read_ticks
from tests.market_data import market_dir
from tests.unit.engine.cures_by_search import Holding, Quotes

HOURLY = "btc-usdt_spot_1h_2017-08_2024-04.csv.gz"
DAYS = {
    "2020-03-12": [
        ("btc-usdt_spot_5m_2020-02-01_2020-03-12.csv.gz", "2020-03-12T00:00", "2020-03-12T21:10"),
        (HOURLY, "2020-03-12T22:00", "2020-03-14T00:00"),
    ],
    "2020-03-12 hourly": [(HOURLY, "2020-03-12T00:00", "2020-03-14T00:00")],
    "2021-05-19": [("btc-usdt_spot_5m_2021-04-30_2021-05-30.csv.gz", "2021-05-19T00:00", "2021-05-20T00:00")],
    "2022-11-08": [("btc-usdt_spot_5m_2022-11-01_2022-11-30.csv.gz", "2022-11-08T00:00", "2022-11-10T00:00")],
    "2024-08-08": [("btc_three-venues_ticks_2024-08-08.csv.gz", "2024-08-08T00:00", "2024-08-10T00:00")],
}
SPOT, PERP, INVERSE, CALL, PUT, COIN_PUT = (
    "BTC-USDT", "BTC-USDT-PERP", "BTC-USD-PERP", "BTC-CALL", "BTC-PUT", "BTC-COIN-PUT",
)  # fmt: skip
BASIS = {SPOT: 1.0, PERP: 0.9995, INVERSE: 1.0005}
VOLATILITIES = {CALL: 0.9, PUT: 1.1, COIN_PUT: 1.1}


class Day:
    """Its frames, and the price of everything on each of them."""

    def __init__(self, name: str, *, every: int = 1) -> None:
        ticks = list(_recorded(name))[::every]
        self.universe = _universe(ticks[0].value, ticks[0].time_ns)
        self.frames: list[Frame] = []
        self.prices: list[dict[str, float]] = []
        known = {at: round(ticks[0].value * basis, 2) for at, basis in BASIS.items()}
        for k, tick in enumerate(ticks):
            moved = BASIS if name != "2024-08-08" else {tick.instrument: 1.0}
            known |= {at: round(tick.value * basis, 4) for at, basis in moved.items()}
            told = [(TickKind.PRICE, at, known[at]) for at in known]
            told += [(TickKind.IMPLIED_VOL, at, v) for at, v in VOLATILITIES.items()]
            changes = tuple(Change(kind, at, v, 0.0, 1, Quality.VALID, tick.time_ns) for kind, at, v in told)
            self.frames.append(Frame(1, k + 1, tick.time_ns, "", 0, changes))
            self.prices.append(dict(known))

    def quotes(self, k: int) -> Quotes:
        return Quotes(self.universe.instruments, self.prices[k], VOLATILITIES, self.frames[k])

    def swing(self) -> float:
        """From the first price to the one farthest from it."""
        first = self.prices[0][SPOT]
        return max(abs(price[SPOT] / first - 1.0) for price in self.prices)


def _recorded(name: str) -> Iterator:
    def instant(text: str) -> datetime:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)

    return chain.from_iterable(
        entry
        for file, start, end in DAYS[name]
        for entry in read_ticks(market_dir() / file, start=instant(start), end=instant(end))
    )


def _universe(price: float, time_ns: int) -> Universe:
    expiry = datetime.fromtimestamp(time_ns / 1e9, UTC) + timedelta(days=30)
    strike = Decimal(round(price, -2))
    coin = {"underlying": "BTC", "quote": "USD", "settlement": "inverse"}
    cash = {"underlying": "BTC", "quote": "USDT"}
    option = {
        "kind": "option", "expiry": expiry, "marked_by": PERP, "lot_size": "0.1", "tick_size": "0.0001",
        "taker_fee_rate": "0.0003", "slippage_bps": 50,
    }  # fmt: skip
    listed = [
        {"id": SPOT, "kind": "spot", "taker_fee_rate": "0.001", **cash},
        {"id": PERP, "kind": "perpetual", "maintenance_margin_rate": "0.02", **cash},
        {"id": INVERSE, "kind": "perpetual", "maintenance_margin_rate": "0.01", "multiplier": 100,
         "lot_size": 1, **coin},
        {"id": CALL, "option_type": "call", "strike": strike * Decimal("1.05"), **option, **cash},
        {"id": PUT, "option_type": "put", "strike": strike * Decimal("0.9"), **option, **cash},
        {"id": COIN_PUT, "option_type": "put", "strike": strike * Decimal("0.8"), **option, **coin},
    ]  # fmt: skip
    return Universe([Instrument.model_validate(terms) for terms in listed])


class Chance:
    """The same seed, the same portfolio. Where prices hardly move it begins next to its trigger."""

    def __init__(self, seed: int, day: Day) -> None:
        self._random = np.random.default_rng(seed)
        self._price = day.prices[0][SPOT]
        self._universe = day.universe
        self._quotes = day.quotes(0)
        self._is_near = day.swing() < 0.05

    def portfolio(self) -> Portfolio:
        size = 10.0 ** self._random.uniform(4, 6)
        accounts = [self._account(f"a{n}", size) for n in range(self._among([1, 1, 1, 2, 3]))]
        ample = self._among([0.0, 0.0, 0.03, 0.1, 0.5, 3.0]) * size
        reserves = (
            Reserve("USDT", self._decimal(ample), self._decimal(0.2 * ample)),
            Reserve("BTC", self._decimal(0.5 * ample / self._price, 6)),
        )[: self._among([0, 1, 2, 2])]
        worst = max(Holding(account, self._quotes).ratio() for account in accounts)
        policy = StoredPolicy(self._id(), 1, self._guard(worst))
        return Portfolio(
            self._id(), self._id(), "crash", "USDT", PortfolioState.ACTIVE, 1, tuple(accounts), reserves,
            (policy,),
        )  # fmt: skip

    def _guard(self, ratio: float) -> LiquidationGuard:
        trigger = max(ratio, 0.01) * self._random.uniform(*((1.0, 1.02) if self._is_near else (1.1, 4.0)))
        trigger = min(trigger, 0.99 if self._is_near else 0.85)
        levels = {"restore": trigger * self._random.uniform(0.4, 0.9), "trigger": trigger}
        emergency = trigger + (1.0 - trigger) * self._random.uniform(0.2, 0.7)
        metric = self._among(["margin_ratio", "health_factor"])
        if metric == "health_factor":
            levels = {name: 1.0 / level for name, level in levels.items()}
            emergency = 1.0 / emergency
        cures = [cure for cure in Cure if self._random.random() < 0.45] or [self._among(list(Cure))]
        terms = {name: round(Decimal(level), 6) for name, level in levels.items()}
        guards = {"cooldown_seconds": self._among([0, 60, 300, 300, 3_600])}
        rests = {"cooldown_seconds": self._among([0, 10, 60])}
        at = {"trigger": round(Decimal(emergency), 6)}
        terms["emergency"] = self._among([rests | at, rests | at, rests, None])
        if terms["emergency"] is not None and self._random.random() < 0.3:
            guards["maximum_cost"] = Decimal("0.01")
        hedges = [name for name in BASIS if self._random.random() < 0.6] or [PERP]
        return LiquidationGuard(
            name="alive", mode=Mode.AUTO, metric=metric, cures=tuple(cures), guards=Guards(**guards),
            hedge_instruments=tuple(hedges) if Cure.HEDGE in cures else (),
            reduce_options=bool(self._random.random() < 0.6), **terms,
        )  # fmt: skip

    def _account(self, name: str, size: float) -> Account:
        side = self._among([1, 1, 1, -1])
        held = [at for at in (PERP, INVERSE, CALL, PUT, COIN_PUT) if self._random.random() < 0.35] or [PERP]
        positions = tuple(self._position(at, side, size * self._random.uniform(0.2, 1.0)) for at in held)
        kept = tuple(position for position in positions if position.quantity)
        bare = Holding(Account(self._id(), name, "paper", MarginMode.CROSS, kept), self._quotes)
        start = self._random.uniform(0.8, 0.97) if self._is_near else 10.0 ** self._random.uniform(-1.7, -0.5)
        equity, maintenance = bare.figures()
        cash = max(maintenance / start - equity, 0.01 * size)
        coins, haircut = self._among([0.0, 0.3, 1.0]), self._among(_HAIRCUTS)
        balances = (
            Balance("USDT", self._decimal((1.0 - coins) * cash)),
            Balance("BTC", self._decimal(coins * cash / self._price / (1.0 - float(haircut)), 6), haircut),
        )
        return Account(self._id(), name, "paper", MarginMode.CROSS, kept, balances)

    def _position(self, name: str, side: int, size: float) -> Position:
        """Options are mostly sold: what is bought needs no guard."""
        instrument = self._universe.instruments[name]
        entry = self._price * self._random.uniform(0.97, 1.03)
        contracts = side * size / (float(instrument.multiplier) if name == INVERSE else self._price)
        if name in VOLATILITIES:
            contracts = self._among([-0.5, -0.5, 0.5]) * abs(contracts)
            entry = 0.05 if name == COIN_PUT else 0.05 * self._price
        lots = round(contracts / float(instrument.lot_size))
        return Position(name, lots * instrument.lot_size, self._decimal(entry, 4))

    def _decimal(self, value: float, places: int = 2) -> Decimal:
        return Decimal(f"{value:.{places}f}")

    def _among(self, found):
        return found[int(self._random.integers(len(found)))]

    def _id(self) -> UUID:
        return UUID(bytes=self._random.bytes(16))


_HAIRCUTS = [Decimal(0), Decimal("0.05"), Decimal("0.1")]


class Life:
    """What became of a portfolio: as it stood before and after each frame, and who was liquidated when."""

    def __init__(self, portfolio: Portfolio) -> None:
        self.start = portfolio
        self.changes: list[tuple[int, Portfolio]] = [(-1, portfolio)]
        self.liquidated: list[tuple[int, UUID]] = []
        self.decisions: list = []

    def after(self, k: int) -> Portfolio:
        return next(portfolio for frame, portfolio in reversed(self.changes) if frame <= k)

    def before(self, k: int) -> Portfolio:
        return self.after(k - 1)


def lived(portfolios: list[Portfolio], day: Day) -> dict[UUID, Life]:
    """Frame by frame; what is decided is filled on the frame that decided, as the paper venue does."""
    book, market, memories = Book(day.universe), MarketView(day.universe), {}
    lives = {one.id: Life(one) for one in portfolios}
    for one in portfolios:
        book.put(one)
    for k, frame in enumerate(day.frames):
        block = market.advance([frame])
        todo = affected(book, block)
        while todo:
            again = []
            for key, verdict in decide(book, memories, block, todo).items():
                memories |= verdict.memories
                life = lives[key]
                life.decisions += [(k, decision) for decision in verdict.decisions]
                life.liquidated += [
                    (k, UUID(event.data["account_id"]))
                    for event in verdict.events
                    if event.type is EventType.ACCOUNT_LIQUIDATED
                ]
                if verdict.adjustments or verdict.after is not verdict.before:
                    one = book.portfolio(key)
                    for each in verdict.adjustments:
                        assert each.state is AdjustmentState.QUEUED
                        one = apply_legs_as_if_done(one, each.legs, day.universe.instruments)
                    one = replace(one, in_flight=(), revision=one.revision + 1)
                    book.put(one)
                    life.changes.append((k, one))
                    again.append(key)
            todo = whole_block(book, block, again)
    return lives
