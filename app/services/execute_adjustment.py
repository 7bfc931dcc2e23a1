"""Takes queued adjustments, has venues fill their legs, and settles what came of it: each exactly once.

A leg's client order id is derived from its adjustment, so the venue recognises an order that it saw before.
Whenever an order may have been sent already (its answer was lost, or whoever sent it died) the venue is asked
first. What is still unknown after that stays `executing`; its lease runs out and somebody asks again.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import assert_never

from msgspec.structs import replace

from app.domain.adjustments import AdjustmentState, Fill, Leg, LendingLeg, TradeLeg, TransferLeg
from app.domain.errors import Fenced, InvalidInput, RevisionMoved
from app.domain.identifiers import AccountId, FillId, InstrumentId, PortfolioId, derived_id
from app.domain.instruments import Instrument
from app.domain.portfolios import Portfolio, PortfolioState
from app.engine.fills import Unfillable, apply_trade, apply_transfer, fitted
from app.engine.loans import apply_lending
from app.ports.execution import (
    Announcer,
    Claimed,
    Claims,
    ExecutionStore,
    Filled,
    LendingOrder,
    MarketClock,
    NeverArrived,
    Order,
    Refused,
    Settlement,
    Throttled,
    TradeOrder,
    TransferOrder,
    Unanswered,
    Venue,
)

_SENDINGS = 3  # of one order, with a question in between
_READINGS = 8  # of a portfolio that others keep changing
_ASK_AGAIN = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Settled:
    state: AdjustmentState


@dataclass(frozen=True, slots=True)
class Postponed:
    """Not finished, and put back. `throttled`: the venue wants no further orders before `after` either."""

    after: timedelta
    throttled: bool


@dataclass(frozen=True, slots=True)
class Lost:
    """Somebody else finished it or has it now."""


Outcome = Settled | Postponed | Lost


@dataclass(slots=True)
class _Progress:
    """What became of the legs so far, and of the portfolio."""

    after: Portfolio
    fills: list[Fill] = field(default_factory=list)
    remaining: list[Leg] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)


class ExecuteAdjustments:
    """`venues` by the name that accounts give theirs."""

    def __init__(
        self,
        *,
        store: ExecutionStore,
        venues: Mapping[str, Venue],
        announcer: Announcer,
        clock: MarketClock,
        limit: int = 16,
    ) -> None:
        self._store = store
        self._venues = venues
        self._announcer = announcer
        self._clock = clock
        self._limit = limit
        self._instruments: Mapping[InstrumentId, Instrument] = {}
        self._portfolios: dict[PortfolioId, Portfolio] = {}

    async def take_back(self) -> None:
        await self._store.take_back()

    async def claim(self) -> Claims:
        """The most urgent work, with all that it needs read in bulk."""
        claims = await self._store.claim(clock_ns=await self._clock.now_ns(), limit=self._limit)
        await self._announcer.announce(claims.events, claims.released)
        if claims.work:
            legs = [leg for work in claims.work for leg in work.adjustment.legs]
            traded = {leg.instrument for leg in legs if not isinstance(leg, TransferLeg)}
            self._instruments = await self._store.instruments(traded)
            ids = {work.adjustment.portfolio_id for work in claims.work}
            self._portfolios = dict(await self._store.portfolios(ids))
        return claims

    async def execute(self, work: Claimed, *, clock_ns: int) -> Outcome:
        """One claimed adjustment: to its end, or put back as a whole until every order's fate is known."""
        unsure = work.resumed
        for _ in range(_READINGS):
            portfolio = await self._portfolio(work)
            remaining = _remaining(portfolio, work)
            if portfolio is None or remaining is None:
                return Lost()
            result = await self._fill(work, portfolio, remaining, unsure=unsure, clock_ns=clock_ns)
            if not isinstance(result, _Progress):
                return await self._postponed(work, result)
            try:
                return await self._settle(work, portfolio, remaining, result)
            except RevisionMoved:
                unsure = True
            except Fenced:
                return Lost()
        return await self._postponed(work, Unanswered("its portfolio kept changing"))

    async def give_up(self, work: Claimed, reason: str) -> Outcome:
        """Ends work that cannot be executed, leaving the portfolio's holdings as they are."""
        portfolio = await self._portfolio(work)
        remaining = _remaining(portfolio, work)
        if portfolio is None or remaining is None:
            return Lost()
        progress = _Progress(portfolio, remaining=list(remaining), reasons=[reason])
        return await self._settle(work, portfolio, remaining, progress)

    async def put_back(self, works: Sequence[Claimed], *, after: timedelta) -> None:
        await self._store.put_back([work.adjustment.id for work in works], after=after)

    async def _portfolio(self, work: Claimed) -> Portfolio | None:
        """As read with the claim, the first time; anew after that."""
        key = work.adjustment.portfolio_id
        if (read_in_bulk := self._portfolios.pop(key, None)) is not None:
            return read_in_bulk
        return (await self._store.portfolios([key])).get(key)

    async def _fill(
        self, work: Claimed, portfolio: Portfolio, remaining: Sequence[Leg], *, unsure: bool, clock_ns: int
    ) -> _Progress | Throttled | Unanswered:
        progress = _Progress(portfolio)
        blocked: str | None
        forbidden = _forbidden(work, portfolio, clock_ns)
        for number, leg in _numbered(work.adjustment.legs, remaining):
            fitting = fitted(progress.after, leg, self._instruments)
            if isinstance(fitting, Unfillable):
                order, blocked = self._order(work, number, leg), fitting.reason
            else:
                order, blocked = self._order(work, number, fitting), forbidden
            report = await self._send(portfolio, order, unsure=unsure, blocked=blocked)
            match report:
                case Filled():
                    _book(progress, work, order, report, number=number, planned=leg)
                case Refused():
                    progress.remaining.append(leg)
                    progress.reasons.append(f"leg {number}: {report.reason}")
                case Throttled() | Unanswered():
                    return report
                case _:
                    assert_never(report)
        return progress

    def _order(self, work: Claimed, number: int, leg: Leg) -> Order:
        client_order_id = FillId(derived_id("fill", work.adjustment.id, number))
        match leg:
            case TradeLeg():
                return TradeOrder(client_order_id, leg, self._instruments[leg.instrument])
            case TransferLeg():
                return TransferOrder(client_order_id, leg)
            case LendingLeg():
                return LendingOrder(client_order_id, leg, self._instruments[leg.instrument])
            case _:
                assert_never(leg)

    async def _send(
        self, portfolio: Portfolio, order: Order, *, unsure: bool, blocked: str | None
    ) -> Filled | Refused | Throttled | Unanswered:
        """Asks first where the order may have been sent; sends it where it is not `blocked`."""
        ordered_in = _ordered_in(order.leg)
        account = next((a for a in portfolio.accounts if a.id == ordered_in), None)
        if account is None:
            return Refused("its account is gone")
        venue = self._venues.get(account.venue)
        if venue is None:
            return Refused(f"there is no connection to the venue {account.venue}")
        unanswered = Unanswered("it was not sent")
        for _ in range(_SENDINGS):
            if unsure:
                found = await venue.find(order)
                if not isinstance(found, NeverArrived):
                    return found
            if blocked is not None:
                return Refused(blocked)
            answer = await venue.execute(order)
            if not isinstance(answer, Unanswered):
                return answer
            unanswered, unsure = answer, True
        return unanswered

    async def _settle(
        self, work: Claimed, portfolio: Portfolio, remaining: Sequence[Leg], progress: _Progress
    ) -> Settled:
        settlement = Settlement(
            claimed=work,
            before=portfolio,
            after=progress.after,
            fills=tuple(progress.fills),
            remaining=tuple(progress.remaining),
            state=_ending(work, remaining, progress),
            outcome="; ".join(progress.reasons),
        )
        events = await self._store.settle(settlement)
        await self._announcer.announce(events, [portfolio.id])
        return Settled(settlement.state)

    async def _postponed(self, work: Claimed, reason: Throttled | Unanswered) -> Postponed:
        throttled = isinstance(reason, Throttled)
        after = reason.retry_after if isinstance(reason, Throttled) else _ASK_AGAIN
        await self.put_back([work], after=after)
        return Postponed(after, throttled=throttled)


