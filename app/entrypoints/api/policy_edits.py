"""Edits of policies, whoever set them. A version is an ETag, and no edit happens on one that was not seen."""

import re
from dataclasses import dataclass
from typing import Annotated, Protocol

from fastapi import Depends, Header
from starlette.exceptions import HTTPException
from starlette.responses import Response
from typing_extensions import TypedDict, Unpack

from app.entrypoints.api.dependencies import Deps
from app.entrypoints.api.writes import Answer, WritingOnce
from app.ports.management import Caller, UnitOfWork

_ETAG = re.compile(r'"([0-9]{1,9})"')


def expected_version(
    if_match: Annotated[
        str | None, Header(description="The ETag of the version meant.", examples=['"3"'])
    ] = None,
) -> int | None:
    if if_match is None or if_match.strip() == "*":
        return None
    match = _ETAG.fullmatch(if_match.strip())
    if match is None:
        raise HTTPException(400, 'If-Match takes one ETag as it was given out, like "3"')
    return int(match[1])


def required_version(
    version: Annotated[int | None, Depends(expected_version)],
    if_match: Annotated[str | None, Header()] = None,
) -> int | None:
    if if_match is None:
        raise HTTPException(428, "send If-Match with the ETag of the version that you change")
    return version


OptionalVersion = Annotated[int | None, Depends(expected_version)]
RequiredVersion = Annotated[int | None, Depends(required_version)]


class Setting(TypedDict):
    """Whether a policy is on, of which version that is said (None: any), and when."""

    enabled: bool
    expected_version: int | None
    time_ns: int


class SetEnabled(Protocol):
    async def __call__(self, unit: UnitOfWork, **setting: Unpack[Setting]) -> Answer: ...


@dataclass(frozen=True, slots=True)
class Switch:
    """A request that turns a policy on or off."""

    version: OptionalVersion
    deps: Deps
    writes: WritingOnce

    async def turn(self, caller: Caller, set_enabled: SetEnabled, *, enabled: bool) -> Response:
        time_ns = await self.deps.market.time_ns()

        async def work(unit: UnitOfWork) -> Answer:
            return await set_enabled(unit, enabled=enabled, expected_version=self.version, time_ns=time_ns)

        return await self.writes.run(caller, work)


Switching = Annotated[Switch, Depends(Switch)]
