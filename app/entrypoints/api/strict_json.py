"""JSON as the API takes it: nothing ambiguous, nothing inexact, nothing that could hurt whoever reads it."""

import json
import re
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

MAXIMUM_DEPTH = 32
_BRACKETS = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)
"""Outside of strings: these are passed over whole, and the last one need not end."""


class FloatLiteral:
    """A JSON number with a fraction or an exponent. No field takes one, so its place is reported."""

    def __init__(self, text: str) -> None:
        self.text = text


class MalformedBody(HTTPException):
    def __init__(self, detail: str) -> None:
        super().__init__(400, detail)


def parse(body: bytes) -> Any:
    _check_depth(body)
    try:
        document = json.loads(
            body.decode("utf-8"),
            parse_float=FloatLiteral,
            parse_constant=_no_constant,
            object_pairs_hook=_distinct,
        )
    except UnicodeDecodeError:
        raise MalformedBody("not UTF-8") from None
    except json.JSONDecodeError as error:
        raise MalformedBody(f"not JSON: {error.msg} at character {error.pos}") from None
    except ValueError:  # what is left: an integer of more digits than Python converts
        raise MalformedBody("an integer with too many digits") from None
    _check(document)
    return document


def _check_depth(body: bytes) -> None:
    """Before it is parsed: the parser recurses, and where it stops depends on who else is in the process."""
    if body.count(b"[") + body.count(b"{") <= MAXIMUM_DEPTH:
        return
    depth = 0
    for token in _BRACKETS.finditer(body):
        match body[token.start()]:
            case 0x5B | 0x7B:  # [ {
                depth += 1
                if depth > MAXIMUM_DEPTH:
                    raise MalformedBody(f"nested deeper than {MAXIMUM_DEPTH} levels")
            case 0x5D | 0x7D:
                depth -= 1


def _check(document: Any) -> None:
    waiting = [document]
    while waiting:
        match waiting.pop():
            case str() as text:
                _check_text(text)
            case dict() as members:
                for key in members:
                    _check_text(key)
                waiting.extend(members.values())
            case list() as elements:
                waiting.extend(elements)


def _check_text(text: str) -> None:
    if text.isascii():
        if "\x00" in text:
            raise MalformedBody("a text with the character U+0000")
        return
    if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise MalformedBody("a text with the character U+0000 or half a surrogate pair")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise MalformedBody("an object names a member twice")
    return members


def _no_constant(name: str) -> NoReturn:
    raise MalformedBody(f"{name} is no JSON number")


class StrictRequest(Request):
    async def json(self) -> Any:  # type: ignore[explicit-override]  # typing.override needs Python 3.12
        return parse(await self.body())


class StrictRoute(APIRoute):
    """Reads bodies by `parse`. A body that is not JSON is told so, and a parameter that nobody reads."""

    def get_route_handler(  # type: ignore[explicit-override]  # typing.override needs Python 3.12
        self,
    ) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()
        parameters = frozenset(parameter.alias for parameter in self.dependant.query_params)
        body = self.body_field
        body_is_optional = body is not None and not body.field_info.is_required()

        async def strictly(request: Request) -> Response:
            if body is not None and not _is_json(request) and not (body_is_optional and _is_empty(request)):
                raise HTTPException(415, "send the body as `Content-Type: application/json`")
            _check_query(request, parameters)
            return await handler(StrictRequest(request.scope, request.receive))

        return strictly


def _check_query(request: Request, known: frozenset[str]) -> None:
    """A filter that is misspelt would otherwise be one that is not there."""
    given = Counter(name for name, _ in request.query_params.multi_items())
    unknown = [_in_query(name, "extra_forbidden") for name in given if name not in known]
    repeated = [_in_query(name, "is there twice") for name in given if name in known and given[name] > 1]
    if unknown or repeated:
        raise RequestValidationError([*unknown, *repeated])


def _in_query(name: str, what: str) -> dict[str, Any]:
    return {"type": what, "loc": ("query", name), "msg": what}


def _is_empty(request: Request) -> bool:
    return "transfer-encoding" not in request.headers and request.headers.get("content-length", "0") == "0"


def _is_json(request: Request) -> bool:
    declared = request.headers.get("content-type", "").split(";")[0].strip().lower()
    return declared == "application/json" or (
        declared.startswith("application/") and declared.endswith("+json")
    )
