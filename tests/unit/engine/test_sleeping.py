"""Nothing is decided otherwise because somebody slept: books side by side, of which one looks at all news."""

from collections import Counter
from decimal import Decimal

import numpy as np
import pytest
from msgspec.structs import replace

from app.domain.families.terms import Guards
from app.domain.instruments import Instrument, InstrumentKind
from app.domain.margin_levels import LEVELS
from app.domain.market import Change, Frame, Quality, TickKind
from app.domain.policies import (
    CapitalEfficiency,
    Cure,
    DeltaNeutral,
    GammaBand,
    LeverageBand,
    LiquidationGuard,
    Mode,
    Rule,
    StoredPolicy,
    StressResponse,
    VolatilityTarget,
)
from app.domain.portfolios import Account, Balance, MarginMode, Position
from app.engine import sleeping
from app.engine.book import Book
from app.engine.decide import affected, decide
from app.engine.fills import apply_legs_as_if_done
from app.engine.market_view import MarketView
from app.engine.memory import NOTHING
from app.engine.metrics import observe
from app.engine.risk import portfolio_risk
from app.engine.sleeping import rest_of
from app.engine.tables import PairColumns
from app.engine.universe import Universe
from app.engine.watch_rows import BLOCK, CHUNK, ITSELF
from tests.unit.engine import test_turns as turns
from tests.unit.engine.random_portfolios import PRICES, SECOND, START_NS, Chance, universe

FREE = {"cooldown_seconds": 5, "maximum_trades_per_hour": None, "maximum_reversals_per_hour": 8}


POOLS = {
    asset: Instrument(
        id=f"{asset}-POOL", kind="lending", underlying=asset, quote="USDT", venue="exchange",
        liquidation_threshold="0.8", loan_to_value="0.7", liquidation_bonus="0.05",
    )
    for asset in ("BTC", "ETH", "USDT")
}  # fmt: skip
WITH_POOLS = Universe([*universe().instruments.values(), *POOLS.values()])
DERIVATIVES = (InstrumentKind.PERPETUAL, InstrumentKind.FUTURE)
METRICS = (
    "equity", "initial_margin", "maintenance_margin", "margin_ratio", "health_factor", "leverage",
    "reserve_available", "gross_delta_notional", "equity@account 0", "initial_margin@account 0",
    "maintenance_margin@account 0", "margin_ratio@account 0", "health_factor@account 0",
    "net_delta.{0}", "delta_notional.{0}", "gross_delta_notional.{0}", "gamma.{0}", "dollar_gamma.{0}",
    "vega.{0}", "dollar_vega.{0}", "theta.{0}", "theta_per_day.{0}", "price.{0}-USDT-PERP", "price.ETH-USDT",
    "price.BTC-USD-JUN", "implied_volatility.{0}-CALL", "liquidation_distance", "margin_ratio@loan",
)  # fmt: skip
ALIKE = (
    ("equity", "maintenance_margin"), ("gross_delta_notional.{0}", "equity"),
    ("margin_ratio", "health_factor"), ("price.{0}-USDT-PERP", "price.{0}-USDT"),
    ("delta_notional.{0}", "reserve_available"),
)  # fmt: skip


NOTIFY = {"kind": "notify", "message": "so it is"}


def comparison(metric):
    return {"kind": "comparison", "metric": metric, "op": "above", "value": "0"}


def looked_at(holdings, tree, frame):
    """What the first row of a condition comes to, and the whole of it."""
    rule = Rule(name="looked at", condition=tree, actions=[NOTIFY])
    book = Book(WITH_POOLS)
    book.put(replace(holdings, policies=(StoredPolicy(holdings.id, 1, rule),)))
    block = MarketView(WITH_POOLS).advance([frame])
    pairs = PairColumns(np.array([book.numbers(0)[0]]), np.array([0]))
    results = observe(book, block, pairs).conditions.result
    return float(results[0]), float(results[-1])


