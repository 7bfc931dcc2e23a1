"""Portfolios by chance, as columns: four options of a listing, four perpetuals and futures, coins and
dollars, in one account of cross margin, and two policies each that are wide enough to rest.
"""

from decimal import Decimal
from uuid import UUID

import numpy as np

from app.domain.instruments import Instrument, InstrumentKind, OptionType, Settlement
from app.domain.policies import AnyPolicy, DeltaNeutral, GammaBand, LeverageBand, LiquidationGuard
from app.domain.portfolios import Account, MarginMode, Portfolio, PortfolioState
from app.engine.holding_rows import AccountRows, BalanceRows, Counts, HoldingRows, PortfolioRows, PositionRows
from app.engine.policy_rows import PolicyCatalogue, tables_of_policies
from app.engine.universe import Universe
from app.quant.arrays import FloatArray, IntArray

PRICES = {"BTC": 50_000.0, "ETH": 2_500.0}
PER_KIND, BALANCES, POLICIES = 4, 2, 2
_EXPIRIES = ("2026-03-27", "2026-06-26", "2026-09-25", "2026-12-25", "2027-03-26")
_STRIKES = tuple(Decimal(share) / 100 for share in range(70, 120, 5))
_NOTIONAL = 25_000.0
_OPTION_ENTRY = 0.05


def _contracts(asset: str) -> list[Instrument]:
    linear = {"underlying": asset, "quote": "USDT"}
    inverse = {"underlying": asset, "quote": "USD", "settlement": Settlement.INVERSE, "multiplier": 100}
    dated = {"kind": InstrumentKind.FUTURE, "expiry": "2026-06-26T08:00:00Z"}
    perpetual = {"kind": InstrumentKind.PERPETUAL}
    return [
        Instrument.model_validate({"id": f"{asset}-{name}", **terms})
        for name, terms in (
            ("USDT-PERP", linear | perpetual),
            ("USD-PERP", inverse | perpetual),
            ("USDT-JUN", linear | dated),
            ("USD-JUN", inverse | dated),
        )
    ]


def _options(asset: str) -> list[Instrument]:
    return [
        Instrument(
            id=f"{asset}-{expiry}-{share}-{side}", kind=InstrumentKind.OPTION, underlying=asset, quote="USD",
            settlement=Settlement.INVERSE, strike=Decimal(PRICES[asset]) * share,
            expiry=f"{expiry}T08:00:00Z", option_type=side, marked_by=f"{asset}-USD-PERP",
        )
        for expiry in _EXPIRIES for share in _STRIKES for side in (OptionType.CALL, OptionType.PUT)
    ]  # fmt: skip


CONTRACTS = [contract for asset in PRICES for contract in _contracts(asset)]
SPOTS = [
    Instrument(id=f"{asset}-USDT", kind=InstrumentKind.SPOT, underlying=asset, quote="USDT")
    for asset in PRICES
]
OPTIONS = [option for asset in PRICES for option in _options(asset)]
LISTING = [*SPOTS, *CONTRACTS, *OPTIONS]
ASSETS = ("USDT", *PRICES)


def policies(number: int) -> tuple[AnyPolicy, AnyPolicy]:
    """A guard and one of three families. Another number is another document."""
    step = Decimal(number)
    guard = LiquidationGuard(name="alive", trigger=Decimal("0.8") + step / 10_000_000, restore=Decimal("0.5"))
    bands: tuple[AnyPolicy, ...] = (
        LeverageBand(name="band", minimum=Decimal(0), target=Decimal(2), maximum=5 + step / 1_000_000),
        DeltaNeutral(
            name="flat", underlying="BTC", hedge_instruments=("BTC-USDT-PERP",), band=100 + step / 1_000
        ),
        GammaBand(
            name="gamma", underlying="BTC", options=(OPTIONS[0].id,), hedge_instruments=("BTC-USDT-PERP",),
            minimum_dollar_gamma=Decimal(-1_000_000), maximum_dollar_gamma=1_000_000 + step,
        ),
    )  # fmt: skip
    return guard, bands[number % len(bands)]