def _remaining(portfolio: Portfolio | None, work: Claimed) -> tuple[Leg, ...] | None:
    """Its unfilled legs; none when it is not being executed any more."""
    open_ones = portfolio.in_flight if portfolio else ()
    executing = (a for a in open_ones if a.id == work.adjustment.id and a.state is AdjustmentState.EXECUTING)
    return next((adjustment.remaining for adjustment in executing), None)


def _forbidden(work: Claimed, portfolio: Portfolio, clock_ns: int) -> str | None:
    """Why nothing more of it may be sent. What reduces risk passes a halt, but not its expiry."""
    if portfolio.state is not PortfolioState.ACTIVE and not work.adjustment.risk_reducing:
        return f"its portfolio is {portfolio.state}, and it does not reduce risk"
    if work.adjustment.expires_at_ns <= clock_ns:
        return "its time passed before it was sent"
    return None


def _numbered(planned: Sequence[Leg], remaining: Sequence[Leg]) -> Iterator[tuple[int, Leg]]:
    """Remaining legs with their place in the plan: the same leg, or what is left of it."""
    free = dict(enumerate(planned))
    for leg in remaining:
        number = next(
            (n for n, p in free.items() if p == leg),
            next((n for n, p in free.items() if _target(p) == _target(leg)), None),
        )
        if number is None:
            raise InvalidInput(f"remaining {leg} was never planned")
        del free[number]
        yield number, leg