class World:
    """Portfolios of contracts, options, coins and loans in one to three accounts each; some on paper."""

    def __init__(self, seed, *, portfolios, ruled=False, uncertain=False):
        self.ruled, self.uncertain, self.chance = ruled, uncertain, Chance(seed)
        self.chance.universe = WITH_POOLS
        self.frame = self.chance.frame()
        self.prices = {(c.kind, c.instrument): c.value for c in self.frame.changes}
        self.sequence, self.time_ns = 1, START_NS
        market = self.chance.market(self.frame)
        self.portfolios = [self.portfolio(market) for _ in range(portfolios)]

    def portfolio(self, market):
        chance = self.chance
        optional = chance.random.random() < 0.5
        kinds = (*DERIVATIVES, InstrumentKind.OPTION) if optional else DERIVATIVES
        linear = [i for i in chance.derivatives() if i.kind in kinds]
        if chance.random.random() < 0.6:
            asset = chance.among(["BTC", "ETH"])
            linear = [i for i in linear if i.underlying == asset]
        accounts = [
            chance.account(f"account {n}", chance.some(linear, most=3), size=60_000, cash=60_000)
            for n in range(int(chance.random.integers(1, 4)))
        ]
        if chance.random.random() < 0.5:
            accounts = [
                replace(a, balances=tuple(b for b in a.balances if b.asset == "USDT")) for a in accounts
            ]
        if chance.random.random() < 0.3:
            accounts[0] = replace(accounts[0], venue="paper")
        if chance.random.random() < 0.3:
            accounts.append(self.loan(linear[0].underlying))
        holdings = chance.portfolio(accounts, reserves=[("USDT", Decimal(5_000), Decimal(100))])
        risk = portfolio_risk(holdings, market)
        wanted = self.rules(holdings, linear) if self.ruled else self.policies(holdings, risk, linear)
        policies = [policy for policy in wanted if policy is not None]
        stored = tuple(StoredPolicy(chance.identity(), 1, policy) for policy in policies)
        return replace(holdings, policies=stored)

    def loan(self, asset):
        """Coins supplied and dollars owed, or the other way round."""
        coins, chance = self.chance.decimal(0.5, 2.0), self.chance
        worth = coins * Decimal(int(PRICES[asset]))
        supplied, owed = (POOLS[asset], coins), (POOLS["USDT"], worth * chance.decimal(0.2, 0.65))
        if chance.random.random() < 0.3:
            supplied, owed = (POOLS["USDT"], worth), (POOLS[asset], coins * chance.decimal(0.2, 0.65))
        positions = (
            Position(supplied[0].instrument_id, supplied[1], Decimal(0)),
            Position(owed[0].instrument_id, -owed[1], Decimal(0)),
        )
        return Account(chance.identity(), "loan", "exchange", MarginMode.LENDING, positions, ())

    def policies(self, holdings, risk, linear):
        chance = self.chance
        mode = {
            "mode": chance.among([Mode.AUTO, Mode.AUTO, Mode.AUTO, Mode.RECOMMEND]),
            "guards": Guards(**FREE),
        }
        worst = max(risk.accounts, key=lambda account: account.margin_ratio)
        ratio = min(
            max(worst.margin_ratio, 0.01)
            * chance.random.uniform(*chance.among([(1.02, 1.2), (1.2, 2.0), (2.0, 8.0)])),
            0.95,
        )
        yield LiquidationGuard(
            name="alive", trigger=round(Decimal(ratio), 6), restore=round(Decimal(ratio * 0.8), 6),
            cures=(chance.among([Cure.REDUCE, Cure.TOP_UP]),), **mode,
        )  # fmt: skip
        if 0.05 < risk.leverage < 50.0:
            low, high = (risk.leverage * chance.random.uniform(*ends) for ends in ((0.3, 0.95), (1.05, 3.0)))
            yield LeverageBand(
                name="band", minimum=round(Decimal(low), 6), target=round(Decimal((low + high) / 2), 6),
                maximum=round(Decimal(high), 6), **mode,
            )  # fmt: skip
        asset = linear[0].underlying
        share = chance.random.uniform(0.6, 1.0)
        yield DeltaNeutral(
            name="flat", underlying=asset, hedge_instruments=(f"{asset}-USDT-PERP",),
            band=chance.among([
                Decimal(30), Decimal(2), {"kind": "fraction_of_gross", "below": share, "above": share},
                {"kind": "whalley_wilmott", "risk_aversion": "0.00001", "floor": 1, "cap": 60},
            ]), **mode,
        )  # fmt: skip
        gamma = next((u for u in risk.underlyings if u.underlying == asset), None)
        if gamma is not None and gamma.gamma:
            limit = abs(gamma.gamma) * gamma.price**2 * 0.01 * chance.random.uniform(1.0, 3.0)
            yield GammaBand(
                name="gamma", underlying=asset, options=(f"{asset}-USDT-CALL",),
                hedge_instruments=(f"{asset}-USDT-PERP",),
                minimum_dollar_gamma=round(Decimal(-limit), 4), maximum_dollar_gamma=round(Decimal(limit), 4),
                minimum_dollar_vega=round(Decimal(-abs(gamma.vega) / 50 - 1), 4), **mode,
            )  # fmt: skip
        volatility = self.prices[TickKind.IMPLIED_VOL, f"{asset}-CALL"]
        exposed = abs(gamma.net_delta) * gamma.price / risk.equity if gamma and risk.equity > 0.0 else 0.0
        if 0.1 < exposed < 5.0 and chance.random.random() < 0.25:
            yield VolatilityTarget.model_validate({
                "name": "sized", "underlying": asset, "maximum_leverage": 20,
                "target_volatility_annual": round(exposed * volatility, 4), "band": "0.8",
                "volatility": {"kind": "implied", "instrument": f"{asset}-CALL"}, **mode,
            })  # fmt: skip
        if len(holdings.accounts) > 1 and holdings.accounts[1].name == "account 1":
            pockets = [
                {"account": a.name, "minimum_health": "1.1", "target_health": "3", "maximum_health": "4000"}
                for a in holdings.accounts
                if a.margin_mode is not MarginMode.LENDING
            ]
            route = {"source": "account 0", "destination": "account 1", "asset": "USDT"}
            yield CapitalEfficiency.model_validate(
                {"name": "pockets", "pockets": pockets, "routes": [route], **mode}
            )

    def rules(self, holdings, linear):
        """Of trees over any metrics, with levels near what they are; most do not fire at first."""
        chance, asset = self.chance, linear[0].underlying
        mode = {"mode": chance.among([Mode.AUTO, Mode.RECOMMEND]), "guards": Guards(**FREE)}
        for number in range(int(chance.random.integers(1, 3))):
            tree = self.tree(holdings, asset, 0)
            if looked_at(holdings, tree, self.frame)[1] == 1.0 and chance.random.random() < 0.9:
                tree = {"kind": "not", "condition": tree}
            action = {"kind": "scale", "factor": "0.95", "underlying": asset}
            yield Rule(
                name=f"rule {number}", condition=tree, actions=[chance.among([action, NOTIFY])], **mode
            )
        if chance.random.random() < 0.3:
            yield DeltaNeutral(
                name="flat", underlying=asset, hedge_instruments=(f"{asset}-USDT-PERP",),
                band={"kind": "zakamouline", "risk_aversion": "0.00001", "floor": 1, "cap": 60}, **mode,
            )  # fmt: skip
        if (drawn := chance.random.random()) < 0.3:
            now = self.prices[TickKind.PRICE, f"{asset}-USDT-PERP"]
            dear = {"above": round(now * 1.05, 2), "recover_below": round(now * 1.01, 2)}
            cheap = {"below": round(now * 0.95, 2), "recover_above": round(now * 0.99, 2)}
            yield StressResponse.model_validate({
                "name": "away", "metric": f"price.{asset}-USDT-PERP", **mode,
                "tiers": [
                    {"name": "away", "exposure_multiplier": "0.5", **(dear if drawn < 0.15 else cheap)}
                ],
            })  # fmt: skip

    def tree(self, holdings, asset, level):
        chance, kinds = self.chance, ["comparison", "comparison", "crosses"]
        kind = chance.among(kinds if level == 3 else [*kinds, "all", "any", "any", "not", "dwell"])
        if kind in ("all", "any"):
            count = int(chance.random.integers(1, 4))
            return {"kind": kind, "conditions": [self.tree(holdings, asset, level + 1) for _ in range(count)]}
        if kind in ("not", "dwell"):
            part = {"kind": kind, "condition": self.tree(holdings, asset, level + 1)}
            return part if kind == "not" else part | {"seconds": int(chance.random.integers(1, 60))}
        op = chance.among(["above", "below", "at_least", "at_most"])
        if kind == "comparison" and chance.random.random() < 0.2:
            metric, other = (name.format(asset) for name in chance.among(ALIKE))
            return {"kind": kind, "metric": metric, "op": op, "other": other}
        metric = chance.among(METRICS).format(asset)
        now = looked_at(holdings, comparison(metric), self.frame)[0]
        value = now * (1.0 + chance.random.normal(0.0, chance.among([0.005, 0.05, 0.5])))
        found = {"kind": kind, "metric": metric, "value": f"{value if np.isfinite(value) else 1.0:.9f}"}
        return found | (
            {"op": op} if kind == "comparison" else {"direction": chance.among(["above", "below"])}
        )

    def confidence_of(self, price):
        """Up to forty basis points, and otherwise in each frame."""
        return price * 1e-3 * (self.sequence % 5) if self.uncertain else 0.0

    def frames(self):
        """A block: most of it noise, now and then a jump; nobody's news, too."""
        return [self.next_frame() for _ in range(int(self.chance.random.integers(1, 5)))]

    def next_frame(self):
        random = self.chance.random
        hours_later = random.random() < 0.01
        self.sequence += 1
        self.time_ns += int(random.integers(1, 5)) * SECOND * (5_000 if hours_later else 1)
        moves = {}
        for asset in ("BTC", "ETH"):
            jump = random.random() < 0.04
            moves[asset] = random.normal(0.0, 0.08 if jump else 0.002)
        ticks = {asset: random.random() < 0.4 for asset in moves}
        ticked = set()
        for kind, name in self.prices:
            instrument = self.chance.universe.instruments[name]
            if kind is not TickKind.PRICE:
                if random.random() < 0.05:
                    self.prices[kind, name] *= 1 + random.normal(0, 0.02)
                    ticked.add((kind, name))
                continue
            noise = random.normal(0.0, 0.0002)
            if random.random() < (0.9 if ticks.get(instrument.underlying) else 0.03):
                self.prices[kind, name] *= 1 + moves.get(instrument.underlying, 0.0) + noise
                ticked.add((kind, name))
        changes = tuple(
            Change(kind, name, value, self.confidence_of(value), 1, Quality.VALID, self.time_ns)
            for (kind, name), value in ((key, self.prices[key]) for key in sorted(ticked))
        )
        return Frame(1, self.sequence, self.time_ns, f"1-{self.sequence}", 0, changes)

    def frame_at(self, values, until_ns):
        """Everything as at first but for these values, of columns and of ratios to a base."""
        universe = self.chance.universe
        names = list(universe.instruments)
        found = dict(self.prices)
        for (column, base), value in sorted(values.items(), key=lambda each: each[0][1]):
            if column < universe.size:
                times = 1.0 if base == ITSELF else found[TickKind.PRICE, names[base]]
                found[TickKind.PRICE, names[column]] = value * times
            else:
                row = int(np.flatnonzero(universe.volatility_columns == column)[0])
                found[TickKind.IMPLIED_VOL, names[row]] = value
        time_ns = START_NS + int(self.chance.random.random() * (min(until_ns, START_NS + 10**13) - START_NS))
        changes = tuple(
            Change(kind, name, value, 0.0, 1, Quality.VALID, time_ns) for (kind, name), value in found.items()
        )
        return Frame(1, 2, time_ns, "1-2", 0, changes)


