"""Every error as an RFC 9457 problem document. The only place that gives errors an HTTP status."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from redis.exceptions import RedisError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match, Route

from app.domain.errors import (
    AlreadyExists,
    BallastError,
    Conflict,
    Denied,
    IdempotencyConflict,
    IllegalTransition,
    InvalidInput,
    NotFound,
    NotPublisher,
    OperatorsOwn,
    PriceUnknown,
    RevisionMoved,
    Unavailable,
    VersionMoved,
)
from app.entrypoints.api.strict_json import FloatLiteral

MEDIA_TYPE = "application/problem+json"
_TYPE = "urn:ballast:problem:"
_RETRY_SECONDS = "1"
_log = structlog.get_logger(__name__)

STATUSES: dict[type[Exception], tuple[int, str, str]] = {
    InvalidInput: (422, "invalid-input", "The request cannot be meant like this"),
    NotFound: (404, "not-found", "No such thing"),
    VersionMoved: (412, "version-moved", "If-Match names another version"),
    RevisionMoved: (409, "revision-moved", "The portfolio changed meanwhile"),
    IllegalTransition: (409, "illegal-transition", "The state does not allow that"),
    AlreadyExists: (409, "already-exists", "It exists already"),
    Conflict: (409, "conflict", "It does not fit the present state"),
    OperatorsOwn: (403, "operators-own", "It is the operator's"),
    NotPublisher: (403, "not-publisher", "The source is not the tenant's to speak for"),
    Denied: (403, "denied", "The key lacks a scope"),
    PriceUnknown: (503, "price-unknown", "A price is not known yet"),
    Unavailable: (503, "unavailable", "A part that is needed is away"),
    BallastError: (500, "internal", "Something is wrong here"),
}
_IDEMPOTENCY = {
    "in_flight": (409, "idempotency-in-flight", "A request with this key is being served"),
    "other_body": (422, "idempotency-other-request", "This key was used for another request"),
}
_TITLES = {
    400: ("bad-request", "The request is malformed"),
    401: ("unauthenticated", "A valid API key is needed"),
    404: ("not-found", "No such thing"),
    405: ("method-not-allowed", "This method is not served here"),
    413: ("too-large", "The body is too large"),
    415: ("unsupported-media-type", "The body is not JSON"),
    428: ("precondition-required", "If-Match is needed"),
}

_WORDS = {
    "missing": "is needed",
    "extra_forbidden": "is not known here",
    "model_type": "an object is needed",
    "model_attributes_type": "an object is needed",
    "union_tag_not_found": "is needed",
    "union_tag_invalid": "{tag!r} is none of {expected_tags}",
    "tuple_type": "an array is needed",
    "too_short": "at least {min_length} needed",
    "too_long": "at most {max_length} are taken",
}
"""Where the validator speaks of its own types and not of what was sent."""


class Unauthenticated(HTTPException):
    def __init__(self, detail: str) -> None:
        super().__init__(401, detail, {"WWW-Authenticate": 'Bearer realm="ballast"'})


class ErrorPlace(BaseModel):
    """One thing that is wrong, and where."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"pointer": "/band", "detail": "Input should be greater than 0", "in": "body"}]
        }
    )

    pointer: str = Field(
        description="JSON pointer into the body, or the name of the parameter after a slash."
    )
    detail: str
    location: str = Field(alias="in", description="body, query, path or header")


