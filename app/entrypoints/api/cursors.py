"""Opaque cursors: where a page ended, not to be read by clients."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Query

from app.domain.errors import InvalidInput
from app.domain.market import StreamPosition
from app.ports.management import Place

Limit = Annotated[int, Query(ge=1, le=500, description="Items of a page.")]
Cursor = Annotated[
    str | None, Query(max_length=400, description="`next_cursor` of the page before; the first when absent.")
]


def encode_place(place: Place | None) -> str | None:
    return None if place is None else _encode([place.created_at.isoformat(), str(place.id)])


def decode_place(cursor: str | None) -> Place | None:
    if cursor is None:
        return None
    try:
        created_at, id_ = _decode(cursor)
        moment = datetime.fromisoformat(created_at)
        if moment.tzinfo is None:
            raise _not_ours()
        return Place(moment, UUID(id_))
    except (ValueError, TypeError, AttributeError):
        raise _not_ours() from None


def encode_name(name: str) -> str:
    return _encode([name])


def decode_name(cursor: str | None) -> str | None:
    if cursor is None:
        return None
    match _decode(cursor):
        case [str(name)] if name.isprintable():
            return name
        case _:
            raise _not_ours()


def encode_number(number: int) -> str:
    return _encode([number])


def decode_number(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    match _decode(cursor):
        case [int(number)] if 0 <= number < 2**63:
            return number
        case _:
            raise _not_ours()


def encode_decision(position: StreamPosition, id_: UUID) -> str:
    return _encode([*position, str(id_)])


def decode_decision(cursor: str | None) -> tuple[StreamPosition, UUID] | None:
    if cursor is None:
        return None
    match _decode(cursor):
        case [int(generation), int(sequence), str(id_)] if max(generation, sequence) < 2**63:
            try:
                return StreamPosition(generation, sequence), UUID(id_)
            except ValueError:
                raise _not_ours() from None
        case _:
            raise _not_ours()


def _encode(parts: list[Any]) -> str:
    return urlsafe_b64encode(json.dumps(parts, separators=(",", ":")).encode()).rstrip(b"=").decode()


def _decode(cursor: str) -> Any:
    try:
        return json.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, RecursionError):
        raise _not_ours() from None


def _not_ours() -> InvalidInput:
    return InvalidInput("that cursor was not given out here")