class Side:
    """One of the books; what is decided by itself is filled at the end of the block, or some blocks later."""

    def __init__(self, world, *, sleeps, portfolios=None, memories=None, tells_margins=False):
        universe = world.chance.universe
        self.book = Book(universe, sleeps=sleeps, tells_margins=tells_margins)
        self.market = MarketView(universe)
        self.universe, self.looks, self.memories = universe, 0, dict(memories or {})
        for portfolio in portfolios or world.portfolios:
            for stored in portfolio.policies:
                memory = self.memories.get(stored.id, NOTHING)
                self.book.recall(stored.id, memory.registers_for(stored.version))
            self.book.put(portfolio)

    def take(self, frames):
        block = self.market.advance(frames)
        todo = affected(self.book, block)
        self.looks += todo.slots.size
        verdicts = decide(self.book, self.memories, block, todo)
        said = {}
        for key, verdict in sorted(verdicts.items()):
            self.memories |= verdict.memories
            said[key] = (
                verdict.decisions,
                verdict.adjustments,
                verdict.fills,
                verdict.events,
                verdict.memories,
            )
        return {key: each for key, each in said.items() if any(each)}

    def fill(self, slot):
        portfolio = self.book.deciding(slot).portfolio
        legs = [leg for work in portfolio.in_flight for leg in work.remaining]
        if legs:
            done = apply_legs_as_if_done(portfolio, legs, self.universe.instruments)
            self.book.put(replace(done, in_flight=(), revision=done.revision + 1))


