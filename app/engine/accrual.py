"""What the market clock does to what paper accounts hold: funding, interest, and what expired is settled.

Real venues do both themselves and report it. A perpetual's funding falls due at whole multiples of its
interval since 1970, UTC. At the first frame at or after such a boundary the position pays the standing rate
on its notional at the present mark, longs to shorts where the rate is positive. Futures and options are
settled in cash at the first frame at or after their expiry, without a fee, at the mark of what prices them: a
future at that mark, an option at what exercising is worth there, in coin where it settles in coin.

What is lent bears interest at whole hours, linear within the hour and compounding with it. It is added to the
position; whatever a position changed by within the hour bears that hour's interest from its beginning.

What is not known is not invented. An expiry waits for its price. A boundary waits for rate and mark until the
next one has come, then it is gone, unless both passed in one gap between two frames.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from math import isnan
from typing import Any, Literal

from msgspec.structs import replace

from app.domain.adjustments import Fill
from app.domain.events import EventType, NewEvent
from app.domain.identifiers import AccountId, FillId, derived_id
from app.domain.instruments import Instrument, InstrumentKind, OptionType, Settlement
from app.domain.market import Frame
from app.domain.portfolios import Account, Portfolio, Position
from app.domain.times import rfc3339, to_ns
from app.domain.values import decimal_text
from app.engine.fills import UNSTORABLE, apply_payment, apply_trade, funding_payment, in_coin
from app.engine.frame_block import FrameBlock
from app.engine.holding_rows import PAPER_VENUE
from app.engine.loans import interest_until
from app.engine.rounding import price

_ZERO = Decimal(0)


@dataclass(slots=True)
class Passed:
    """A portfolio to which time has come, and what that did."""

    portfolio: Portfolio
    fills: list[Fill] = field(default_factory=list)
    events: list[NewEvent] = field(default_factory=list)


def pass_time(portfolio: Portfolio, block: FrameBlock, k: int) -> Passed:
    """Brings a portfolio, as it really stands, to the time of frame `k`."""
    passed = Passed(portfolio)
    for account in portfolio.accounts:
        if account.venue == PAPER_VENUE:
            clock = _Clock(passed, account.id, block, k)
            clock.accrue()
            clock.settle()
    return passed


def boundaries(*, accrued_ns: int, before_ns: int, now_ns: int, interval_ns: int) -> range:
    """The boundaries that a frame pays for; `before_ns` is the time of the frame before it, 0 for the first.

    Where it is not known up to when funding was paid, those count that this frame is the first to see.
    """
    last_ns, before_ns = now_ns - now_ns % interval_ns, before_ns or now_ns
    after_ns = max(accrued_ns or before_ns, min(before_ns, last_ns - interval_ns))
    return range((after_ns // interval_ns + 1) * interval_ns, last_ns + 1, interval_ns)


@dataclass(slots=True)
class _Clock:
    """One account of a portfolio on a frame."""

    passed: Passed
    account_id: AccountId
    block: FrameBlock
    k: int

    @property
    def account(self) -> Account:
        return self.passed.portfolio.account(self.account_id)

    @property
    def frame(self) -> Frame:
        return self.block.frames[self.k]

    def accrue(self) -> None:
        payments: list[dict[str, str]] = []
        interest: list[dict[str, str]] = []
        for held, instrument in self._holdings():
            if not instrument.accrual_interval_ns:
                continue
            if instrument.kind is InstrumentKind.LENDING:
                with suppress(*UNSTORABLE):
                    interest += self._add_interest(instrument)
                continue
            rate, mark = self._funding_rate(instrument), self._mark(instrument)
            if rate is None or mark is None:
                continue
            try:
                paid = funding_payment(instrument, quantity=held.quantity, price=mark, rate=rate)
                for boundary_ns in self._boundaries(held, instrument):
                    self._pay(held, instrument, mark, paid, boundary_ns)
                    payments.append(_payment(held, instrument, mark, rate, paid, boundary_ns))
            except UNSTORABLE:
                continue
        if payments:
            self._tell(EventType.FUNDING_ACCRUED, {"payments": payments})
        if interest:
            self._tell(EventType.INTEREST_ACCRUED, {"interest": interest})

    def settle(self) -> None:
        settlements = []
        for held, instrument in self._holdings():
            if instrument.expiry is None or to_ns(instrument.expiry) > self.frame.time_ns:
                continue
            mark = self._mark(instrument)
            if mark is None:
                continue
            worth = settlement_price(instrument, mark)
            before = self.account
            try:
                self._close(held, instrument, worth)
            except UNSTORABLE:
                continue
            asset = instrument.settlement_asset
            gained = self.account.balance(asset) - before.balance(asset)
            settlements.append(_settlement(held, instrument, mark, worth, gained))
        if settlements:
            self._tell(EventType.POSITION_SETTLED, {"settlements": settlements})

    def _holdings(self) -> Iterator[tuple[Position, Instrument]]:
        instruments = self.block.universe.instruments
        for held in self.account.positions:
            yield held, instruments[held.instrument]

    def _mark(self, instrument: Instrument) -> Decimal | None:
        universe = self.block.universe
        row = int(universe.terms.price_row[universe.index[instrument.instrument_id]])
        return _known(self.block.price(self.k, row))

    def _funding_rate(self, instrument: Instrument) -> Decimal | None:
        row = self.block.universe.index[instrument.instrument_id]
        return _known(self.block.funding_rate(self.k, row))

    def _boundaries(self, held: Position, instrument: Instrument) -> range:
        before_ns, now_ns = self.block.clock_ns[self.k : self.k + 2].tolist()
        return boundaries(
            accrued_ns=held.accrued_ns,
            before_ns=before_ns,
            now_ns=now_ns,
            interval_ns=instrument.accrual_interval_ns,
        )

    def _pay(
        self, held: Position, instrument: Instrument, mark: Decimal, paid: Decimal, boundary_ns: int
    ) -> None:
        account = self.account.with_position(replace(held, accrued_ns=boundary_ns))
        self.passed.portfolio = apply_payment(
            self.passed.portfolio.with_account(account),
            account_id=self.account_id,
            asset=instrument.settlement_asset,
            amount=paid,
        )
        identity = (self.frame.generation, instrument.id, boundary_ns)
        self._record("funding", identity, instrument, quantity=held.quantity, price=mark, fee=paid)

    def _add_interest(self, instrument: Instrument) -> Iterator[dict[str, str]]:
        held = self.account.position(instrument.instrument_id)
        for boundary_ns in self._boundaries(held, instrument):
            held = self.account.position(instrument.instrument_id)
            added = interest_until(held, instrument, boundary_ns)
            if added == 0:
                continue
            grown = replace(held, quantity=held.quantity + added, accrued_ns=boundary_ns)
            account = self.account.with_position(grown)
            self.passed.portfolio = self.passed.portfolio.with_account(account)
            identity = (self.frame.generation, instrument.id, boundary_ns)
            self._record("interest", identity, instrument, quantity=added, price=_ZERO, fee=_ZERO)
            yield _interest(held, instrument, added, boundary_ns)

    def _close(self, held: Position, instrument: Instrument, worth: Decimal) -> None:
        self.passed.portfolio = apply_trade(
            self.passed.portfolio,
            instrument=instrument,
            account_id=self.account_id,
            quantity=-held.quantity,
            price=worth,
            fee=_ZERO,
        )
        identity = (self.frame.position.entry_id, instrument.id)
        self._record("expiry", identity, instrument, quantity=-held.quantity, price=worth, fee=_ZERO)

    def _record(
        self,
        kind: Literal["funding", "interest", "expiry"],
        identity: tuple[object, ...],
        instrument: Instrument,
        *,
        quantity: Decimal,
        price: Decimal,
        fee: Decimal,
    ) -> None:
        self.passed.fills.append(
            Fill(
                id=FillId(derived_id(kind, self.account_id, *identity)),
                portfolio_id=self.passed.portfolio.id,
                account_id=self.account_id,
                adjustment_id=None,
                leg=len(self.passed.fills),
                instrument=instrument.instrument_id,
                asset=instrument.settlement_asset,
                quantity=quantity,
                price=price,
                fee=fee,
                time_ns=self.frame.time_ns,
                kind=kind,
            )
        )

    def _tell(self, kind: EventType, what: dict[str, Any]) -> None:
        portfolio, account = self.passed.portfolio, self.account
        data = {
            "portfolio_id": str(portfolio.id),
            "account_id": str(account.id),
            "account": account.name,
            "market_position": self.frame.position.entry_id,
        }
        self.passed.events.append(
            NewEvent(kind, portfolio.tenant_id, portfolio.id, self.frame.time_ns, data | what)
        )


def settlement_price(instrument: Instrument, mark: Decimal) -> Decimal:
    """What a unit is worth at expiry, in the settlement asset for an option: the price it is closed at."""
    if instrument.kind is not InstrumentKind.OPTION or instrument.strike is None:
        return mark
    difference = mark - instrument.strike
    worth = max(difference if instrument.option_type is OptionType.CALL else -difference, _ZERO)
    return in_coin(worth, mark) if instrument.settlement is Settlement.INVERSE else worth


def _known(value: float) -> Decimal | None:
    return None if isnan(value) else price(value)


def _payment(
    held: Position, instrument: Instrument, mark: Decimal, rate: Decimal, paid: Decimal, boundary_ns: int
) -> dict[str, str]:
    return {
        "instrument": instrument.id,
        "boundary": rfc3339(boundary_ns),
        "rate": decimal_text(rate),
        "quantity": decimal_text(held.quantity),
        "price": decimal_text(mark),
        "paid": decimal_text(paid),
        "asset": instrument.settlement_asset,
    }


def _interest(held: Position, instrument: Instrument, added: Decimal, boundary_ns: int) -> dict[str, str]:
    return {
        "instrument": instrument.id,
        "boundary": rfc3339(boundary_ns),
        "rate_annual": decimal_text(instrument.interest_rate_annual(held.quantity)),
        "quantity": decimal_text(held.quantity),
        "added": decimal_text(added),
        "asset": instrument.settlement_asset,
    }


def _settlement(
    held: Position, instrument: Instrument, mark: Decimal, worth: Decimal, gained: Decimal
) -> dict[str, str]:
    return {
        "instrument": instrument.id,
        "quantity": decimal_text(held.quantity),
        "mark": decimal_text(mark),
        "price": decimal_text(worth),
        "gained": decimal_text(gained),
        "asset": instrument.settlement_asset,
    }
