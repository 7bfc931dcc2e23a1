"""A snapshot: what an account holds, as its owner sees it. It replaces what was believed before."""

from msgspec.structs import replace

from app.domain.errors import Conflict, InvalidInput
from app.domain.identifiers import PortfolioId, TenantId
from app.domain.portfolios import Portfolio
from app.domain.times import NS_PER_SECOND, rfc3339, to_ns
from app.ports.management import UnitOfWork
from app.services.documents import SnapshotDocument
from app.services.manage_portfolios import account_named, check_positions, positions_of
from app.services.supersede_adjustments import RECOMMENDED, supersede_adjustments

FUTURE_TOLERANCE_NS = 5 * NS_PER_SECOND
"""A client's clock may lead the market clock by so much; further, and it would shut later snapshots out."""


async def replace_positions(
    unit: UnitOfWork,
    tenant_id: TenantId,
    portfolio_id: PortfolioId,
    document: SnapshotDocument,
    *,
    time_ns: int,
) -> Portfolio:
    """`time_ns` is the market clock, 0 before the market's first frame."""
    portfolio = await unit.portfolios.lock(tenant_id, portfolio_id)
    account = account_named(portfolio, document.account, "/account")
    await check_positions(unit, account.margin_mode, document.positions, "/positions")
    as_of_ns = time_ns if document.as_of is None else to_ns(document.as_of)
    if time_ns and as_of_ns > time_ns + FUTURE_TOLERANCE_NS:
        raise InvalidInput(
            f"as_of lies in the future: the market clock shows {rfc3339(time_ns)}", path="/as_of"
        )
    stated_ns = await unit.portfolios.positions_as_of_ns(account.id)
    newest_ns = max(stated_ns, await unit.fills.newest_ns(account.id))
    if as_of_ns < newest_ns:
        raise Conflict(
            f"as_of {rfc3339(as_of_ns)} is older than what is known of {account.name!r}: {rfc3339(newest_ns)}"
        )
    stated = tuple(
        replace(position, accrued_ns=account.position(position.instrument).accrued_ns or position.accrued_ns)
        for position in positions_of(document.positions, opened_ns=time_ns)
    )
    after = portfolio.with_account(replace(account, positions=stated))
    await unit.portfolios.write_holdings(portfolio, after)
    await unit.portfolios.set_positions_as_of(account.id, as_of_ns)
    await supersede_adjustments(
        unit, portfolio, states=RECOMMENDED, because="a newer position snapshot came", time_ns=time_ns
    )
    return replace(after, revision=await unit.portfolios.touch(portfolio_id))