def live_side_by_side(seed, *, portfolios, blocks, ruled=False, beside=None, uncertain=False, told=None):
    """`beside`: policies that everybody has besides his own, or what makes them of these. Margins are told
    where there is a counter of what is `told`.
    """
    world = World(seed, portfolios=portfolios, ruled=ruled, uncertain=uncertain)
    if beside is not None:
        world.portfolios = [
            replace(
                each,
                policies=(
                    *each.policies,
                    *(StoredPolicy(world.chance.identity(), 1, policy) for policy in beside(each)),
                ),
            )
            for each in world.portfolios
        ]
    tells = told is not None
    sleeper, watcher = (Side(world, sleeps=sleeps, tells_margins=tells) for sleeps in (True, False))
    acted = 0
    for frames in [[world.frame], *(world.frames() for _ in range(blocks))]:
        one, other = sleeper.take(frames), watcher.take(frames)
        assert one.keys() == other.keys()
        for key, said in one.items():
            assert said == other[key]
            acted += len(said[1])
            if told is not None:
                told.update((event.type, event.data.get("crossed")) for event in said[3])
        assert sleeper.memories == watcher.memories
        for slot in range(portfolios):
            if world.chance.random.random() < 0.5:
                sleeper.fill(slot)
                watcher.fill(slot)
    for slot in range(portfolios):
        assert sleeper.book.deciding(slot).portfolio == watcher.book.deciding(slot).portfolio
    return sleeper.looks, watcher.looks, acted


