"""What a fill does to a portfolio, and what the paper venue fills at. Decimals only, every figure as stored.

Settlement follows the instrument (``q`` signed contracts, ``m`` multiplier, ``P`` fill, ``E`` entry):

- spot: ``q m`` of the base asset against ``q m P`` of the quote;
- linear perpetuals and futures: the entry is the volume-weighted price, ``q m (P - E)`` is realised in quote;
- inverse ones: the entry is the harmonic mean, ``q m (1/E - 1/P)`` is realised in coin;
- options: the premium ``q m P`` is paid at once in the settlement asset and the entry is the average premium.
  Prices of coin-settled options, entries included, are in coin.

Reducing realises and keeps the entry; going through zero closes at the fill and opens the rest there. Fees
are paid in the settlement asset, an option's on its premium, and so is funding.

Rounding: every amount that results is a multiple of 1e-18 below 1e20, which is what NUMERIC(38,18) stores, so
that a portfolio read back is the one that was written. Amounts round half to even, fees up.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal, localcontext
from typing import assert_never

from msgspec.structs import replace

from app.domain.adjustments import Fill, Leg, TradeLeg, TransferLeg
from app.domain.errors import InvalidInput, PriceUnknown
from app.domain.identifiers import AccountId, Asset, FillId, InstrumentId, derived_id
from app.domain.instruments import Instrument, InstrumentKind, Settlement
from app.domain.market import StreamPosition
from app.domain.portfolios import Account, Portfolio, Position

LIQUIDATION_FEE_RATE = Decimal("0.005")
"""Of the notional, on top of the taker fee: what exchanges charge into their insurance fund."""

UNSTORABLE = (InvalidInput, ArithmeticError)
"""What an amount that no column can hold raises: a huge holding, or a price next to nothing."""

_STORED_STEP = Decimal("1e-18")
_STORED_LIMIT = Decimal("1e20")
_BASIS_POINT = Decimal("0.0001")
_ROOM = Context(prec=80)  # products of two stored figures are exact, quotients far finer than the step
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
    with localcontext(_ROOM):
        account = portfolio.account(account_id)
        if instrument.kind is InstrumentKind.SPOT:
            account = _credited(account, Asset(instrument.underlying), quantity * instrument.multiplier)
            cash = -quantity * instrument.multiplier * price
        else:
            held = account.position(instrument.instrument_id)
            cash = _cash_flow(held, instrument, quantity, price)
            account = account.with_position(_traded(held, instrument, quantity, price, time_ns))
        return portfolio.with_account(_credited(account, instrument.settlement_asset, cash, fee))


def funding_payment(instrument: Instrument, *, quantity: Decimal, price: Decimal, rate: Decimal) -> Decimal:
    """What `quantity` contracts of a perpetual pay (receive, when negative) in the settlement asset."""
    with localcontext(_ROOM):
        return _stored(notional(instrument, quantity=quantity, price=price) * rate.copy_sign(quantity * rate))


def in_coin(amount: Decimal, price: Decimal) -> Decimal:
    """So much of the quote currency at a price, as it is stored."""
    with localcontext(_ROOM):
        return _stored(amount / price)


def apply_payment(portfolio: Portfolio, *, account_id: AccountId, asset: Asset, amount: Decimal) -> Portfolio:
    """The portfolio after the account paid so much (received it, when negative)."""
    with localcontext(_ROOM):
        account = portfolio.account(account_id)
        return portfolio.with_account(_credited(account, asset, -amount))


def apply_transfer(
    portfolio: Portfolio, *, account_id: AccountId, asset: Asset, amount: Decimal
) -> Portfolio:
    """The portfolio after `amount` went from its reserve into the account."""
    with localcontext(_ROOM):
        stored = _stored(amount)
        account = portfolio.account(account_id).credited(asset, stored)
        return portfolio.with_account(account).reserve_debited(asset, stored)


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
                        portfolio, account_id=leg.account_id, asset=leg.asset, amount=leg.amount
                    )
                case Unfillable():
                    continue
                case _:
                    assert_never(leg)
    return portfolio


def fitted(
    portfolio: Portfolio, leg: Leg, instruments: Mapping[InstrumentId, Instrument]
) -> Leg | Unfillable:
    """What of a leg can be done now: a reducing one never turns a position round or opens one."""
    with localcontext(_ROOM):
        account = next((a for a in portfolio.accounts if a.id == leg.account_id), None)
        if account is None:
            return Unfillable("its account is gone")
        match leg:
            case TransferLeg():
                available = next((r.available for r in portfolio.reserves if r.asset == leg.asset), _ZERO)
                if not 0 < leg.amount <= available:
                    return Unfillable(
                        f"the reserve has {available:f} {leg.asset} to give, not {leg.amount:f}"
                    )
                return leg
            case TradeLeg():
                instrument = instruments.get(leg.instrument)
                if instrument is None:
                    return Unfillable(f"{leg.instrument} is not a known instrument")
                if leg.reduces and instrument.kind is not InstrumentKind.SPOT:
                    return _fitted_to_position(leg, account.position(leg.instrument))
                return leg
            case _:
                assert_never(leg)


def paper_fill(leg: TradeLeg, instrument: Instrument) -> tuple[Decimal, Decimal]:
    """Price and fee of the paper venue: the reference moved by the slippage, then to the next worse tick.

    A price that the tick would take to zero stays as it is: only an option can be sold for nothing.
    """
    with localcontext(_ROOM):
        slippage = instrument.slippage_bps * _BASIS_POINT
        buying = leg.quantity > 0
        worse = ROUND_CEILING if buying else ROUND_FLOOR
        moved = leg.reference_price * (1 + slippage if buying else 1 - slippage)
        on_tick = (moved / instrument.tick_size).to_integral_value(worse) * instrument.tick_size
        may_be_zero = instrument.kind is InstrumentKind.OPTION
        price = _stored(on_tick if on_tick > 0 or may_be_zero else moved, worse)
        _check_price(instrument, price)
        return price, _fee(instrument, leg.quantity, price, instrument.taker_fee_rate)


def notional(instrument: Instrument, *, quantity: Decimal, price: Decimal) -> Decimal:
    """Unsigned, in the settlement asset; of an option, the premium."""
    with localcontext(_ROOM):
        contracts = abs(quantity) * instrument.multiplier
        return contracts / price if _is_inverse_future(instrument) else contracts * price


def liquidate(
    portfolio: Portfolio,
    account_id: AccountId,
    marks: Mapping[InstrumentId, Decimal],
    instruments: Mapping[InstrumentId, Instrument],
    *,
    position: StreamPosition,
    time_ns: int,
) -> tuple[Portfolio, list[Fill]]:
    """The portfolio after the exchange closed an account, and the fills: an outcome, not an order.

    Every position is closed at its mark, with the taker fee and `LIQUIDATION_FEE_RATE`. A balance that is
    negative then is covered by spot trades at the mark and the same fees, where the account's venue has the
    instrument and its mark is known. What is negative after that becomes zero: the insurance fund takes it.
    """
    with localcontext(_ROOM):
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
        price = _stored(self.marks[instrument.instrument_id])
        fee_rate = instrument.taker_fee_rate + LIQUIDATION_FEE_RATE
        fee = _fee(instrument, quantity, price, fee_rate)
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
    total = _stored(held.quantity + quantity)
    if total == 0:
        return Position(held.instrument, _ZERO, _ZERO)
    if held.quantity == 0 or held.quantity * total < 0:
        return Position(held.instrument, total, _stored(price), time_ns)
    if held.quantity * quantity <= 0:
        entry = held.entry_price
    elif _is_inverse_future(instrument):
        entry = total / (held.quantity / held.entry_price + quantity / price)
    else:
        entry = (held.quantity * held.entry_price + quantity * price) / total
    return replace(held, quantity=total, entry_price=_stored(entry))


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
    with localcontext(_ROOM):
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


def _credited(account: Account, asset: Asset, amount: Decimal, fee: Decimal = _ZERO) -> Account:
    change = _stored(amount) - _stored(fee)
    return account.credited(asset, change) if change else account


def _fee(instrument: Instrument, quantity: Decimal, price: Decimal, rate: Decimal) -> Decimal:
    with localcontext(_ROOM):
        return _stored(notional(instrument, quantity=quantity, price=price) * rate, ROUND_CEILING)


def _is_inverse_future(instrument: Instrument) -> bool:
    """Perpetual or dated; an option's entry and notional are premiums in either settlement."""
    return instrument.settlement is Settlement.INVERSE and instrument.kind is not InstrumentKind.OPTION


def _check_price(instrument: Instrument, price: Decimal) -> None:
    least_is_zero = instrument.kind is InstrumentKind.OPTION
    if not price.is_finite() or price < 0 or (price == 0 and not least_is_zero):
        raise InvalidInput(f"{instrument.id} cannot be filled at {price}")


def _stored(value: Decimal, rounding: str = ROUND_HALF_EVEN) -> Decimal:
    """`value` as NUMERIC(38,18) holds it; adding zero takes the sign off a negative zero."""
    if not abs(value) < _STORED_LIMIT:
        raise InvalidInput(f"{value} is beyond what can be stored")
    return value.quantize(_STORED_STEP, rounding) + 0
