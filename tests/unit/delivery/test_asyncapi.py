"""What the official parser says, what it cannot see, and that the written file is what is generated."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from app.domain.events import EVENTS
from app.entrypoints.api.asyncapi import asyncapi_document, asyncapi_text
from app.entrypoints.api.stream_messages import Command

JAVASCRIPT = Path(__file__).resolve().parents[2] / "javascript"
WRITTEN = Path(__file__).resolve().parents[3] / "openapi" / "asyncapi.yaml"


@pytest.fixture(scope="module")
def document():
    return asyncapi_document()


def references(value):
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        for member in value.values():
            yield from references(member)
    elif isinstance(value, list):
        for member in value:
            yield from references(member)


def official_objections(text):
    """`npm ci --ignore-scripts` in tests/javascript brings the parser."""
    node = shutil.which("node")
    if node is None or not (JAVASCRIPT / "node_modules/@asyncapi/parser").is_dir():
        pytest.skip("no parser of AsyncAPI: `npm ci --ignore-scripts` in tests/javascript brings it")
    parsing = [node, "parse_asyncapi.mjs"]
    parsed = subprocess.run(
        parsing, cwd=JAVASCRIPT, input=text, text=True, stdout=subprocess.PIPE, check=True
    )
    return parsed.stdout.splitlines()


def test_the_official_parser_has_nothing_to_say(document):
    assert official_objections(asyncapi_text(document)) == []
    objections = official_objections(asyncapi_text(document | {"operations": {"tell": {"action": "shout"}}}))
    assert any("action" in objection for objection in objections)


def test_every_reference_leads_somewhere(document):
    found = set(references(document))
    assert found
    for reference in found:
        node = document
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]


def test_every_event_and_every_command_is_there(document):
    heard = document["channels"]["stream"]["messages"]
    for spec in EVENTS.values():
        payload = document["components"]["messages"][spec.type.replace(".", "_")]["payload"]
        envelope = document["components"]["schemas"][payload["properties"]["event"]["$ref"].rsplit("/", 1)[1]]
        assert envelope["properties"]["type"]["const"] == spec.type
        assert spec.type.replace(".", "_") in heard
    tags = {struct.__struct_config__.tag for struct in Command.__args__}
    assert {f"{tag}Command" for tag in tags} <= set(heard)


def test_operations_use_messages_of_their_channel(document):
    assert {channel["address"] for channel in document["channels"].values()} == {
        "/v1/stream", "oracle:ticks", "market", "events", "oracle:deadletter",
    }  # fmt: skip
    for operation in document["operations"].values():
        assert operation["action"] in {"send", "receive"}
        assert all(m["$ref"].startswith(operation["channel"]["$ref"]) for m in operation["messages"])


def test_the_text_is_the_document(document):
    assert yaml.safe_load(asyncapi_text(document)) == document
    assert asyncapi_text(asyncapi_document()) == asyncapi_text(document)


def test_the_written_file_has_not_drifted(document):
    assert WRITTEN.read_text(encoding="utf-8") == asyncapi_text(document), "run: ballast openapi"