def _ordered_in(leg: Leg) -> AccountId | None:
    """Whose venue is asked: collateral is sent by the account it leaves, and taken in from the reserve."""
    if isinstance(leg, TransferLeg) and leg.source is not None:
        return leg.source
    return leg.account_id


def _target(leg: Leg) -> tuple[object, ...]:
    match leg:
        case TradeLeg():
            return (leg.type, leg.account_id, leg.instrument)
        case TransferLeg():
            return (leg.type, leg.account_id, leg.source, leg.asset)
        case LendingLeg():
            return (leg.type, leg.account_id, leg.instrument, leg.action)
        case _:
            assert_never(leg)


def _book(
    progress: _Progress, work: Claimed, order: Order, filled: Filled, *, number: int, planned: Leg
) -> None:
    """Adds a fill to what was done; what it lacks of the planned leg remains."""
    progress.after = _filled(progress.after, order, filled, time_ns=work.time_ns)
    progress.fills.append(
        Fill(
            id=order.client_order_id,
            portfolio_id=work.adjustment.portfolio_id,
            account_id=order.leg.account_id,
            adjustment_id=work.adjustment.id,
            leg=number,
            instrument=None if isinstance(order, TransferOrder) else order.instrument.instrument_id,
            asset=order.asset,
            quantity=_change(order, filled),
            price=filled.price,
            fee=filled.fee,
            time_ns=work.time_ns,
            kind=order.leg.type,
            source=order.leg.source if isinstance(order, TransferOrder) else None,
        )
    )
    rest = _less(planned, filled.quantity)
    if rest is not None:
        progress.remaining.append(rest)
        progress.reasons.append(f"leg {number}: filled {filled.quantity:f}, which is not all")


def _change(order: Order, filled: Filled) -> Decimal:
    """What the fill says: a lending position falls by what is withdrawn or borrowed."""
    return order.leg.action.sign * filled.quantity if isinstance(order, LendingOrder) else filled.quantity


def _filled(portfolio: Portfolio, order: Order, filled: Filled, *, time_ns: int) -> Portfolio:
    match order:
        case TransferOrder(leg=leg):
            return apply_transfer(
                portfolio,
                account_id=leg.account_id,
                asset=leg.asset,
                amount=filled.quantity,
                source=leg.source,
                fee=filled.fee,
            )
        case LendingOrder():
            return apply_lending(
                portfolio,
                instrument=order.instrument,
                account_id=order.leg.account_id,
                quantity=_change(order, filled),
                fee=filled.fee,
                time_ns=time_ns,
            )
        case TradeOrder():
            return apply_trade(
                portfolio,
                instrument=order.instrument,
                account_id=order.leg.account_id,
                quantity=filled.quantity,
                price=filled.price,
                fee=filled.fee,
                time_ns=time_ns,
            )
        case _:
            assert_never(order)


def _less(leg: Leg, quantity: Decimal) -> Leg | None:
    if isinstance(leg, TradeLeg):
        return replace(leg, quantity=leg.quantity - quantity) if quantity != leg.quantity else None
    return replace(leg, amount=leg.amount - quantity) if quantity != leg.amount else None


def _ending(work: Claimed, remaining: Sequence[Leg], progress: _Progress) -> AdjustmentState:
    if not progress.remaining:
        return AdjustmentState.EXECUTED
    filled_before = tuple(remaining) != work.adjustment.legs
    if progress.fills or filled_before:
        return AdjustmentState.PARTIALLY_EXECUTED
    return AdjustmentState.FAILED
