"""Routes of instruments. They are the same for every tenant."""

from fastapi import APIRouter
from starlette.responses import Response

from app.domain.errors import InvalidInput
from app.domain.instruments import Instrument
from app.entrypoints.api.dependencies import Administrator, Deps, InstrumentPath, Reader
from app.entrypoints.api.schemas import Listing
from app.entrypoints.api.strict_json import StrictRoute
from app.entrypoints.api.writes import Answer, Writing, WritingOnce
from app.ports.management import UnitOfWork
from app.services.manage_instruments import create_instrument, put_instrument

router = APIRouter(prefix="/v1/instruments", tags=["instruments"], route_class=StrictRoute)


@router.post("", status_code=201, response_model=Instrument)
async def create(instrument: Instrument, caller: Administrator, writes: WritingOnce) -> Response:
    async def work(unit: UnitOfWork) -> Answer:
        await create_instrument(unit, instrument)
        return Answer(instrument, 201, {"Location": f"/v1/instruments/{instrument.id}"})

    return await writes.run(caller, work)


@router.put("/{instrument_id:path}", response_model=Instrument)
async def put(
    instrument_id: InstrumentPath, instrument: Instrument, caller: Administrator, writes: Writing
) -> Response:
    """Creates it, or changes margins, fees and steps. What positions are counted in stays."""
    if instrument.id != instrument_id:
        raise InvalidInput(f"the path names {instrument_id}", path="/id")

    async def work(unit: UnitOfWork) -> Answer:
        created = await put_instrument(unit, instrument)
        return Answer(instrument, 201 if created else 200)

    return await writes.run(caller, work)


@router.get("")
async def list_all(_: Reader, deps: Deps) -> Listing[Instrument]:
    async with deps.units() as unit:
        return Listing(items=await unit.instruments.all())


@router.get("/{instrument_id:path}")
async def read(instrument_id: InstrumentPath, _: Reader, deps: Deps) -> Instrument:
    async with deps.units() as unit:
        return await unit.instruments.get(instrument_id)