class ManyPortfolios:
    """Rows of `count` portfolios with so many different pairs of policies, which a book is loaded from."""

    def __init__(self, count: int, *, pairs: int) -> None:
        chance = np.random.default_rng(7)
        self.ids = [UUID(int=(number + 1) << 64 | number) for number in range(count)]
        self.pairs = pairs
        contracts, options = (
            np.argpartition(chance.random((count, len(kind)), dtype=np.float32), PER_KIND)[:, :PER_KIND]
            for kind in (CONTRACTS, OPTIONS)
        )
        self.instrument: IntArray = np.concatenate((contracts, options + len(CONTRACTS)), axis=1)
        """Of every position, among contracts and options."""
        listed = [*CONTRACTS, *OPTIONS]
        contract = np.array([_NOTIONAL / _unit(each) for each in listed])[self.instrument]
        share = chance.choice((-1.0, 1.0), self.instrument.shape) * chance.uniform(
            0.1, 1.0, self.instrument.shape
        )
        self.quantity: FloatArray = np.round(share * contract, 3)
        self.entry_price: FloatArray = np.array([_entry(each) for each in listed])[self.instrument]
        self.asset: IntArray = np.stack(
            (np.zeros(count, dtype=np.int64), chance.integers(1, 3, count)), axis=1
        )
        """Of every balance, among assets."""
        dollars, coins = (
            np.round(chance.uniform(2e5, 4e5, count), 2),
            np.round(chance.uniform(0.1, 4, count), 1),
        )
        self.amount: FloatArray = np.stack((dollars, coins), axis=1)
        self.haircut: FloatArray = np.broadcast_to([0.0, 0.05], (count, BALANCES))

    @property
    def nbytes(self) -> int:
        columns = (self.instrument, self.quantity, self.entry_price, self.asset, self.amount)
        return sum(column.nbytes for column in columns)

    def portfolio(self, number: int) -> Portfolio:
        raise LookupError(f"portfolio {number} is asked for, though nothing should fire")

    def rows(self, numbers: IntArray, universe: Universe, catalogue: PolicyCatalogue) -> HoldingRows:
        count = numbers.size
        instruments = np.array([universe.index[each.id] for each in (*CONTRACTS, *OPTIONS)])
        assets = np.array([universe.asset(name) for name in ASSETS])
        example = Portfolio(
            UUID(int=0), UUID(int=0), "one", "USDT", PortfolioState.ACTIVE, 1,
            (Account(UUID(int=0), "main", "exchange", MarginMode.CROSS),),
        )  # fmt: skip
        compiled = [
            catalogue.of(example, policy, ()) for number in range(self.pairs) for policy in policies(number)
        ]
        pair = numbers % self.pairs
        chosen = np.stack((POLICIES * pair, POLICIES * pair + 1), axis=1).reshape(-1)
        tables, nobody = tables_of_policies(compiled), np.zeros(count, dtype=bool)
        return HoldingRows(
            portfolios=PortfolioRows(
                currency=np.full(count, assets[0]),
                stands=~nobody,
                account_start=np.arange(count + 1),
                policy_start=POLICIES * np.arange(count + 1),
                underlyings_start=np.zeros(count + 1, dtype=np.int64),
            ),
            accounts=AccountRows(
                paper=nobody,
                lends=nobody,
                portfolio_margin=nobody,
                position_start=2 * PER_KIND * np.arange(count + 1),
                balance_start=BALANCES * np.arange(count + 1),
            ),
            positions=PositionRows(
                instruments[self.instrument[numbers].reshape(-1)],
                self.quantity[numbers].reshape(-1),
                self.entry_price[numbers].reshape(-1),
                np.zeros(2 * PER_KIND * count, dtype=np.int64),
            ),
            balances=BalanceRows(
                assets[self.asset[numbers].reshape(-1)],
                self.amount[numbers].reshape(-1),
                self.haircut[numbers].reshape(-1),
            ),
            policies=chosen,
            tables=tables,
            counts=Counts.of(tables, chosen),
            underlyings=np.zeros(0, dtype=np.int64),
        )


def _unit(instrument: Instrument) -> float:
    """Dollars of one contract."""
    linear = instrument.settlement is not Settlement.INVERSE or instrument.kind is InstrumentKind.OPTION
    return PRICES[instrument.underlying] if linear else float(instrument.multiplier)


def _entry(instrument: Instrument) -> float:
    option = instrument.kind is InstrumentKind.OPTION
    return _OPTION_ENTRY if option else PRICES[instrument.underlying]
