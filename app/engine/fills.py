"""What a fill does to a portfolio, and what the paper venue fills at. Decimals only, every figure as stored.

Settlement follows the instrument (``q`` signed contracts, ``m`` multiplier, ``P`` fill, ``E`` entry):

- spot: ``q m`` of the base asset against ``q m P`` of the quote;
- linear perpetuals and futures: the entry is the volume-weighted price, ``q m (P - E)`` is realised in quote;
- inverse ones: the entry is the harmonic mean, ``q m (1/E - 1/P)`` is realised in coin;
- options: the premium ``q m P`` is paid at once in the settlement asset and the entry is the average premium.
  Prices of coin-settled options, entries included, are in coin.

Reducing realises and keeps the entry; going through zero closes at the fill and opens the rest there. Fees
are paid in the settlement asset, an option's on its premium, and so is funding. What lending does is in
`loans.py`.

Amounts round half to even, fees up, each to what is stored.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, localcontext
from typing import assert_never

from msgspec.structs import replace

from app.domain.adjustments import Leg, LendingLeg, TradeLeg, TransferLeg
from app.domain.errors import InvalidInput
from app.domain.identifiers import AccountId, Asset, InstrumentId
from app.domain.instruments import Instrument, InstrumentKind, Settlement
from app.domain.portfolios import Account, MarginMode, Portfolio, Position
from app.engine.loans import apply_lending, most_lent
from app.engine.stored_amounts import ROOM, credited, stored

UNSTORABLE = (InvalidInput, ArithmeticError)
"""What an amount that no column can hold raises: a huge holding, or a price next to nothing."""

_BASIS_POINT = Decimal("0.0001")
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Unfillable:
    """Why a leg cannot be done on the portfolio as it stands."""

    reason: str


def apply_trade(
    portfolio: Portfolio,
    *,
    instrument: Instrument,
    account_id: AccountId,
    quantity: Decimal,
    price: Decimal,
    fee: Decimal,
    time_ns: int = 0,
) -> Portfolio:
    """The portfolio after `quantity` contracts were bought (sold, when negative) at `price`.

    `time_ns` is the market time from which funding counts if that opened a position; 0: not known.
    """
    _check_price(instrument, price)
    with localcontext(ROOM):
        account = portfolio.account(account_id)
        if instrument.kind is InstrumentKind.SPOT:
            account = credited(account, Asset(instrument.underlying), quantity * instrument.multiplier)
            cash = -quantity * instrument.multiplier * price
        else:
            held = account.position(instrument.instrument_id)
            cash = _cash_flow(held, instrument, quantity, price)
            account = account.with_position(_traded(held, instrument, quantity, price, time_ns))
        return portfolio.with_account(credited(account, instrument.settlement_asset, cash, fee))


def funding_payment(instrument: Instrument, *, quantity: Decimal, price: Decimal, rate: Decimal) -> Decimal:
    """What `quantity` contracts of a perpetual pay (receive, when negative) in the settlement asset."""
    with localcontext(ROOM):
        return stored(notional(instrument, quantity=quantity, price=price) * rate.copy_sign(quantity * rate))


def in_coin(amount: Decimal, price: Decimal) -> Decimal:
    """So much of the quote currency at a price, as it is stored."""
    with localcontext(ROOM):
        return stored(amount / price)


def apply_payment(portfolio: Portfolio, *, account_id: AccountId, asset: Asset, amount: Decimal) -> Portfolio:
    """The portfolio after the account paid so much (received it, when negative)."""
    with localcontext(ROOM):
        account = portfolio.account(account_id)
        return portfolio.with_account(credited(account, asset, -amount))


def apply_transfer(
    portfolio: Portfolio,
    *,
    account_id: AccountId | None,
    asset: Asset,
    amount: Decimal,
    source: AccountId | None = None,
    fee: Decimal = _ZERO,
) -> Portfolio:
    """The portfolio after `amount` left the source and, less the fee, arrived; None is the reserve."""
    with localcontext(ROOM):
        left = _pocket_credited(portfolio, source, asset, -stored(amount))
        return _pocket_credited(left, account_id, asset, stored(amount) - stored(fee))


def apply_legs_as_if_done(
    portfolio: Portfolio, legs: Iterable[Leg], instruments: Mapping[InstrumentId, Instrument]
) -> Portfolio:
    """The portfolio once `legs` are filled as by the paper venue.

    One that no longer fits does nothing, nor does one whose amounts could not be stored.
    """
    for planned in legs:
        leg = fitted(portfolio, planned, instruments)
        with suppress(*UNSTORABLE):
            match leg:
                case TradeLeg():
                    instrument = instruments[leg.instrument]
                    price, fee = paper_fill(leg, instrument)
                    portfolio = apply_trade(
                        portfolio,
                        instrument=instrument,
                        account_id=leg.account_id,
                        quantity=leg.quantity,
                        price=price,
                        fee=fee,
                    )
                case TransferLeg():
                    portfolio = apply_transfer(
                        portfolio,
                        account_id=leg.account_id,
                        asset=leg.asset,
                        amount=leg.amount,
                        source=leg.source,
                        fee=leg.fee,
                    )
                case LendingLeg():
                    portfolio = apply_lending(
                        portfolio,
                        instrument=instruments[leg.instrument],
                        account_id=leg.account_id,
                        quantity=leg.action.sign * leg.amount,
                    )
                case Unfillable():
                    continue
                case _:
                    assert_never(leg)
    return portfolio


def fitted(
    portfolio: Portfolio, leg: Leg, instruments: Mapping[InstrumentId, Instrument]
) -> Leg | Unfillable:
    """What of a leg can be done now: a reducing one never turns a position round or opens one.

    A wallet that a lending account has on a chain never gives what it has not.
    """
    accounts = {account.id: account for account in portfolio.accounts}
    with localcontext(ROOM):
        if isinstance(leg, TransferLeg):
            return _fitted_transfer(leg, portfolio, accounts)
        account = accounts.get(leg.account_id)
        if account is None:
            return Unfillable("its account is gone")
        instrument = instruments.get(leg.instrument)
        if instrument is None:
            return Unfillable(f"{leg.instrument} is not a known instrument")
        match leg:
            case TradeLeg():
                return _fitted_trade(leg, account, instrument)
            case LendingLeg():
                return _fitted_lending(leg, account, instrument)
            case _:
                assert_never(leg)


def paper_fill(leg: TradeLeg, instrument: Instrument) -> tuple[Decimal, Decimal]:
    """Price and fee of the paper venue: the reference moved by the slippage, then to the next worse tick.

    A price that the tick would take to zero stays as it is: only an option can be sold for nothing.
    """
    with localcontext(ROOM):
        slippage = instrument.slippage_bps * _BASIS_POINT
        buying = leg.quantity > 0
        worse = ROUND_CEILING if buying else ROUND_FLOOR
        moved = leg.reference_price * (1 + slippage if buying else 1 - slippage)
        on_tick = (moved / instrument.tick_size).to_integral_value(worse) * instrument.tick_size
        may_be_zero = instrument.kind is InstrumentKind.OPTION
        price = stored(on_tick if on_tick > 0 or may_be_zero else moved, worse)
        _check_price(instrument, price)
        fee = _notional(instrument, leg.quantity, price) * instrument.taker_fee_rate
        return price, stored(fee, ROUND_CEILING)


def notional(instrument: Instrument, *, quantity: Decimal, price: Decimal) -> Decimal:
    """Unsigned, in the settlement asset; of an option, the premium."""
    with localcontext(ROOM):
        return _notional(instrument, quantity, price)


def fee_of(instrument: Instrument, quantity: Decimal, price: Decimal, rate: Decimal) -> Decimal:
    with localcontext(ROOM):
        return stored(_notional(instrument, quantity, price) * rate, ROUND_CEILING)


def _notional(instrument: Instrument, quantity: Decimal, price: Decimal) -> Decimal:
    contracts = abs(quantity) * instrument.multiplier
    return contracts / price if _is_inverse_future(instrument) else contracts * price


def _pocket_credited(
    portfolio: Portfolio, account_id: AccountId | None, asset: Asset, amount: Decimal
) -> Portfolio:
    if account_id is None:
        return portfolio.reserve_credited(asset, amount)
    return portfolio.with_account(portfolio.account(account_id).credited(asset, amount))


def _fitted_transfer(
    leg: TransferLeg, portfolio: Portfolio, accounts: Mapping[AccountId, Account]
) -> TransferLeg | Unfillable:
    if leg.source == leg.account_id:
        return Unfillable("it ends where it begins")
    if {leg.source, leg.account_id} - {None} - accounts.keys():
        return Unfillable("its account is gone")
    if leg.source is None:
        pocket, available = "the reserve", portfolio.reserve(leg.asset).available
    else:
        account = accounts[leg.source]
        pocket, available = account.name, max(account.balance(leg.asset), _ZERO)
    if not 0 < leg.amount <= available:
        return Unfillable(f"{pocket} has {available:f} {leg.asset} to give, not {leg.amount:f}")
    if not 0 <= leg.fee < leg.amount:
        return Unfillable(f"a fee of {leg.fee:f} {leg.asset} leaves nothing of {leg.amount:f}")
    return leg


def _fitted_trade(leg: TradeLeg, account: Account, instrument: Instrument) -> TradeLeg | Unfillable:
    if instrument.kind is InstrumentKind.LENDING:
        return Unfillable(f"{instrument.id} is lent and borrowed, not traded")
    if account.margin_mode is not MarginMode.LENDING:
        if leg.reduces and instrument.kind is not InstrumentKind.SPOT:
            return _fitted_to_position(leg, account.position(leg.instrument))
        return leg
    if instrument.kind is not InstrumentKind.SPOT:
        return Unfillable(f"the lending account {account.name!r} holds no {instrument.kind}")
    return _fitted_to_wallet(leg, account, instrument)


def _fitted_to_wallet(leg: TradeLeg, account: Account, instrument: Instrument) -> TradeLeg | Unfillable:
    if leg.quantity < 0:
        paid, per_contract = Asset(instrument.underlying), instrument.multiplier
    else:
        worst = leg.reference_price * (1 + instrument.slippage_bps * _BASIS_POINT) + instrument.tick_size
        paid = Asset(instrument.quote)
        per_contract = instrument.multiplier * worst * (1 + instrument.taker_fee_rate)
    wallet = account.balance(paid)
    if abs(leg.quantity) * per_contract <= wallet:
        return leg
    lots = (wallet / per_contract / instrument.lot_size).to_integral_value(ROUND_FLOOR)
    if lots <= 0:
        return Unfillable(f"{account.name!r} has {wallet:f} {paid}, too little for that")
    return replace(leg, quantity=(lots * instrument.lot_size).copy_sign(leg.quantity))


def _fitted_lending(leg: LendingLeg, account: Account, instrument: Instrument) -> LendingLeg | Unfillable:
    if instrument.kind is not InstrumentKind.LENDING:
        return Unfillable(f"{instrument.id} is no lending market")
    if account.margin_mode is not MarginMode.LENDING:
        return Unfillable(f"{account.name!r} is no lending account")
    amount = most_lent(account, leg, instrument)
    if amount <= 0:
        return Unfillable(f"there is no {instrument.underlying} in {account.name!r} to {leg.action}")
    return replace(leg, amount=amount)


def _fitted_to_position(leg: TradeLeg, held: Position) -> TradeLeg | Unfillable:
    if held.quantity * leg.quantity >= 0:
        return Unfillable(f"there is no position in {leg.instrument} left to reduce")
    if abs(leg.quantity) <= abs(held.quantity):
        return leg
    return replace(leg, quantity=-held.quantity)


def _cash_flow(held: Position, instrument: Instrument, quantity: Decimal, price: Decimal) -> Decimal:
    """What the settlement balance gains before the fee: the premium, or the profit on what is closed."""
    if instrument.kind is InstrumentKind.OPTION:
        return -quantity * instrument.multiplier * price
    if held.quantity * quantity >= 0:
        return _ZERO
    closed = min(abs(held.quantity), abs(quantity)).copy_sign(held.quantity)
    gain = closed * instrument.multiplier * (price - held.entry_price)
    return gain / (held.entry_price * price) if instrument.settlement is Settlement.INVERSE else gain


def _traded(
    held: Position, instrument: Instrument, quantity: Decimal, price: Decimal, time_ns: int
) -> Position:
    total = stored(held.quantity + quantity)
    if total == 0:
        return Position(held.instrument, _ZERO, _ZERO)
    if held.quantity == 0 or held.quantity * total < 0:
        return Position(held.instrument, total, stored(price), time_ns)
    if held.quantity * quantity <= 0:
        entry = held.entry_price
    elif _is_inverse_future(instrument):
        entry = total / (held.quantity / held.entry_price + quantity / price)
    else:
        entry = (held.quantity * held.entry_price + quantity * price) / total
    return replace(held, quantity=total, entry_price=stored(entry))


def _is_inverse_future(instrument: Instrument) -> bool:
    """Perpetual or dated; an option's entry and notional are premiums in either settlement."""
    return instrument.settlement is Settlement.INVERSE and instrument.kind is not InstrumentKind.OPTION


def _check_price(instrument: Instrument, price: Decimal) -> None:
    least_is_zero = instrument.kind is InstrumentKind.OPTION
    if not price.is_finite() or price < 0 or (price == 0 and not least_is_zero):
        raise InvalidInput(f"{instrument.id} cannot be filled at {price}")
