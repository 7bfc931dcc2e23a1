"""Portfolios as they stand: accounts, positions, balances, reserves, and what is in flight.

Spot holdings are balances. A position is of a perpetual, future or option, or, in a `lending` account, of an
asset in a lending pool. Margin never crosses accounts.
"""

from decimal import Decimal
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from app.domain.adjustments import InFlight
from app.domain.identifiers import AccountId, Asset, InstrumentId, PortfolioId, TenantId
from app.domain.policies import StoredPolicy


class PortfolioState(StrEnum):
    ACTIVE = "active"
    REDUCE_ONLY = "reduce_only"
    HALTED = "halted"


class MarginMode(StrEnum):
    ISOLATED = "isolated"
    CROSS = "cross"
    PORTFOLIO = "portfolio"
    LENDING = "lending"


class Position(Struct, frozen=True, gc=False):
    """`quantity` in contracts, negative when short; `entry_price` in the instrument's quote.

    In a lending pool: units of the asset, supplied when positive and owed when negative; the entry is 0.
    `accrued_ns` is the market time up to which funding was paid or interest added: at first, when it was
    opened; 0 where that is not known.
    """

    instrument: InstrumentId
    quantity: Decimal
    entry_price: Decimal
    accrued_ns: int = 0


class Balance(Struct, frozen=True, gc=False):
    """`haircut` is the fraction of a positive balance's value that does not count as collateral."""

    asset: Asset
    amount: Decimal
    haircut: Decimal = Decimal(0)


class Reserve(Struct, frozen=True, gc=False):
    """Held outside every account: up to `amount - keep` may be used for top-ups."""

    asset: Asset
    amount: Decimal
    keep: Decimal = Decimal(0)

    @property
    def available(self) -> Decimal:
        return max(self.amount - self.keep, Decimal(0))


class Account(Struct, frozen=True):
    id: AccountId
    name: str
    venue: str
    margin_mode: MarginMode
    positions: tuple[Position, ...] = ()
    balances: tuple[Balance, ...] = ()

    @property
    def balances_back_positions(self) -> bool:
        """A loan is backed by what was supplied for it."""
        return bool(self.positions) and self.margin_mode is not MarginMode.LENDING

    def position(self, instrument: InstrumentId) -> Position:
        for position in self.positions:
            if position.instrument == instrument:
                return position
        return Position(instrument, Decimal(0), Decimal(0))

    def balance(self, asset: Asset) -> Decimal:
        held = self.held(asset)
        return held.amount if held else Decimal(0)

    def held(self, asset: Asset) -> Balance | None:
        for balance in self.balances:
            if balance.asset == asset:
                return balance
        return None

    def with_position(self, position: Position) -> "Account":
        """Replaces in place, so that stored order (and with it every sum) stays; a flat one is dropped."""
        others = [p for p in self.positions if p.instrument != position.instrument]
        if position.quantity == 0:
            return replace(self, positions=tuple(others))
        if len(others) == len(self.positions):
            return replace(self, positions=(*self.positions, position))
        kept = (position if p.instrument == position.instrument else p for p in self.positions)
        return replace(self, positions=tuple(kept))

    def credited(self, asset: Asset, amount: Decimal) -> "Account":
        """The account with `amount` more of `asset` (less, when negative)."""
        if all(b.asset != asset for b in self.balances):
            return replace(self, balances=(*self.balances, Balance(asset, amount)))
        changed = (replace(b, amount=b.amount + amount) if b.asset == asset else b for b in self.balances)
        return replace(self, balances=tuple(changed))


class Portfolio(Struct, frozen=True):
    """`revision` counts every write that touched it or its policies."""

    id: PortfolioId
    tenant_id: TenantId
    name: str
    valuation_currency: Asset
    state: PortfolioState
    revision: int
    accounts: tuple[Account, ...] = ()
    reserves: tuple[Reserve, ...] = ()
    policies: tuple[StoredPolicy, ...] = ()
    in_flight: tuple[InFlight, ...] = ()

    @property
    def instruments(self) -> set[InstrumentId]:
        """What it holds, and what its policies trade or read the price of."""
        held = {p.instrument for account in self.accounts for p in account.positions}
        named = (name for stored in self.policies for name in stored.policy.instruments)
        return held | {InstrumentId(name) for name in named}

    def account(self, account_id: AccountId) -> Account:
        return next(a for a in self.accounts if a.id == account_id)

    def with_account(self, account: Account) -> "Portfolio":
        return replace(self, accounts=tuple(account if a.id == account.id else a for a in self.accounts))

    def reserve(self, asset: Asset) -> Reserve:
        return next((r for r in self.reserves if r.asset == asset), Reserve(asset, Decimal(0)))

    def reserve_credited(self, asset: Asset, amount: Decimal) -> "Portfolio":
        """With `amount` more of `asset` in reserve (less, when negative)."""
        if all(r.asset != asset for r in self.reserves):
            return replace(self, reserves=(*self.reserves, Reserve(asset, amount)))
        changed = (replace(r, amount=r.amount + amount) if r.asset == asset else r for r in self.reserves)
        return replace(self, reserves=tuple(changed))
