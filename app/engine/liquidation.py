"""What becomes of an account that is no longer sound: an outcome, not an order.

An exchange closes every position of a margin account at its mark, with the taker fee and
`LIQUIDATION_FEE_RATE`. A balance that is negative then is covered by spot trades at the mark and the same
fees, where the account's venue has the instrument and its mark is known. What is negative after that becomes
zero: the insurance fund takes it. Of a lending account, liquidators take what its pool lets them
(`loans.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, localcontext

from msgspec.structs import replace

from app.domain.adjustments import Fill
from app.domain.errors import PriceUnknown
from app.domain.identifiers import AccountId, Asset, FillId, InstrumentId, derived_id
from app.domain.instruments import Instrument, InstrumentKind
from app.domain.market import StreamPosition
from app.domain.portfolios import Account, MarginMode, Portfolio
from app.engine.fills import apply_trade, fee_of
from app.engine.loans import liquidate_loans
from app.engine.stored_amounts import ROOM, stored

LIQUIDATION_FEE_RATE = Decimal("0.005")
"""Of the notional, on top of the taker fee: what exchanges charge into their insurance fund."""

_ZERO = Decimal(0)


def liquidate(
    portfolio: Portfolio,
    account_id: AccountId,
    marks: Mapping[InstrumentId, Decimal],
    instruments: Mapping[InstrumentId, Instrument],
    *,
    position: StreamPosition,
    time_ns: int,
) -> tuple[Portfolio, list[Fill]]:
    """The portfolio after an account was liquidated, and the fills; none where nothing can be taken.

    `marks` as the venue quotes them; of lending instruments, values of a unit in one currency.
    """
    if portfolio.account(account_id).margin_mode is MarginMode.LENDING:
        return liquidate_loans(portfolio, account_id, marks, instruments, position=position, time_ns=time_ns)
    with localcontext(ROOM):
        exchange = _Liquidation(portfolio, account_id, marks, position, time_ns)
        for held in exchange.account.positions:
            exchange.force(instruments[held.instrument], -held.quantity)
        for instrument in _spot_markets(exchange.account, marks, instruments):
            mark = marks[instrument.instrument_id]
            exchange.force(instrument, _covering_quantity(exchange.account, instrument, mark))
        account = exchange.account
        covered = tuple(replace(b, amount=max(b.amount, _ZERO)) for b in account.balances)
        return exchange.portfolio.with_account(replace(account, balances=covered)), exchange.fills


@dataclass(slots=True)
class _Liquidation:
    """A portfolio while the exchange trades in one of its accounts."""

    portfolio: Portfolio
    account_id: AccountId
    marks: Mapping[InstrumentId, Decimal]
    position: StreamPosition
    time_ns: int
    fills: list[Fill] = field(default_factory=list)

    @property
    def account(self) -> Account:
        return self.portfolio.account(self.account_id)

    def force(self, instrument: Instrument, quantity: Decimal) -> None:
        if quantity == 0:
            return
        if instrument.instrument_id not in self.marks:
            raise PriceUnknown(instrument.id)
        price = stored(self.marks[instrument.instrument_id])
        fee_rate = instrument.taker_fee_rate + LIQUIDATION_FEE_RATE
        fee = fee_of(instrument, quantity, price, fee_rate)
        self.portfolio = apply_trade(
            self.portfolio,
            instrument=instrument,
            account_id=self.account_id,
            quantity=quantity,
            price=price,
            fee=fee,
        )
        self.fills.append(
            Fill(
                id=FillId(derived_id("liquidation", self.account_id, self.position.entry_id, instrument.id)),
                portfolio_id=self.portfolio.id,
                account_id=self.account_id,
                adjustment_id=None,
                leg=len(self.fills),
                instrument=instrument.instrument_id,
                asset=instrument.settlement_asset,
                quantity=quantity,
                price=price,
                fee=fee,
                time_ns=self.time_ns,
                kind="liquidation",
            )
        )


def _spot_markets(
    account: Account, marks: Mapping[InstrumentId, Decimal], instruments: Mapping[InstrumentId, Instrument]
) -> list[Instrument]:
    """In the order of their ids, so that the same account is covered the same way."""
    return [
        instrument
        for _, instrument in sorted(instruments.items())
        if instrument.kind is InstrumentKind.SPOT
        and instrument.venue == account.venue
        and marks.get(instrument.instrument_id, _ZERO) > 0
    ]


def _covering_quantity(account: Account, instrument: Instrument, price: Decimal) -> Decimal:
    """Bought to make a negative base whole, or sold to make a negative quote whole, in whole lots."""
    amounts = {b.asset: b.amount for b in account.balances}
    base = amounts.get(Asset(instrument.underlying), _ZERO)
    quote = amounts.get(Asset(instrument.quote), _ZERO)
    with localcontext(ROOM):
        lot = instrument.lot_size * instrument.multiplier
        fee_rate = instrument.taker_fee_rate + LIQUIDATION_FEE_RATE
        if base < 0 < quote:
            sign, needed, affordable = 1, -base, quote / (price * (1 + fee_rate))
        elif quote < 0 < base:
            sign, needed, affordable = -1, -quote / (price * (1 - fee_rate)), base
        else:
            return _ZERO
        lots = min(
            (needed / lot).to_integral_value(ROUND_CEILING), (affordable / lot).to_integral_value(ROUND_FLOOR)
        )
        return sign * lots * instrument.lot_size
