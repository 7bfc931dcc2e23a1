"""Instruments: one list for everybody."""

from collections.abc import Collection

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.adapters.postgres.tables.market import instruments
from app.domain.errors import NotFound
from app.domain.identifiers import InstrumentId
from app.domain.instruments import Instrument


class InstrumentRows:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def all(self) -> list[Instrument]:
        terms = await self._connection.scalars(select(instruments.c.terms).order_by(instruments.c.id))
        return [Instrument.model_validate_json(document) for document in terms]

    async def some(self, ids: Collection[str]) -> dict[InstrumentId, Instrument]:
        """Unknown ones are absent."""
        terms = await self._connection.scalars(
            select(instruments.c.terms).where(instruments.c.id.in_(sorted(ids)))
        )
        found = [Instrument.model_validate_json(document) for document in terms]
        return {instrument.instrument_id: instrument for instrument in found}

    async def get(self, instrument_id: str) -> Instrument:
        found = await self.some([instrument_id])
        if not found:
            raise NotFound("instrument", instrument_id)
        return found[InstrumentId(instrument_id)]

    async def add(self, instrument: Instrument) -> bool:
        done = await self._connection.execute(
            insert(instruments)
            .values(**_row(instrument))
            .on_conflict_do_nothing()
            .returning(instruments.c.id)
        )
        return done.one_or_none() is not None

    async def replace(self, instrument: Instrument) -> None:
        await self._connection.execute(
            update(instruments).where(instruments.c.id == instrument.id).values(**_row(instrument))
        )


def _row(instrument: Instrument) -> dict[str, object]:
    return {
        "id": instrument.id,
        "kind": instrument.kind.value,
        "underlying": instrument.underlying,
        "terms": instrument.model_dump(mode="json"),
    }
