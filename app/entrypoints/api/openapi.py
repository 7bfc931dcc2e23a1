"""The OpenAPI 3.1 document: FastAPI's, made exact, with an example on every schema."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from app.entrypoints.api.problems import MEDIA_TYPE

_PROBLEM = "#/components/schemas/Problem"
_OPEN = frozenset({"/healthz", "/readyz", "/metrics"})


def openapi_document(app: FastAPI) -> dict[str, Any]:
    """A function of the routes alone: no address, no time."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title,
            version=app.version,
            openapi_version="3.1.0",
            summary=app.summary,
            description=app.description,
            routes=app.routes,
            webhooks=app.webhooks.routes,
            servers=[{"url": "/"}],
        )
        for node in _nodes(document):
            _refuse_floats(node)
        _describe_problems(document)
        schemas = document["components"]["schemas"]
        for schema in schemas.values():
            if "example" not in schema and "examples" not in schema:
                schema["examples"] = [_example(schema, schemas)]
        app.openapi_schema = document
    return app.openapi_schema


def openapi_text(document: Mapping[str, Any]) -> str:
    """The one way it is written, so that equal documents are equal files."""
    return json.dumps(document, indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for member in list(value.values()):
            yield from _nodes(member)
    elif isinstance(value, list):
        for member in value:
            yield from _nodes(member)


def _refuse_floats(node: dict[str, Any]) -> None:
    """Pydantic takes floats for decimals; the API takes strings and integers."""
    members = node.get("anyOf")
    if not isinstance(members, list) or not any(m.get("type") == "string" for m in members):
        return
    for member in members:
        if member.get("type") == "number":
            member["type"] = "integer"


def _describe_problems(document: dict[str, Any]) -> None:
    for section in ("paths", "webhooks"):
        for path, item in document.get(section, {}).items():
            for operation in item.values():
                responses = operation["responses"]
                if section == "webhooks" or path in _OPEN:
                    responses.pop("default", None)
                problem = responses.get("default")
                if problem is not None:
                    problem["content"] = {MEDIA_TYPE: {"schema": {"$ref": _PROBLEM}}}


def _example(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Any:
    """Made of the examples of its parts."""
    if "examples" in schema:
        return schema["examples"][0]
    for key in ("default", "const"):
        if key in schema:
            return schema[key]
    if "enum" in schema:
        return schema["enum"][0]
    if "$ref" in schema:
        return _example(schemas[schema["$ref"].rsplit("/", 1)[1]], schemas)
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            return _example(schema[key][0], schemas)
    match schema.get("type"):
        case "object":
            members = schema.get("properties", {})
            return {name: _example(member, schemas) for name, member in members.items()}
        case "array":
            return [_example(schema["items"], schemas)]
        case "boolean":
            return True
        case "integer":
            return schema.get("minimum", 1)
        case _:
            return "text"
