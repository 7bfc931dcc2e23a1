"""Holdings by chance, of every kind, and portfolios of them that rest on the frame on which they are made."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
from msgspec.structs import replace

from app.domain.market import TickKind
from app.domain.policies import POLICY, StoredPolicy
from app.domain.portfolios import Account, Balance, MarginMode, Portfolio, PortfolioState, Position, Reserve
from app.engine.market_view import MarketView
from app.engine.risk import RiskReport, portfolio_risk
from tests.unit.engine.market_histories import (
    CASH,
    COINS,
    ETHER,
    INVERSE,
    MINUTES,
    MONTH,
    OPTIONS,
    PERP,
    SPOT,
    History,
    frame,
)

_NEAR = {MONTH: (1.02, 1.2), MINUTES: (1.001, 1.02)}
APART, _FAR = (1.2, 2.0), (2.0, 8.0)
Terms = dict[str, Any]


class Family(NamedTuple):
    """A policy, what it is kept of and where that is listed, and how its terms come about."""

    name: str
    listed: str
    holdings: Callable[["Chance"], Portfolio]
    terms: Callable[["Chance", Portfolio, RiskReport], Terms]


class Chance:
    """By the same name the same portfolios, on one frame of a market."""

    def __init__(self, name: str, history: History, k: int, listed: str) -> None:
        self.random = np.random.default_rng(list(name.encode()))
        self._known, self._universe = history.known[k], history.universes[listed]
        self._near = _NEAR[history.name]
        self.price = self._known[TickKind.PRICE, SPOT]
        self._market = MarketView(self._universe)
        self._market.advance([frame(1, history.frames[k].time_ns, self._known)])

    def known(self, kind: TickKind, name: str) -> float:
        return self._known[kind, name]

    def portfolio(self, family: Family) -> Portfolio:
        """One that does not fire, and that a policy can be told for."""
        while True:
            holdings = family.holdings(self)
            risk = portfolio_risk(holdings, self._market)
            if not (risk.equity > 0.0 and all(account.margin_ratio < 0.6 for account in risk.accounts)):
                continue
            terms = {"name": family.name, "mode": "auto", "guards": _GUARDS}
            terms |= family.terms(self, holdings, risk)
            policy = StoredPolicy(self.identity(), 1, POLICY.validate_python(terms))
            return replace(holdings, policies=(policy,))

    def uniform(self, low: float, high: float) -> float:
        return float(self.random.uniform(low, high))

    def among(self, found: Any) -> Any:
        return found[int(self.random.integers(len(found)))]

    def times(self) -> float:
        """How far a level is from where a figure is. Where prices hardly move, nearer ones are next to it."""
        return self.uniform(*self.among([self._near, APART, _FAR]))

    def identity(self) -> UUID:
        return UUID(bytes=self.random.bytes(16))

    def account(
        self,
        positions: dict[str, float],
        balances: dict[str, float],
        *,
        name: str = "main",
        mode: MarginMode = MarginMode.CROSS,
    ) -> Account:
        held = tuple(
            Position(
                at, decimal(quantity, 2 if at in OPTIONS else 0 if at == INVERSE else 4), self._entry(at)
            )
            for at, quantity in positions.items()
        )
        kept = tuple(Balance(asset, decimal(amount, 4)) for asset, amount in balances.items())
        return Account(self.identity(), name, "exchange", mode, held, kept)

    def _entry(self, name: str) -> Decimal:
        if name in (COINS, CASH):
            return Decimal(0)
        if name in OPTIONS:
            return decimal(0.03 * self.price, 1)
        return decimal(self.known(TickKind.PRICE, name) * self.uniform(0.97, 1.03), 1)

    def of(self, *accounts: Account) -> Portfolio:
        reserves = (Reserve("USDT", Decimal(100_000_000)),)
        return Portfolio(
            self.identity(), self.identity(), "one", "USDT", PortfolioState.ACTIVE, 1, accounts, reserves
        )

    def coins(self) -> float:
        """A size: what some ten thousand to a million dollars buy."""
        return 10.0 ** self.uniform(4, 6) / self.price

    def side(self) -> float:
        return float(self.among([-1.0, 1.0]))

    def greeks(self, holdings: Portfolio) -> RiskReport:
        return portfolio_risk(holdings, self._market)


_GUARDS = {
    "cooldown_seconds": 60, "minimum_notional": 0, "maximum_price_age_seconds": 3_600,
    "maximum_trades_per_hour": None, "maximum_reversals_per_hour": None,
}  # fmt: skip


def decimal(value: float, places: int) -> Decimal:
    return Decimal(f"{value:.{places}f}")


# --- what is held


def spot(chance: Chance) -> Portfolio:
    """Coins, and what more of them may be bought with."""
    coins = chance.coins()
    left = coins * chance.price * chance.uniform(0.3, 2.0)
    return chance.of(chance.account({}, {"BTC": coins, "USDT": left}))


def loan(chance: Chance) -> Portfolio:
    """Coins supplied and dollars owed, or the other way round."""
    coins = chance.coins()
    share = chance.uniform(0.15, 0.45)
    supplied, owed = {COINS: coins}, {CASH: -coins * chance.price * share}
    if chance.random.random() < 0.3:
        supplied, owed = {CASH: coins * chance.price}, {COINS: -coins * share}
    return chance.of(chance.account(supplied | owed, {}, mode=MarginMode.LENDING))


def perpetual(chance: Chance) -> Portfolio:
    coins = chance.coins()
    return chance.of(_margined(chance, coins, "main"))


def _margined(chance: Chance, coins: float, name: str) -> Account:
    cash = coins * chance.price / chance.uniform(1.2, 8.0)
    return chance.account({PERP: chance.side() * coins}, {"USDT": cash}, name=name)


def sized(chance: Chance) -> Portfolio:
    coins = chance.coins()
    cash = coins * chance.price * chance.uniform(0.5, 2.0)
    return chance.of(chance.account({PERP: chance.side() * coins}, {"USDT": cash}))


def carry(chance: Chance) -> Portfolio:
    """Coins, and a perpetual sold against them, or a little more or less."""
    coins = chance.coins()
    sold = -coins * chance.uniform(0.95, 1.05)
    return chance.of(chance.account({PERP: sold}, {"BTC": coins, "USDT": 0.3 * coins * chance.price}))


def pockets(chance: Chance) -> Portfolio:
    coins = chance.coins()
    return chance.of(*(_margined(chance, coins, name) for name in ("main", "other")))


def inverse(chance: Chance) -> Portfolio:
    """Contracts that are settled in coins, with coins for collateral."""
    coins = chance.coins()
    contracts = chance.side() * coins * chance.price / 100.0
    return chance.of(chance.account({INVERSE: contracts}, {"BTC": coins / chance.uniform(1.2, 5.0)}))


def several(chance: Chance) -> Portfolio:
    """Coins, a linear perpetual and an inverse one."""
    coins = chance.coins()
    held = {PERP: chance.side() * coins, INVERSE: chance.side() * coins * chance.price / 300.0}
    cash = coins * chance.price / chance.uniform(1.2, 8.0)
    return chance.of(chance.account(held, {"USDT": cash, "BTC": 0.1 * coins}))


def dollar_coins(chance: Chance) -> Portfolio:
    coins = chance.coins()
    cash = coins * chance.price / chance.uniform(1.2, 8.0)
    return chance.of(chance.account({PERP: chance.side() * coins}, {"USDC": cash, "USDT": 0.1 * cash}))


def two_underlyings(chance: Chance) -> Portfolio:
    coins = chance.coins()
    held = {PERP: chance.side() * coins, ETHER: chance.side() * coins * 16.0 * chance.uniform(0.3, 1.0)}
    cash = 2.0 * coins * chance.price / chance.uniform(1.2, 6.0)
    return chance.of(chance.account(held, {"USDT": cash}))


def options(chance: Chance) -> Portfolio:
    """Two to four options bought and sold, and a perpetual against most of their delta."""
    return chance.of(_optional(chance, "main"))


def _optional(chance: Chance, name: str) -> Account:
    coins = chance.coins()
    chosen = chance.random.permutation(list(OPTIONS))[: int(chance.random.integers(2, 5))]
    held = {str(at): chance.side() * max(coins * chance.uniform(0.2, 1.0), 0.02) for at in chosen}
    cash = coins * chance.price * chance.uniform(0.3, 1.5)
    (bare,) = chance.greeks(chance.of(chance.account(held, {"USDT": cash}))).underlyings
    hedge = -bare.net_delta * chance.uniform(0.8, 1.1)
    return chance.account(held | {PERP: hedge}, {"USDT": cash}, name=name)


def optional_pockets(chance: Chance) -> Portfolio:
    return chance.of(_optional(chance, "main"), _optional(chance, "other"))


def margined_as_a_whole(chance: Chance) -> Portfolio:
    (account,) = options(chance).accounts
    return chance.of(replace(account, margin_mode=MarginMode.PORTFOLIO))