class Problem(BaseModel):
    """RFC 9457 problem details."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:ballast:problem:invalid-input",
                    "title": "The request cannot be meant like this",
                    "status": 422,
                    "detail": "no instrument BTC-PERP",
                    "instance": "/v1/portfolios",
                    "errors": [{"pointer": "/hedge_instruments/0", "detail": "no instrument", "in": "body"}],
                }
            ]
        }
    )

    type: str
    title: str
    status: int
    detail: str
    instance: str = Field(description="The path that was asked.")
    errors: list[ErrorPlace] | None = None


def problem_response(
    request: Request,
    status: int,
    code: str,
    title: str,
    detail: str,
    *,
    errors: Iterable[ErrorPlace] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    document = Problem(
        type=_TYPE + code,
        title=title,
        status=status,
        detail=detail,
        instance=request.url.path,
        errors=None if errors is None else list(errors),
    )
    body = document.model_dump_json(exclude_none=True, by_alias=True).encode("utf-8", "replace")
    return Response(body, status, dict(headers or {}), MEDIA_TYPE)


def install_problems(app: FastAPI, routes: Sequence[Route]) -> None:
    """`routes` are those of the API: whoever asks for a method that a path has not is told the others."""
    app.add_exception_handler(BallastError, _ballast)
    app.add_exception_handler(HTTPException, partial(_http, routes=routes))
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(RedisError, _redis)
    app.add_exception_handler(Exception, _unexpected)


async def _ballast(request: Request, error: Exception) -> Response:
    status, code, title = status_of(error)
    errors = None
    if isinstance(error, InvalidInput) and error.path:
        errors = [ErrorPlace.model_validate({"pointer": error.path, "detail": str(error), "in": "body"})]
    again = status == 503 or code == _IDEMPOTENCY["in_flight"][1]
    headers = {"Retry-After": _RETRY_SECONDS} if again else None
    if status == 500:
        _log.error("request_failed", path=request.url.path, exc_info=error)
        return problem_response(request, status, code, title, "it was logged")
    return problem_response(request, status, code, title, str(error), errors=errors, headers=headers)


def status_of(error: Exception) -> tuple[int, str, str]:
    """Status, code and title."""
    if isinstance(error, IdempotencyConflict):
        return _IDEMPOTENCY[error.reason]
    return next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)


async def _http(request: Request, error: Exception, *, routes: Sequence[Route]) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for nothing else
    code, title = _TITLES.get(error.status_code, ("refused", "The request is refused"))
    detail, headers = error.detail, error.headers
    if error.status_code == 405:
        served = _methods_served(request, routes)
        detail, headers = f"this path takes {served}", {"Allow": served}
    return problem_response(request, error.status_code, code, title, detail, headers=headers)


def _methods_served(request: Request, routes: Sequence[Route]) -> str:
    """By every route of the path: the router itself names those of the first."""
    matching = (route for route in routes if route.matches(request.scope)[0] is not Match.NONE)
    return ", ".join(sorted({method for route in matching for method in route.methods or ()}))


async def _validation(request: Request, error: Exception) -> Response:
    """A header that is missing or malformed makes the request so, before anything in it is looked at."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for nothing else
    errors = [_place(item, error.body) for item in error.errors()]
    headers = [place for place in errors if place.location == "header"]
    if headers:
        return problem_response(request, 400, *_TITLES[400], _in_words(headers), errors=headers)
    return problem_response(request, *STATUSES[InvalidInput], _in_words(errors), errors=errors)


def _in_words(places: Sequence[ErrorPlace]) -> str:
    if len(places) > 1:
        return f"{len(places)} parts of the request are wrong"
    (place,) = places
    return f"{' '.join(filter(None, (place.location, place.pointer)))}: {place.detail}"


def _place(item: Mapping[str, Any], body: Any) -> ErrorPlace:
    location, *parts = item["loc"]
    if location == "body":
        parts = list(_without_tags(parts, body))
    if str(item["type"]).startswith("union_tag"):
        parts.append("kind")
    pointer = "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)
    return ErrorPlace.model_validate({"pointer": pointer, "detail": _detail(item), "in": location})


def _without_tags(parts: Iterable[Any], value: Any) -> Iterable[Any]:
    """Pydantic names the chosen member of a union in the place; the document has no such level."""
    for part in parts:
        if isinstance(value, dict) and part not in value and value.get("kind") == part:
            continue
        yield part
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            value = None


def _detail(item: Mapping[str, Any]) -> str:
    if isinstance(item.get("input"), FloatLiteral):
        if str(item["type"]).startswith("int"):
            return "a whole number is needed"
        return 'a JSON number with a fraction or exponent is not exact; send a string like "1.5"'
    words = _WORDS.get(str(item["type"]))
    if words is not None:
        return words.format_map(item.get("ctx", {}))
    return str(item["msg"]).removeprefix("Value error, ")


async def _redis(request: Request, error: Exception) -> Response:
    return await _ballast(request, redis_away(error))


def redis_away(error: Exception) -> Unavailable:
    """What a client is told of it; the reason is for the log."""
    _log.warning("redis_away", reason=repr(error))
    return Unavailable("the market is away; try again")


async def _unexpected(request: Request, error: Exception) -> Response:
    _log.error("request_failed", path=request.url.path, exc_info=error)
    return problem_response(request, *STATUSES[BallastError], "it was logged")
