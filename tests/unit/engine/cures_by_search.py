"""Whether an account could be brought back to a level: by trying, with arithmetic of its own.

Black-76 and the exchanges' margin formulas are written out once more here, in floats, for one account at one
frame; nothing of the engine is called.
"""

from collections.abc import Iterable
from itertools import product
from math import erf, inf, log, sqrt

from app.domain.instruments import Instrument, InstrumentKind, OptionType, Settlement
from app.domain.market import Frame
from app.domain.policies import Cure, LiquidationGuard
from app.domain.portfolios import Account, Portfolio

_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
_NS_PER_YEAR = 365 * 86_400 * 1e9


class Quotes:
    """What is known on a frame. USDT is the currency, BTC the coin."""

    def __init__(self, instruments, prices: dict[str, float], volatilities: dict[str, float], frame: Frame):
        self.instruments, self.prices, self.volatilities = instruments, prices, volatilities
        self.time_ns = frame.time_ns
        self.coin = prices["BTC-USDT"]

    def mark(self, instrument: Instrument) -> float:
        """As the venue quotes it."""
        if instrument.kind is not InstrumentKind.OPTION:
            return self.prices[instrument.id]
        forward = self.prices[instrument.marked_by]
        worth = self._black_76(instrument, forward)
        return worth / forward if instrument.settlement is Settlement.INVERSE else worth

    def _black_76(self, option: Instrument, forward: float) -> float:
        years = (option.expiry.timestamp() * 1e9 - self.time_ns) / _NS_PER_YEAR
        strike, deviation = float(option.strike), self.volatilities[option.id] * sqrt(years)
        d1 = log(forward / strike) / deviation + deviation / 2.0
        sign = 1.0 if option.option_type is OptionType.CALL else -1.0
        return sign * (forward * _normal(sign * d1) - strike * _normal(sign * (d1 - deviation)))

    def maintenance(self, instrument: Instrument, quantity: float) -> float:
        """In value."""
        size = abs(quantity) * float(instrument.multiplier)
        mark = self.mark(instrument)
        if instrument.kind is InstrumentKind.OPTION:
            coin_mark = (
                mark
                if instrument.settlement is Settlement.INVERSE
                else mark / self.prices[instrument.marked_by]
            )
            needed = 0.075 if instrument.option_type is OptionType.CALL else max(0.075, 0.075 * coin_mark)
            return size * needed * self.coin if quantity < 0.0 else 0.0
        rate = float(instrument.maintenance_margin_rate)
        return rate * (
            size / mark * self.coin if instrument.settlement is Settlement.INVERSE else size * mark
        )

    def profit(self, instrument: Instrument, quantity: float, entry: float, price: float) -> float:
        """In the settlement asset, of so many contracts; of an option, what they are worth."""
        size = quantity * float(instrument.multiplier)
        if instrument.kind is InstrumentKind.OPTION:
            return size * price
        return size * (
            1.0 / entry - 1.0 / price if instrument.settlement is Settlement.INVERSE else price - entry
        )


