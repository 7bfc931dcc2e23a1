"""Events as they were committed: whole logs, held against what OpenAPI and AsyncAPI say of them: no part more
or less.
"""

import copy
import json
from collections import defaultdict
from functools import cache

import asyncpg
from jsonschema import Draft202012Validator, FormatChecker

from app.adapters.postgres.event_log import streamed
from app.entrypoints.api.application import describe_app
from app.entrypoints.api.asyncapi import asyncapi_document
from app.entrypoints.api.openapi import openapi_document

_ALL = "SELECT * FROM events ORDER BY portfolio_id, sequence"
_ENDS = "SELECT id, event_sequence FROM portfolios UNION ALL SELECT id, event_sequence FROM tenants"


async def emitted(url: str) -> set[str]:
    """The types of the events in a database, each of them exactly as documented, every log whole."""
    connection = await asyncpg.connect(url)
    try:
        rows, ends = await connection.fetch(_ALL), await connection.fetch(_ENDS)
    finally:
        await connection.close()
    logs = defaultdict(list)
    for row in rows:
        logs[row["portfolio_id"]].append(row["sequence"])
    for log_id, end in ends:
        assert logs.pop(log_id, []) == list(range(1, end + 1))
    assert logs == {}
    for row in rows:
        check_documented(json.loads(streamed(row).body))
    return {row["type"] for row in rows}


def check_documented(envelope: dict) -> None:
    for validator in _validators()[envelope["type"]]:
        errors = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(envelope)]
        assert errors == [], envelope


@cache
def _validators():
    """Of each type: what webhook receivers are told, and what WebSocket clients are."""
    webhooks = _exact(openapi_document(describe_app()))
    stream = _exact(asyncapi_document())
    return {
        kind: [
            _validator(webhooks, item["post"]["requestBody"]["content"]["application/json"]["schema"]),
            _validator(stream, _message(stream, kind)["payload"]["properties"]["event"]),
        ]
        for kind, item in webhooks["webhooks"].items()
    }


def _message(document, kind):
    return document["components"]["messages"][kind.replace(".", "_")]


def _validator(document, schema):
    resolvable = schema | {"components": document["components"]}
    return Draft202012Validator(resolvable, format_checker=FormatChecker())


def _exact(document):
    """The same, but no object may have members that are not described."""
    exact = copy.deepcopy(document)
    level = [exact]
    while level:
        for node in level:
            if isinstance(node, dict) and node.get("type") == "object" and "properties" in node:
                node.setdefault("additionalProperties", False)
        level = [
            member
            for node in level
            if isinstance(node, dict | list)
            for member in (node.values() if isinstance(node, dict) else node)
        ]
    return exact
