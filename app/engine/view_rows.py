"""The rows of one view, in stored order. Accounts and exposures are numbered within the view."""

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, NamedTuple, assert_never

from app.domain.identifiers import Asset, InstrumentId
from app.domain.policies import DeltaNeutral, LiquidationGuard
from app.domain.portfolios import Account, Portfolio
from app.engine.universe import Universe
from app.quant.arrays import BoolArray, FloatArray, IntArray

PAPER_VENUE = "paper"
NONE = -1


class TriggerKind(IntEnum):
    DELTA_OUTSIDE_BAND = 0
    MARGIN_RATIO_AT_LEAST = 1


class AccountColumns(NamedTuple):
    """Whether Ballast itself closes it below maintenance: a paper account that really stands so."""

    liquidates: BoolArray


class PositionColumns(NamedTuple):
    instrument: IntArray
    account: IntArray
    exposure: IntArray
    underlying_value: IntArray
    settlement_value: IntArray
    quantity: FloatArray
    entry_price: FloatArray


class BalanceColumns(NamedTuple):
    """`exposure` is `NONE` for cash."""

    account: IntArray
    exposure: IntArray
    asset_value: IntArray
    amount: FloatArray
    haircut: FloatArray


class ExposureColumns(NamedTuple):
    underlying_value: IntArray


class TriggerColumns(NamedTuple):
    """`policy` counts the portfolio's policies; `exposure` or `account` is what is compared."""

    policy: IntArray
    kind: IntArray
    exposure: IntArray
    account: IntArray
    target: FloatArray
    limit: FloatArray


class ViewRows:
    def __init__(self, universe: Universe, holdings: Portfolio, *, liquidates: bool) -> None:
        self._universe = universe
        self._holdings = holdings
        self.underlyings: dict[Asset, int] = {}
        self.conversions: dict[int, None] = {}
        self.marks: dict[int, None] = {}
        self.accounts: list[tuple[bool]] = []
        self.positions: list[Sequence[Any]] = []
        self.balances: list[Sequence[Any]] = []
        self.exposures: list[tuple[int]] = []
        self.triggers: list[Sequence[Any]] = []
        for ordinal, account in enumerate(holdings.accounts):
            self.accounts.append((liquidates and account.venue == PAPER_VENUE,))
            self._add_positions(ordinal, account)
            self._add_balances(ordinal, account)

    def _add_positions(self, ordinal: int, account: Account) -> None:
        universe = self._universe
        for position in account.positions:
            instrument = universe.instruments[position.instrument]
            row = universe.index[position.instrument]
            underlying = Asset(instrument.underlying)
            self._mark(row)
            self.positions.append(
                (
                    row,
                    ordinal,
                    self._exposure(underlying),
                    self._conversion(underlying),
                    self._conversion(instrument.settlement_asset),
                    float(position.quantity),
                    float(position.entry_price),
                )
            )

    def _add_balances(self, ordinal: int, account: Account) -> None:
        for balance in account.balances:
            asset = balance.asset
            exposed = asset in self._universe.exposures and asset != self._holdings.valuation_currency
            self.balances.append(
                (
                    ordinal,
                    self._exposure(asset) if exposed else NONE,
                    self._conversion(asset),
                    float(balance.amount),
                    float(balance.haircut),
                )
            )

    def add_triggers(self) -> None:
        """One row per policy, and for margin triggers one per account in scope."""
        for number, stored in enumerate(self._holdings.policies):
            match stored.policy:
                case DeltaNeutral() as policy:
                    self._mark(self._universe.index[InstrumentId(policy.hedge_instrument)])
                    exposure = self._exposure(Asset(policy.underlying))
                    self.triggers.append(
                        (
                            number,
                            TriggerKind.DELTA_OUTSIDE_BAND,
                            exposure,
                            NONE,
                            float(policy.target_delta),
                            float(policy.band),
                        )
                    )
                case LiquidationGuard() as policy:
                    target, limit = float(policy.restore_margin_ratio), float(policy.trigger_margin_ratio)
                    kind = TriggerKind.MARGIN_RATIO_AT_LEAST
                    self.triggers += [
                        (number, kind, NONE, ordinal, target, limit)
                        for ordinal, account in enumerate(self._holdings.accounts)
                        if policy.account in (None, account.name)
                    ]
                case _:
                    assert_never(stored.policy)

    def _mark(self, row: int) -> None:
        self.marks[int(self._universe.terms.price_row[row])] = None

    def _exposure(self, underlying: Asset) -> int:
        if underlying not in self.underlyings:
            self.underlyings[underlying] = len(self.underlyings)
            self.exposures.append((self._conversion(underlying),))
        return self.underlyings[underlying]

    def _conversion(self, asset: Asset) -> int:
        found = self._universe.conversion(asset, self._holdings.valuation_currency)
        self.conversions[found] = None
        return found
