"""Routes of the market as it stands."""

from fastapi import APIRouter

from app.domain.market import TickKind
from app.entrypoints.api.dependencies import Deps, InstrumentPath, Reader
from app.entrypoints.api.schemas import ShownMarket
from app.entrypoints.api.strict_json import StrictRoute

router = APIRouter(prefix="/v1/market", tags=["market"], route_class=StrictRoute)

_KINDS = tuple(kind for kind in TickKind if kind is not TickKind.HEARTBEAT)


@router.get("")
async def read_all(_: Reader, deps: Deps) -> ShownMarket:
    """Every consensus value, with its quality and its age by the market clock."""
    position, clock_ns = await deps.market.clock()
    return ShownMarket.of(await deps.market.everything(), position.entry_id, clock_ns)


@router.get("/{instrument_id:path}")
async def read_one(instrument_id: InstrumentPath, _: Reader, deps: Deps) -> ShownMarket:
    """Of an instrument, or of an index of stress, which need not be listed."""
    known = await deps.market.values([(kind, instrument_id) for kind in _KINDS])
    if (TickKind.STRESS, instrument_id) not in known:
        async with deps.units() as unit:
            await unit.instruments.get(instrument_id)
    position, clock_ns = await deps.market.clock()
    return ShownMarket.of(list(known.values()), position.entry_id, clock_ns)