AVERAGED = [
    Rule(
        name=metric, guards=Guards(**FREE),
        actions=[{"kind": "scale", "factor": "0.95", "underlying": asset}],
        condition={"kind": "comparison", "metric": metric, "op": "below", "value": f"{PRICES[asset]:.2f}"},
    )
    for asset, metric in (("BTC", "twap.BTC-USDT-PERP/320s"), ("ETH", "ewma_price.ETH-USDT-PERP/80s"))
]  # fmt: skip


@pytest.mark.parametrize("seed", range(2))
def test_whoever_sleeps_beside_an_average_decides_and_remembers_the_same(seed):
    looks, all_looks, acted = live_side_by_side(
        seed, portfolios=15, blocks=60, ruled=True, beside=lambda _: AVERAGED
    )
    assert acted > 5
    assert looks < all_looks


def adverse(holdings):
    """The guard that there is once more, at prices against the account, for those with several."""
    for stored in holdings.policies:
        if isinstance(stored.policy, LiquidationGuard) and len(holdings.accounts) > 1:
            yield stored.policy.model_copy(update={"name": "adverse", "confidence_multiple": Decimal("1.5")})


@pytest.mark.parametrize("seed", range(3))
def test_whoever_sleeps_beside_a_guard_at_adverse_prices_decides_and_remembers_the_same(seed):
    """Whoever has such a guard never sleeps."""
    looks, all_looks, acted = live_side_by_side(
        seed, portfolios=20, blocks=40, beside=adverse, uncertain=True
    )
    assert acted > 5
    assert looks < all_looks


@pytest.mark.parametrize("seed", range(6))
def test_whoever_sleeps_decides_and_remembers_the_same(seed):
    looks, all_looks, acted = live_side_by_side(seed, portfolios=25, blocks=60)
    assert acted > 5
    assert looks < 0.8 * all_looks  # who waits, or is held back, is looked at with all his news


