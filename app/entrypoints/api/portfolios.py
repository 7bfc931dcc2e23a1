"""Routes of portfolios and of what they hold."""

from fastapi import APIRouter
from pydantic import ConfigDict
from redis.exceptions import RedisError
from starlette.responses import Response

from app.domain.identifiers import FillId, PortfolioId, derived_id
from app.domain.portfolios import PortfolioState
from app.entrypoints.api.cursors import (
    Cursor,
    Limit,
    decode_name,
    decode_place,
    encode_name,
    encode_place,
)
from app.entrypoints.api.dependencies import Deps, Reader, Trader
from app.entrypoints.api.schemas import Id, Listing, RecordedFill, ShownFill, ShownPortfolio
from app.entrypoints.api.strict_json import StrictRoute
from app.entrypoints.api.writes import Answer, Writing, WritingOnce
from app.ports.management import UnitOfWork
from app.services.documents import (
    CollateralDocument,
    Document,
    FillDocument,
    PortfolioDocument,
    SnapshotDocument,
    TransferDocument,
)
from app.services.manage_collateral import replace_collateral, transfer_collateral
from app.services.manage_portfolios import change_portfolio_state, create_portfolio, delete_portfolio
from app.services.record_fill import record_fill
from app.services.replace_positions import replace_positions
from app.services.show_risk import market_as_it_stands

router = APIRouter(prefix="/v1/portfolios", tags=["portfolios"], route_class=StrictRoute)


class StateDocument(Document):
    model_config = ConfigDict(json_schema_extra={"examples": [{"state": "reduce_only"}]})

    state: PortfolioState


@router.post("", status_code=201, response_model=ShownPortfolio)
async def create(document: PortfolioDocument, caller: Trader, deps: Deps, writes: WritingOnce) -> Response:
    try:
        time_ns = await deps.market.time_ns()
    except RedisError:  # then funding counts from the first frame that sees what it holds
        time_ns = 0

    async def work(unit: UnitOfWork) -> Answer:
        portfolio_id = PortfolioId(deps.new_id())
        portfolio = await create_portfolio(unit, caller.tenant_id, portfolio_id, document, time_ns=time_ns)
        return Answer(ShownPortfolio.of(portfolio), 201, {"Location": f"/v1/portfolios/{portfolio_id}"})

    return await writes.run(caller, work)


@router.get("")
async def list_page(
    caller: Reader, deps: Deps, limit: Limit = 50, cursor: Cursor = None
) -> Listing[ShownPortfolio]:
    """By name."""
    async with deps.units() as unit:
        found = await unit.portfolios.page(caller.tenant_id, after_name=decode_name(cursor), limit=limit + 1)
    following = encode_name(found[limit - 1].name) if len(found) > limit else None
    return Listing(items=[ShownPortfolio.of(p) for p in found[:limit]], next_cursor=following)


@router.get("/{portfolio_id}")
async def read(portfolio_id: Id, caller: Reader, deps: Deps) -> ShownPortfolio:
    async with deps.units() as unit:
        return ShownPortfolio.of(await unit.portfolios.get(caller.tenant_id, PortfolioId(portfolio_id)))


@router.patch("/{portfolio_id}", response_model=ShownPortfolio)
async def change_state(
    portfolio_id: Id, document: StateDocument, caller: Trader, deps: Deps, writes: Writing
) -> Response:
    time_ns = await deps.market.time_ns()

    async def work(unit: UnitOfWork) -> Answer:
        portfolio = await change_portfolio_state(
            unit, caller.tenant_id, PortfolioId(portfolio_id), document.state, time_ns=time_ns
        )
        return Answer(ShownPortfolio.of(portfolio))

    return await writes.run(caller, work)


@router.delete("/{portfolio_id}", status_code=204)
async def delete(portfolio_id: Id, caller: Trader, deps: Deps, writes: Writing) -> Response:
    time_ns = await deps.market.time_ns()

    async def work(unit: UnitOfWork) -> Answer:
        await delete_portfolio(unit, caller.tenant_id, PortfolioId(portfolio_id), time_ns=time_ns)
        return Answer(status=204)

    return await writes.run(caller, work)


@router.put("/{portfolio_id}/positions", response_model=ShownPortfolio)
async def put_positions(
    portfolio_id: Id, document: SnapshotDocument, caller: Trader, deps: Deps, writes: Writing
) -> Response:
    """Replaces the positions of one account; open recommendations of the portfolio are superseded."""
    time_ns = await deps.market.time_ns()

    async def work(unit: UnitOfWork) -> Answer:
        portfolio = await replace_positions(
            unit, caller.tenant_id, PortfolioId(portfolio_id), document, time_ns=time_ns
        )
        return Answer(ShownPortfolio.of(portfolio))

    return await writes.run(caller, work)


@router.post("/{portfolio_id}/fills", status_code=201, response_model=RecordedFill)
async def post_fill(
    portfolio_id: Id, document: FillDocument, caller: Trader, deps: Deps, writes: WritingOnce
) -> Response:
    """The same `Idempotency-Key` never trades twice, however long ago it was."""
    fill_id = FillId(derived_id("reported fill", portfolio_id, writes.key))
    time_ns = await deps.market.time_ns()

    async def work(unit: UnitOfWork) -> Answer:
        fill, revision = await record_fill(
            unit, caller.tenant_id, PortfolioId(portfolio_id), fill_id, document, time_ns=time_ns
        )
        return Answer(RecordedFill(fill=ShownFill.of(fill), revision=revision), 201)

    return await writes.run(caller, work)


@router.get("/{portfolio_id}/fills")
async def list_fills(
    portfolio_id: Id, caller: Reader, deps: Deps, limit: Limit = 50, cursor: Cursor = None
) -> Listing[ShownFill]:
    """Newest first; those of the executor, of liquidations, expiries and funding too."""
    async with deps.units() as unit:
        await unit.portfolios.get(caller.tenant_id, PortfolioId(portfolio_id))
        page = await unit.fills.page(
            caller.tenant_id, portfolio_id=PortfolioId(portfolio_id), after=decode_place(cursor), limit=limit
        )
    return Listing(
        items=[ShownFill.of(fill) for fill in page.items], next_cursor=encode_place(page.following)
    )


@router.put("/{portfolio_id}/collateral", response_model=ShownPortfolio)
async def put_collateral(
    portfolio_id: Id, document: CollateralDocument, caller: Trader, writes: Writing
) -> Response:
    async def work(unit: UnitOfWork) -> Answer:
        portfolio = await replace_collateral(unit, caller.tenant_id, PortfolioId(portfolio_id), document)
        return Answer(ShownPortfolio.of(portfolio))

    return await writes.run(caller, work)


@router.post("/{portfolio_id}/transfers", status_code=201, response_model=ShownPortfolio)
async def post_transfer(
    portfolio_id: Id, document: TransferDocument, caller: Trader, deps: Deps, writes: WritingOnce
) -> Response:
    """Moves collateral between accounts, or between an account and the reserve, and records it as a fill.

    An account gives no more than its initial margin leaves. The same `Idempotency-Key` never moves twice.
    """
    fill_id = FillId(derived_id("reported transfer", portfolio_id, writes.key))
    time_ns = await deps.market.time_ns()
    market = await market_as_it_stands(deps.units, deps.market) if time_ns else None

    async def work(unit: UnitOfWork) -> Answer:
        portfolio = await transfer_collateral(
            unit,
            caller.tenant_id,
            PortfolioId(portfolio_id),
            fill_id,
            document,
            market,
            time_ns=time_ns,
        )
        return Answer(ShownPortfolio.of(portfolio), 201)

    return await writes.run(caller, work)
