"""Markets and portfolios by chance, each the same for the same seed: two coins, every kind of instrument.

Accounts are not on paper, so that no venue closes them.
"""

from decimal import Decimal
from functools import cache
from uuid import UUID

import numpy as np

from app.domain.instruments import Instrument, InstrumentKind, OptionType, Settlement
from app.domain.market import Change, Frame, Quality, StreamPosition, TickKind
from app.domain.policies import StoredPolicy
from app.domain.portfolios import Account, Balance, MarginMode, Portfolio, PortfolioState, Position, Reserve
from app.engine.market_view import MarketView
from app.engine.universe import Universe

START_NS = 1_767_225_600_000_000_000
SECOND = 1_000_000_000
PRICES = {"BTC": 50_000.0, "ETH": 2_500.0}
FINE = {"lot_size": "1e-10", "tick_size": "1e-12"}


def instruments_of(asset: str, *, fine: bool) -> list[Instrument]:
    """`fine`: ticks and lots next to nothing, so that straight lines can be seen through them."""
    price = Decimal(str(PRICES[asset]))
    unit = Decimal(50_000) / price
    coin = {"underlying": asset, "quote": "USD", "settlement": Settlement.INVERSE}
    coin |= {"initial_margin_rate": "0.05", "maintenance_margin_rate": "0.025"}
    cash = {"initial_margin_rate": "0.05", "maintenance_margin_rate": "0.025"}
    cash |= {"underlying": asset, "quote": "USDT"}
    dated = {"kind": InstrumentKind.FUTURE, "expiry": "2026-06-26T08:00:00Z"}
    option = {
        "kind": InstrumentKind.OPTION, "expiry": "2026-03-27T08:00:00Z", "marked_by": f"{asset}-USDT-PERP",
        "taker_fee_rate": "0.003", "slippage_bps": 50, "lot_size": unit / 10, "tick_size": "0.0001",
    }  # fmt: skip
    ends = [
        {"id": "USDT", "kind": InstrumentKind.SPOT, "taker_fee_rate": "0.001", "slippage_bps": 1, **cash},
        {"id": "USDT-PERP", "kind": InstrumentKind.PERPETUAL, "lot_size": unit / 1_000, **cash},
        {"id": "USDC-PERP", "kind": InstrumentKind.PERPETUAL, "lot_size": unit / 1_000,
         "taker_fee_rate": "0.0004", **(cash | {"quote": "USDC"})},
        {"id": "USD-PERP", "kind": InstrumentKind.PERPETUAL, "multiplier": 100, "lot_size": 1,
         "taker_fee_rate": "0.0003", **coin},
        {"id": "USDT-JUN", "lot_size": unit / 100, "slippage_bps": 5, **dated, **cash},
        {"id": "USD-JUN", "multiplier": 100, "lot_size": 1, "slippage_bps": 4, **dated, **coin},
        {"id": "CALL", "strike": price * 11 / 10, "option_type": OptionType.CALL, **option, **coin},
        {"id": "PUT", "strike": price * 9 / 10, "option_type": OptionType.PUT, **option, **coin},
        {"id": "USDT-CALL", "strike": price, "option_type": OptionType.CALL, **option, **cash},
    ]  # fmt: skip
    grain = FINE if fine else {}
    return [
        Instrument(venue="exchange", **(terms | grain | {"id": f"{asset}-{terms['id']}"})) for terms in ends
    ]


@cache
def universe(*, fine: bool = False) -> Universe:
    grain = FINE if fine else {"tick_size": "0.0001"}
    dollar = Instrument(
        id="USDC-USDT",
        kind=InstrumentKind.SPOT,
        underlying="USDC",
        quote="USDT",
        venue="exchange",
        slippage_bps=1,
        **grain,
    )
    return Universe([dollar, *(i for asset in PRICES for i in instruments_of(asset, fine=fine))])