def test_whoever_sleeps_is_told_the_same_of_margins():
    told = Counter()
    for seed in range(4):
        looks, all_looks, _ = live_side_by_side(seed, portfolios=40, blocks=60, told=told)
        assert looks < 0.8 * all_looks
    for level in LEVELS:
        assert min(told[level.event, side] for side in ("above", "below")) > 5


@pytest.mark.parametrize("seed", range(4))
def test_whoever_sleeps_by_rules_decides_and_remembers_the_same(seed):
    looks, all_looks, acted = live_side_by_side(seed, portfolios=25, blocks=60, ruled=True)
    assert acted > 5
    assert looks < 0.8 * all_looks


def test_whoever_is_not_put_to_sleep_in_time_is_looked_at_again(monkeypatch):
    monkeypatch.setattr(sleeping, "FEWEST_AT_ONCE", 1)
    looks, all_looks, acted = live_side_by_side(7, portfolios=25, blocks=40)
    assert acted > 5
    assert looks < 0.9 * all_looks


def _assert_that_ends_hold(watches):
    """No end of a block is farther than those of who sleeps in it, and none of a chunk than its blocks'."""
    entries, blocks, chunks = watches.intervals()
    used, size = watches.entries.length, watches.chunks.length
    written = (np.arange(CHUNK) < chunks.used[:size, np.newaxis]).reshape(-1)
    asleep = written & (entries.low <= entries.high)[:used]
    lows, highs = (
        np.where(asleep, ends[:used], nowhere).reshape(-1, BLOCK)
        for ends, nowhere in ((entries.low, -np.inf), (entries.high, np.inf))
    )
    highest, lowest = blocks.highest_low[: len(lows)], blocks.lowest_high[: len(lows)]
    assert (highest >= lows.max(axis=1)).all()
    assert (lowest <= highs.min(axis=1)).all()
    assert (chunks.highest_low[:size] >= highest.reshape(size, -1).max(axis=1)).all()
    assert (chunks.lowest_high[:size] <= lowest.reshape(size, -1).min(axis=1)).all()


def test_who_is_awake_is_flagged_and_many_are_looked_at_in_the_order_of_their_slots():
    world = World(3, portfolios=60)
    side = Side(world, sleeps=True)
    for frames in [[world.frame], *(world.frames() for _ in range(20))]:
        entries, chunks = side.book.watches.entries.arrays, side.book.watches.chunks.arrays
        used = side.book.watches.entries.length
        flags = (entries.low > entries.high)[:used].reshape(-1, CHUNK)
        flags &= np.arange(CHUNK) < chunks.used[: len(flags), np.newaxis]
        assert (entries.awake[:used] == flags.reshape(-1)).all()
        assert (chunks.awake[: len(flags)] == flags.sum(axis=1)).all()
        _assert_that_ends_hold(side.book.watches)
        block = side.market.advance(frames)
        todo = affected(side.book, block)
        for k in range(len(frames)):
            slots = todo.slots[todo.frames == k]
            assert slots.size < 60 // 16 or (np.diff(slots) > 0).all()
        decide(side.book, side.memories, block, todo)


