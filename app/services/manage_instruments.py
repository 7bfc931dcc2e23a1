"""Instruments: what can be held and traded, the same for every tenant."""

from app.domain.errors import AlreadyExists, Conflict, InvalidInput
from app.domain.instruments import Instrument
from app.ports.management import UnitOfWork
from app.services.documents import check_decimals

_FIXED = (
    "kind", "settlement", "underlying", "quote", "multiplier", "strike", "expiry", "option_type",
)  # fmt: skip


async def create_instrument(unit: UnitOfWork, instrument: Instrument) -> None:
    await _check(unit, instrument)
    if not await unit.instruments.add(instrument):
        raise AlreadyExists(f"there is an instrument {instrument.id} already; PUT changes its terms")


async def put_instrument(unit: UnitOfWork, instrument: Instrument) -> bool:
    """True when it was created. What positions are counted in cannot change under them."""
    await _check(unit, instrument)
    if await unit.instruments.add(instrument):
        return True
    stored = await unit.instruments.get(instrument.id)
    for term in _FIXED:
        if getattr(stored, term) != getattr(instrument, term):
            raise Conflict(f"{term} of {instrument.id} is {getattr(stored, term)} for good; use another id")
    if stored != instrument:
        await unit.portfolios.touch_all_using(instrument.id)
        await unit.instruments.replace(instrument)
    return False


async def _check(unit: UnitOfWork, instrument: Instrument) -> None:
    check_decimals(instrument)
    marker = instrument.marked_by
    if marker in (None, instrument.id):
        return
    marking = (await unit.instruments.some([marker])).get(instrument.price_source)
    if marking is None:
        raise InvalidInput(f"no instrument {marker}", path="/marked_by")
    if marking.underlying != instrument.underlying:
        raise InvalidInput(f"{marker} is a price of {marking.underlying}", path="/marked_by")
