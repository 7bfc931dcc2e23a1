"""What lending does to an account: its balances on one side, its position in the pool on the other.

A position is collateral when positive and debt when negative. Balances are the account's wallet: no
collateral of the loan. Decimals only; what is written is rounded half to even.

A loan is liquidated as Aave v3 does it: below a health factor of 1 half of a debt may be repaid, below 0.95
all of it, and collateral worth the repayment and the bonus goes to whoever repays. The largest debt and the
largest collateral come first, and liquidators go on until the loan is sound. A debt that no collateral backs
any more is written off (Aave v3.3), as an exchange's insurance fund would take it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_UP, Decimal, localcontext
from typing import assert_never

from msgspec.structs import replace

from app.domain.adjustments import Fill, LendingAction, LendingLeg
from app.domain.errors import PriceUnknown
from app.domain.identifiers import AccountId, FillId, InstrumentId, derived_id
from app.domain.instruments import Instrument
from app.domain.market import StreamPosition
from app.domain.portfolios import Account, Portfolio, Position
from app.domain.times import NS_PER_YEAR
from app.engine.stored_amounts import ROOM, credited, stored

_CLOSE_FACTOR_HEALTH = Decimal("0.95")
_HALF = Decimal("0.5")
_ZERO = Decimal(0)


def apply_lending(
    portfolio: Portfolio,
    *,
    instrument: Instrument,
    account_id: AccountId,
    quantity: Decimal,
    fee: Decimal = _ZERO,
    time_ns: int = 0,
) -> Portfolio:
    """The portfolio after `quantity` went from a balance into the position (out of it, when negative).

    `time_ns` is the market time from which interest counts if that opened a position; 0: not known.
    """
    with localcontext(ROOM):
        change = stored(quantity)
        account = _lent(portfolio.account(account_id), instrument, change, time_ns)
        return portfolio.with_account(credited(account, instrument.settlement_asset, -change, fee))


def interest_until(held: Position, instrument: Instrument, boundary_ns: int) -> Decimal:
    """What a position grows by, linear in time: collateral upwards, debt downwards; of an hour where that is
    all that is known. Rounded away from zero, so that there always is some at a rate.
    """
    since_ns = held.accrued_ns or boundary_ns - instrument.accrual_interval_ns
    with localcontext(ROOM):
        rate = instrument.interest_rate_annual(held.quantity)
        return stored(held.quantity * rate * (boundary_ns - since_ns) / NS_PER_YEAR, ROUND_UP)


def most_lent(account: Account, leg: LendingLeg, instrument: Instrument) -> Decimal:
    """How much of a leg can be done: no more than is held, owed or in the wallet, or than the pool takes."""
    wallet = max(account.balance(instrument.settlement_asset), _ZERO)
    held = account.position(instrument.instrument_id).quantity
    match leg.action:
        case LendingAction.SUPPLY:
            room = wallet if instrument.reserve_cap is None else min(wallet, instrument.reserve_cap - held)
            most = _ZERO if held < 0 else room
        case LendingAction.WITHDRAW:
            most = held
        case LendingAction.BORROW:
            most = _ZERO if held > 0 else leg.amount
        case LendingAction.REPAY:
            most = min(wallet, -held)
        case _:
            assert_never(leg.action)
    return min(leg.amount, max(most, _ZERO))


def liquidate_loans(
    portfolio: Portfolio,
    account_id: AccountId,
    values: Mapping[InstrumentId, Decimal],
    instruments: Mapping[InstrumentId, Instrument],
    *,
    position: StreamPosition,
    time_ns: int,
) -> tuple[Portfolio, list[Fill]]:
    """The portfolio after liquidators were at a lending account, and the fills; none when the loan is sound.

    `values` are of one unit of each position's asset, all in one currency.
    """
    with localcontext(ROOM):
        loan = _Loan(portfolio, account_id, values, instruments, position, time_ns)
        while (health := loan.health()) is not None and health < 1:
            collateral = loan.largest(collateral=True)
            if collateral is None:
                loan.write_off()
                break
            loan.liquidate(collateral, _HALF if health >= _CLOSE_FACTOR_HEALTH else Decimal(1))
        return portfolio.with_account(loan.account) if loan.fills else portfolio, loan.fills


@dataclass(slots=True)
class _Loan:
    """A lending account while liquidators are at it."""

    portfolio: Portfolio
    account_id: AccountId
    values: Mapping[InstrumentId, Decimal]
    instruments: Mapping[InstrumentId, Instrument]
    position: StreamPosition
    time_ns: int
    account: Account = field(init=False)
    fills: list[Fill] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.account = self.portfolio.account(self.account_id)
        for held in self.account.positions:
            if held.instrument not in self.values:
                raise PriceUnknown(held.instrument)

    def health(self) -> Decimal | None:
        """Σ collateral x threshold / Σ debt; None without debt."""
        held = self.account.positions
        owed = sum((-self._value(p) for p in held if p.quantity < 0), _ZERO)
        thresholds = (self.instruments[p.instrument].liquidation_threshold for p in held)
        backing = sum(
            (
                self._value(p) * threshold
                for p, threshold in zip(held, thresholds, strict=True)
                if p.quantity > 0
            ),
            _ZERO,
        )
        return backing / owed if owed else None

    def largest(self, *, collateral: bool) -> Position | None:
        """By value, the first of equals; what backs nothing is not seized."""
        found = [
            p
            for p in self.account.positions
            if self._value(p)
            and (p.quantity > 0) is collateral
            and (not collateral or self.instruments[p.instrument].liquidation_threshold)
        ]
        return max(found, key=lambda p: abs(self._value(p)), default=None)

    def liquidate(self, collateral: Position, close_factor: Decimal) -> None:
        """One liquidation: `repaid` of the largest debt, for `repaid x (1 + bonus)` of the collateral."""
        debt = self.largest(collateral=False)
        if debt is None:
            return
        bonus = self.instruments[collateral.instrument].liquidation_bonus
        price = self.values[collateral.instrument] / (self.values[debt.instrument] * (1 + bonus))
        repaid = stored(-debt.quantity * close_factor) or -debt.quantity
        seized = stored(repaid / price)
        if seized >= collateral.quantity:
            repaid, seized = min(repaid, stored(collateral.quantity * price)), collateral.quantity
        self._change(debt.instrument, repaid, self.values[debt.instrument])
        self._change(collateral.instrument, -seized, self.values[collateral.instrument])

    def write_off(self) -> None:
        for debt in [p for p in self.account.positions if p.quantity < 0]:
            self._change(debt.instrument, -debt.quantity, _ZERO)

    def _value(self, held: Position) -> Decimal:
        return held.quantity * self.values[held.instrument]

    def _change(self, name: InstrumentId, quantity: Decimal, price: Decimal) -> None:
        if quantity == 0:
            return
        instrument = self.instruments[name]
        self.account = _lent(self.account, instrument, quantity, self.time_ns)
        number = len(self.fills)
        identity = derived_id("liquidation", self.account_id, self.position.entry_id, name, number)
        self.fills.append(
            Fill(
                id=FillId(identity),
                portfolio_id=self.portfolio.id,
                account_id=self.account_id,
                adjustment_id=None,
                leg=number,
                instrument=name,
                asset=instrument.settlement_asset,
                quantity=quantity,
                price=stored(price),
                fee=_ZERO,
                time_ns=self.time_ns,
                kind="liquidation",
            )
        )


def _lent(account: Account, instrument: Instrument, change: Decimal, time_ns: int) -> Account:
    held = account.position(instrument.instrument_id)
    total = stored(held.quantity + change)
    goes_on = held.quantity * total > 0
    return account.with_position(
        replace(held, quantity=total, accrued_ns=held.accrued_ns if goes_on else time_ns)
    )