@pytest.mark.parametrize("ruled", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_nothing_fires_anywhere_inside_of_the_intervals(seed, ruled):
    """Corners of the box, and points between them: what is watched moves by itself."""
    world, looked, slept, with_options = World(seed, portfolios=60, ruled=ruled), 0, 0, 0
    side = Side(world, sleeps=True)
    for k in range(2):  # what conditions remember begins on the first frame
        side.take([replace(world.frame, sequence=1 + k, time_ns=START_NS + k)])
    watches, entries = side.book.watches.columns.arrays, side.book.watches.entries.arrays
    for portfolio in world.portfolios:
        slot = side.book.slot(portfolio.id)
        own = side.book.watches_of(side.book.numbers(slot)[0])
        lows, highs = entries.low[own.entry], entries.high[own.entry]
        if (lows > highs).all() or len(side.book.numbers(slot)) > 1:
            continue  # what stands besides what is in flight has intervals of its own
        slept += 1
        with_options += int(side.book.columns.arrays.options[side.book.numbers(slot)[0]] > 0)
        here = side.book.deciding(slot).portfolio
        for _ in range(12):
            corner = world.chance.random.random() < 0.7
            values = {}
            for watch, low, high in zip(own.watch, lows, highs, strict=True):
                if low > high or low == -np.inf:
                    continue
                share = world.chance.random.random()
                share = round(share) if corner else share
                values[int(watches.column[watch]), int(watches.base[watch])] = low + share * (
                    min(high, 3.0 * low + 1.0) - low
                )
            frame = world.frame_at(values, side.book.alarm_ns(slot))
            watcher = Side(world, sleeps=False, portfolios=[here], memories=side.memories)
            assert watcher.take([frame]) == {}, (portfolio.id, values)
            looked += watcher.looks
    assert slept > 10
    assert with_options > 3
    assert looked > 12 * 10


@pytest.mark.long
@pytest.mark.parametrize("ruled", [False, True])
def test_ten_thousand_frames_of_two_hundred_portfolios(ruled):
    looks, all_looks, acted = live_side_by_side(99, portfolios=200, blocks=4_000, ruled=ruled)
    assert acted > 1_000
    assert looks < 0.8 * all_looks


def test_whoever_woke_is_looked_at_with_other_news_of_the_block_too():
    """Bitcoin leaves its interval and fires nothing; ether moves inside of its own, and both together do."""
    chance = Chance(5)
    frame = chance.frame()
    now = {c.instrument: c.value for c in frame.changes if c.kind is TickKind.PRICE}
    held = tuple(
        Position(name, Decimal(50_000) / Decimal(str(now[name])), Decimal(str(now[name])))
        for name in ("BTC-USDT-PERP", "ETH-USDT-PERP")
    )
    account = chance.account("main", [], size=1.0, cash=1.0)
    account = replace(account, positions=held, balances=(Balance("USDT", Decimal(20_000)),))
    guard = LiquidationGuard(name="alive", trigger="0.3", restore="0.2", mode=Mode.AUTO)
    holdings = chance.portfolio([account], policies=[guard], reserves=[("USDT", Decimal(9_000), Decimal(0))])

    def ticked(k, asset, share):
        time_ns = START_NS + k * SECOND
        changes = tuple(
            Change(TickKind.PRICE, name, price * (1.0 - share), 0.0, 1, Quality.VALID, time_ns)
            for name, price in now.items()
            if name.startswith(asset)
        )
        return Frame(1, 1 + k, time_ns, f"1-{1 + k}", 0, changes)

    found = []
    for sleeps in (True, False):
        book, market = Book(chance.universe, sleeps=sleeps), MarketView(chance.universe)
        book.put(holdings)
        for frames in ([frame], [ticked(1, "BTC", 0.2), ticked(2, "ETH", 0.1)]):
            block = market.advance(frames)
            verdicts = decide(book, {}, block, affected(book, block))
        found.append([d.position.sequence for v in verdicts.values() for d in v.decisions])
    assert found == [[3], [3]]


@pytest.mark.parametrize("quantity", ["2", "-2"])
def test_of_a_book_on_one_price_the_interval_is_the_true_one(quantity):
    """Found by bisection with a book of its own at every price."""
    policies = [
        LiquidationGuard(name="alive", trigger="0.3", restore="0.2"),
        LeverageBand(name="band", minimum="0.3", target="1", maximum="8"),
    ]
    holdings = turns.portfolio(
        positions=[(turns.PERP, quantity, "50000")], balance="60000", policies=policies
    )

    def rest(price):
        book = Book(turns.UNIVERSE)
        book.put(holdings)
        return rest_of(book, MarketView(turns.UNIVERSE).advance([turns.frame(0, {turns.PERP: price})]), 0)

    found = rest(50_000.0)
    assert found.until_ns == START_NS + 8 * 3_600 * SECOND  # then funding is paid
    edges = found.prices[turns.UNIVERSE.index[turns.PERP.id]]
    for edge, far in zip(edges, (1.0, 500_000.0), strict=True):
        inside, outside = 50_000.0, far
        if rest(far) is not None:
            assert abs(edge) == np.inf
            continue
        while abs(outside - inside) > 1e-6:
            middle = (inside + outside) / 2.0
            inside, outside = (inside, middle) if rest(middle) is None else (middle, outside)
        assert edge == pytest.approx(inside, rel=1e-8)