class Chance:
    def __init__(self, seed: int, *, fine: bool = False) -> None:
        self.random = np.random.default_rng(seed)
        self.universe = universe(fine=fine)

    def decimal(self, low: float, high: float, places: int = 3) -> Decimal:
        return Decimal(f"{self.random.uniform(low, high):.{places}f}")

    def among(self, found):
        return found[int(self.random.integers(len(found)))]

    def some(self, found, *, most: int):
        """From one to so many of them, in an order of its own."""
        count = int(self.random.integers(1, min(most, len(found)) + 1))
        return [found[at] for at in self.random.permutation(len(found))[:count]]

    def identity(self) -> UUID:
        return UUID(bytes=self.random.bytes(16))

    def frame(self) -> Frame:
        """Every price near its start, futures off their spot, a volatility for every option."""
        known = [(TickKind.PRICE, "USDC-USDT", self.random.uniform(0.995, 1.005))]
        for asset, start in PRICES.items():
            price = start * self.random.uniform(0.9, 1.1)
            for instrument in self.universe.instruments.values():
                if instrument.underlying != asset:
                    continue
                if instrument.kind is InstrumentKind.OPTION:
                    known.append((TickKind.IMPLIED_VOL, instrument.id, self.random.uniform(0.3, 0.9)))
                else:
                    basis = 0.02 if instrument.kind is InstrumentKind.FUTURE else 0.001
                    worth = price * (1 + self.random.uniform(-basis, basis))
                    known.append((TickKind.PRICE, instrument.id, worth))
        changes = tuple(
            Change(kind, name, float(f"{v:.6g}"), 0.0, 1, Quality.VALID, START_NS) for kind, name, v in known
        )
        return Frame(1, 1, START_NS, "1-0", 0, changes)

    def market(self, frame: Frame) -> MarketView:
        market = MarketView(self.universe)
        market.load(frame.changes, position=StreamPosition(1, 1), time_ns=START_NS)
        return market

    def position(self, instrument: Instrument, coins: float) -> Position:
        """Up to so many coins' worth of it, long or short."""
        price = PRICES[instrument.underlying]
        entry = self.decimal(price * 0.92, price * 1.08, 2)
        if instrument.kind is InstrumentKind.OPTION:
            inverse = instrument.settlement is Settlement.INVERSE
            entry = Decimal("0.02") if inverse else Decimal(int(price / 30))
            contracts = coins
        elif instrument.settlement is Settlement.INVERSE:
            contracts = coins * price / float(instrument.multiplier)
        else:
            contracts = coins
        lots = round(self.random.uniform(-contracts, contracts) / float(instrument.lot_size))
        return Position(instrument.instrument_id, lots * instrument.lot_size, entry)

    def account(self, name: str, instruments: list[Instrument], *, size: float, cash: float) -> Account:
        """`size` in valuation currency bounds each position, `cash` is its collateral on the average."""
        positions = (self.position(i, size / PRICES[i.underlying]) for i in instruments)
        coins = {asset: cash * self.random.uniform(0, 0.5) / price for asset, price in PRICES.items()}
        return Account(
            self.identity(), name, "exchange", MarginMode.CROSS,
            tuple(p for p in positions if p.quantity),
            (
                Balance("USDT", self.decimal(0, cash, 2), Decimal(0)),
                Balance("BTC", self.decimal(0.01 * coins["BTC"], coins["BTC"], 6), Decimal("0.05")),
                Balance("ETH", self.decimal(0.01 * coins["ETH"], coins["ETH"], 6), Decimal("0.1")),
                Balance("USDC", self.decimal(0, cash / 2, 2), Decimal("0.02")),
            ),
        )  # fmt: skip

    def portfolio(self, accounts, *, policies=(), reserves=()) -> Portfolio:
        return Portfolio(
            self.identity(), self.identity(), "random", "USDT", PortfolioState.ACTIVE, 1, tuple(accounts),
            tuple(Reserve(asset, amount, keep) for asset, amount, keep in reserves),
            tuple(StoredPolicy(self.identity(), 1, policy) for policy in policies),
        )  # fmt: skip

    def derivatives(self) -> list[Instrument]:
        return [i for i in self.universe.instruments.values() if i.kind is not InstrumentKind.SPOT]
