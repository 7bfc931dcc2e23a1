"""Writes: one request is one transaction, and a POST with its `Idempotency-Key` happens once."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Annotated

from fastapi import Depends, Header, Request
from pydantic import BaseModel
from starlette.responses import Response

from app.entrypoints.api.dependencies import Deps
from app.ports.management import Caller, StoredAnswer, UnitOfWork, UnitsOfWork

_KEY_CHARACTERS = 255

IdempotencyKey = Annotated[
    str,
    Header(
        min_length=1,
        max_length=_KEY_CHARACTERS,
        pattern=r"^[\x20-\x7e]+$",
        description="The same key with the same request happens once, and is answered the same.",
        examples=["4f0c2b1e"],
    ),
]


@dataclass(frozen=True, slots=True)
class Answer:
    """`kept` is stored for a repeated request in place of `body`, where that holds a secret."""

    body: BaseModel | None = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    kept: BaseModel | None = None


@dataclass(frozen=True, slots=True)
class Writes:
    request: Request
    units: UnitsOfWork
    key: str | None = None

    async def run(self, caller: Caller, work: Callable[[UnitOfWork], Awaitable[Answer]]) -> Response:
        """What `work` did and answered is committed together, before anything is sent."""
        if self.key is None:
            async with self.units() as unit:
                return _response(_stored(await work(unit), kept=False))
        path, query = self.request.url.path, self.request.url.query
        fingerprint = fingerprint_of(f"{path}?{query}", await self.request.body(), self.request.method)
        answer, replayed = await once(self.units, caller, self.key, fingerprint, work)
        return _response(answer, {"Idempotency-Replayed": "true"} if replayed else None)


async def once(
    units: UnitsOfWork,
    caller: Caller,
    key: str,
    fingerprint: bytes,
    work: Callable[[UnitOfWork], Awaitable[Answer]],
) -> tuple[StoredAnswer, bool]:
    """The answer, and whether it is that of an earlier request with the same key."""
    async with units() as unit:
        earlier = await unit.idempotency.claim(caller.tenant_id, key, fingerprint)
        if earlier is not None:
            return earlier, True
        answer = await work(unit)
        await unit.idempotency.store(caller.tenant_id, key, fingerprint, _stored(answer, kept=True))
        return _stored(answer, kept=False), False


def fingerprint_of(target: str, body: bytes, method: str = "POST") -> bytes:
    """What makes two requests the same: `target` is path and query."""
    return sha256(f"{method} {target}\n".encode() + body).digest()


async def writes_of(request: Request, deps: Deps) -> Writes:
    return Writes(request, deps.units)


async def single_writes_of(request: Request, deps: Deps, idempotency_key: IdempotencyKey) -> Writes:
    return Writes(request, deps.units, idempotency_key)


Writing = Annotated[Writes, Depends(writes_of)]
"""PUT, PATCH and DELETE: done twice, they have done the same."""
WritingOnce = Annotated[Writes, Depends(single_writes_of)]
"""POST."""


def _stored(answer: Answer, *, kept: bool) -> StoredAnswer:
    body = answer.kept if kept and answer.kept is not None else answer.body
    encoded = b"" if body is None else body.model_dump_json(by_alias=True).encode()
    return StoredAnswer(answer.status, encoded, dict(answer.headers))


def _response(answer: StoredAnswer, more_headers: Mapping[str, str] | None = None) -> Response:
    headers = answer.headers | dict(more_headers or {})
    if not answer.body:
        return Response(status_code=answer.status, headers=headers)
    return Response(answer.body, answer.status, headers, "application/json")
