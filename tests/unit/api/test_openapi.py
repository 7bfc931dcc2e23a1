"""The OpenAPI document: valid, exact, exemplified, and the one that is committed."""

from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from app.domain.events import EVENTS
from app.entrypoints.api.application import describe_app
from app.entrypoints.api.openapi import openapi_document, openapi_text

COMMITTED = Path(__file__).parents[3] / "openapi" / "openapi.json"


@pytest.fixture(scope="module")
def document():
    return openapi_document(describe_app())


def test_the_committed_document_is_what_the_routes_say(document):
    assert COMMITTED.read_text(encoding="utf-8") == openapi_text(document), "run `ballast openapi`"


def test_writing_it_twice_gives_the_same_text(document):
    assert openapi_text(document) == openapi_text(openapi_document(describe_app()))


def test_it_is_valid_openapi_3_1(document):
    assert document["openapi"].startswith("3.1")
    assert [str(error) for error in OpenAPIV31SpecValidator(document).iter_errors()] == []


def test_every_schema_has_an_example_that_fits_it(document):
    for name, schema in document["components"]["schemas"].items():
        assert schema["examples"], name
        resolvable = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        for example in schema["examples"]:
            errors = [error.message for error in Draft202012Validator(resolvable).iter_errors(example)]
            assert errors == [], (name, example)


def test_every_event_is_a_webhook(document):
    assert set(document["webhooks"]) == {type_.value for type_ in EVENTS}


def test_every_v1_operation_is_secured_and_tells_its_problems(document):
    for path, item in document["paths"].items():
        for method, operation in item.items():
            secured = path.startswith("/v1")
            assert bool(operation.get("security")) is secured, (method, path)
            problems = operation["responses"].get("default", {}).get("content", {})
            assert ("application/problem+json" in problems) is secured, (method, path)


def test_no_field_takes_a_float(document):
    floats = [
        path for path, node in _walk(document) if isinstance(node, dict) and node.get("type") == "number"
    ]
    assert floats == []


def _walk(node, path=""):
    yield path, node
    members = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in members:
        yield from _walk(value, f"{path}/{key}")
