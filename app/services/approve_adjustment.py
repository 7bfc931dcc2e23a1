"""A client's yes or no to an adjustment. A yes is re-checked on the market of that moment."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from msgspec.structs import replace

from app.domain.adjustment_events import adjustment_event
from app.domain.adjustments import Adjustment, AdjustmentState, Leg, TradeLeg
from app.domain.errors import Conflict, NotFound, OperatorsOwn, PriceUnknown, Unavailable
from app.domain.identifiers import AdjustmentId, InstrumentId, TenantId
from app.domain.market import Change, Quality, TickKind, marked_by
from app.domain.policies import Guards, Mode
from app.domain.portfolios import Portfolio, PortfolioState
from app.domain.times import NS_PER_SECOND, rfc3339
from app.engine import rounding
from app.ports.management import AdjustmentRecord, MarketNow, UnitOfWork, UnitsOfWork
from app.services.supersede_adjustments import moved

_MARKS = (TickKind.MARK, TickKind.PRICE)
_UNFIT = frozenset(Quality) - {Quality.VALID}
_UNFIT_TO_REDUCE = frozenset({Quality.STALE_FOR_MARGIN, Quality.NON_POSITIVE})


@dataclass(frozen=True, slots=True)
class Quotes:
    """The market clock, and what each instrument of the plan is marked at by then."""

    time_ns: int
    prices: Mapping[InstrumentId, Change]


async def quote_adjustment(
    units: UnitsOfWork, market: MarketNow, tenant_id: TenantId, adjustment_id: AdjustmentId
) -> Quotes:
    """Read before the approving transaction, so that nobody waits for Redis under its locks."""
    async with units() as unit:
        record = await unit.adjustments.get(tenant_id, adjustment_id)
        names = {leg.instrument for leg in record.remaining if isinstance(leg, TradeLeg)}
        instruments = await unit.instruments.some(names)
    _, time_ns = await market.clock()
    sources = {name: str(instrument.price_source) for name, instrument in instruments.items()}
    values = await market.values({(kind, source) for kind in _MARKS for source in sources.values()})
    prices = {}
    for name, source in sources.items():
        known = [values[kind, source] for kind in _MARKS if (kind, source) in values]
        if known:
            prices[name] = marked_by(known[0], known[-1])
    return Quotes(time_ns, prices)


async def approve_adjustment(
    unit: UnitOfWork, tenant_id: TenantId, adjustment_id: AdjustmentId, quotes: Quotes
) -> AdjustmentRecord:
    """Recommended becomes approved and queued, on the prices of now."""
    portfolio, record = await _locked(unit, tenant_id, adjustment_id)
    approved = moved(record, AdjustmentState.APPROVED)
    _check_allowed(portfolio, record.adjustment, quotes.time_ns)
    maximum_age_ns = await _maximum_price_age_ns(unit, tenant_id, record.adjustment)
    approved = _restamped(approved, quotes, maximum_age_ns)
    queued = moved(approved, AdjustmentState.QUEUED)
    await unit.adjustments.save(queued, fill_time_ns=quotes.time_ns)
    await unit.append(
        [adjustment_event(tenant_id, step.adjustment, quotes.time_ns) for step in (approved, queued)]
    )
    await unit.portfolios.touch(portfolio.id)
    return queued


async def reject_adjustment(
    unit: UnitOfWork, tenant_id: TenantId, adjustment_id: AdjustmentId, *, because: str, time_ns: int
) -> AdjustmentRecord:
    portfolio, record = await _locked(unit, tenant_id, adjustment_id)
    if record.adjustment.operator and record.adjustment.mode == Mode.AUTO:
        raise OperatorsOwn(
            "a policy of the operator decided this; it is executed without the trader's consent"
        )
    rejected = moved(record, AdjustmentState.REJECTED, because or "rejected by the client")
    await unit.adjustments.save(rejected)
    await unit.append([adjustment_event(tenant_id, rejected.adjustment, time_ns, outcome=rejected.outcome)])
    await unit.portfolios.touch(portfolio.id)
    return rejected


async def _locked(
    unit: UnitOfWork, tenant_id: TenantId, adjustment_id: AdjustmentId
) -> tuple[Portfolio, AdjustmentRecord]:
    record = await unit.adjustments.get(tenant_id, adjustment_id)
    portfolio = await unit.portfolios.lock(tenant_id, record.adjustment.portfolio_id)
    return portfolio, await unit.adjustments.lock(tenant_id, adjustment_id)


def _check_allowed(portfolio: Portfolio, adjustment: Adjustment, time_ns: int) -> None:
    if adjustment.mode == Mode.RECOMMEND:
        raise Conflict(
            "its policy only recommends: act yourself and report the fills, or set its mode to confirm"
        )
    if time_ns >= adjustment.expires_at_ns:
        raise Conflict(
            f"it expired at {rfc3339(adjustment.expires_at_ns)}; the market clock shows {rfc3339(time_ns)}"
        )
    if portfolio.state is not PortfolioState.ACTIVE and not adjustment.risk_reducing:
        raise Conflict(f"the portfolio is {portfolio.state}, and this does not reduce risk")


async def _maximum_price_age_ns(unit: UnitOfWork, tenant_id: TenantId, adjustment: Adjustment) -> int:
    try:
        guards = (await unit.policies.get(tenant_id, adjustment.policy_id)).policy.guards
    except NotFound:
        guards = Guards()
    return guards.maximum_price_age_seconds * NS_PER_SECOND


def _restamped(record: AdjustmentRecord, quotes: Quotes, maximum_age_ns: int) -> AdjustmentRecord:
    """The same plan on the prices of now; an uncertain price does not block the way out of risk."""
    unfit = _UNFIT_TO_REDUCE if record.adjustment.risk_reducing else _UNFIT
    prices = {
        leg.instrument: _price(leg.instrument, quotes, maximum_age_ns, unfit)
        for leg in record.remaining
        if isinstance(leg, TradeLeg)
    }

    def restamp(leg: Leg) -> Leg:
        if isinstance(leg, TradeLeg) and leg.instrument in prices:
            return replace(leg, reference_price=prices[leg.instrument])
        return leg

    adjustment = replace(record.adjustment, legs=tuple(map(restamp, record.adjustment.legs)))
    return replace(record, adjustment=adjustment, remaining=tuple(map(restamp, record.remaining)))


def _price(
    instrument: InstrumentId, quotes: Quotes, maximum_age_ns: int, unfit: frozenset[Quality]
) -> Decimal:
    change = quotes.prices.get(instrument)
    if change is None:
        raise PriceUnknown(instrument)
    if change.quality in unfit or quotes.time_ns - change.time_ns > maximum_age_ns:
        raise Unavailable(
            f"the price of {instrument} is {change.quality.name.lower()}, of {rfc3339(change.time_ns)}: "
            "not good enough to act on"
        )
    return rounding.price(change.value)