class Holding:
    """An account in floats."""

    def __init__(self, account: Account, quotes: Quotes) -> None:
        self.quotes = quotes
        self.positions = [
            (quotes.instruments[p.instrument], float(p.quantity), float(p.entry_price))
            for p in account.positions
        ]
        self.balances = {"USDT": 0.0, "BTC": 0.0} | {b.asset: float(b.amount) for b in account.balances}
        self.haircuts = {b.asset: float(b.haircut) for b in account.balances}

    def ratio(self) -> float:
        equity, maintenance = self.figures()
        if maintenance <= 0.0:
            return 0.0
        return maintenance / equity if equity > 0.0 else inf

    def figures(self) -> tuple[float, float]:
        """Equity and maintenance margin."""
        equity, maintenance = 0.0, 0.0
        for asset, amount in self.balances.items():
            counted = 1.0 - self.haircuts.get(asset, 0.0) if amount > 0.0 else 1.0
            equity += amount * counted * self._value(asset)
        for instrument, quantity, entry in self.positions:
            mark = self.quotes.mark(instrument)
            profit = self.quotes.profit(instrument, quantity, entry, mark)
            equity += profit * self._value(instrument.settlement_asset)
            maintenance += self.quotes.maintenance(instrument, quantity)
        return equity, maintenance

    def _value(self, asset: str) -> float:
        return self.quotes.coin if asset == "BTC" else 1.0

    def after(self, closed: tuple[float, ...], sold: float, given: dict[str, float]) -> "Holding":
        """Shares of each position closed, of the coins sold for cash; and what came from reserves."""
        done = object.__new__(Holding)
        done.quotes, done.haircuts = self.quotes, self.haircuts
        done.balances, done.positions = dict(self.balances), []
        for (instrument, quantity, entry), share in zip(self.positions, closed, strict=True):
            lot = float(instrument.lot_size)
            traded = -round(share * quantity / lot) * lot
            done._pay(instrument, traded, entry)
            if abs(quantity + traded) > lot / 2.0:
                done.positions.append((instrument, quantity + traded, entry))
        spot = self.quotes.instruments["BTC-USDT"]
        lots = max(self.balances["BTC"], 0.0) * sold // float(spot.lot_size)
        coins = lots * float(spot.lot_size)
        at = self.quotes.coin * (1.0 - float(spot.slippage_bps) * 1e-4)
        done.balances["BTC"] -= coins
        done.balances["USDT"] += coins * at * (1.0 - float(spot.taker_fee_rate))
        for asset, amount in given.items():
            done.balances[asset] += amount
        return done

    def _pay(self, instrument: Instrument, traded: float, entry: float) -> None:
        """Cash from closing: the profit up to the fill, less the fee."""
        if not traded:
            return
        slips = float(instrument.slippage_bps) * 1e-4 * (1.0 if traded > 0.0 else -1.0)
        at = self.quotes.mark(instrument) * (1.0 + slips)
        size = abs(traded) * float(instrument.multiplier)
        in_coin = instrument.settlement is Settlement.INVERSE and instrument.kind is not InstrumentKind.OPTION
        fee = float(instrument.taker_fee_rate) * (size / at if in_coin else size * at)
        self.balances[instrument.settlement_asset] += self.quotes.profit(instrument, -traded, entry, at) - fee


def _normal(x: float) -> float:
    return 0.5 * (1.0 + erf(x / sqrt(2.0)))


def levels(guard: LiquidationGuard) -> tuple[float, float]:
    """Margin ratios at which it acts (where its cost cap bites, in an emergency) and to which it restores."""
    in_emergency = guard.emergency_trigger if guard.guards.maximum_cost else None
    acts = guard.trigger if in_emergency is None else in_emergency
    found = float(acts), float(guard.restore)
    return found if guard.metric == "margin_ratio" else (1.0 / found[0], 1.0 / found[1])


def is_curable(
    portfolio: Portfolio, guard: LiquidationGuard, quotes: Quotes, accounts: Iterable[Account] | None = None
) -> bool:
    """Whether these accounts (all, when None) can be restored at once, where past the trigger."""
    acts, restore = levels(guard)
    held = [Holding(account, quotes) for account in accounts or portfolio.accounts]
    sick = [holding for holding in held if holding.ratio() >= acts]
    reserves = {r.asset: float(r.available) for r in portfolio.reserves if Cure.TOP_UP in guard.cures}
    ways = [_ways(holding, guard) for holding in sick]
    for split in _splits(len(sick)):
        if all(
            any(
                holding.after(*way, {a: share * amount for a, amount in reserves.items()}).ratio() <= restore
                for way in found
            )
            for holding, found, share in zip(sick, ways, split, strict=True)
        ):
            return True
    return False


def _splits(accounts: int) -> list[tuple[float, ...]]:
    """Of what is in reserve, between accounts."""
    if accounts == 1:
        return [(1.0,)]
    steps = [at / 10.0 for at in range(11)]
    return [split for split in product(steps, repeat=accounts) if abs(sum(split) - 1.0) < 1e-9]


def _ways(holding: Holding, guard: LiquidationGuard) -> list[tuple[tuple[float, ...], float]]:
    """Shares of every position that may be closed, and of the coins that may be sold."""
    choices = []
    for instrument, _, _ in holding.positions:
        shares = (0.0,)
        if instrument.kind is not InstrumentKind.OPTION or guard.reduce_options:
            if Cure.REDUCE in guard.cures:
                shares = _SHARES
            elif Cure.CLOSE in guard.cures:
                shares = (0.0, 1.0)
        if Cure.HEDGE in guard.cures and instrument.id in guard.hedge_instruments:
            shares = _SHARES
        choices.append(shares)
    sells = Cure.HEDGE in guard.cures and "BTC-USDT" in guard.hedge_instruments
    return list(product(product(*choices), _SHARES if sells else (0.0,)))
