"""The generated descriptions of the API, of the streams and of events."""

from pathlib import Path

from app.entrypoints.api.application import describe_app
from app.entrypoints.api.asyncapi import asyncapi_document, asyncapi_text
from app.entrypoints.api.event_page import event_page
from app.entrypoints.api.openapi import openapi_document, openapi_text


def documents() -> dict[str, str]:
    """By their place in the checkout."""
    openapi = openapi_document(describe_app())
    return {
        "openapi/openapi.json": openapi_text(openapi),
        "openapi/asyncapi.yaml": asyncapi_text(asyncapi_document()),
        "docs/events.md": event_page(openapi),
    }


def write(root: Path) -> list[str]:
    for name, text in documents().items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return []


def stale(root: Path) -> list[str]:
    """Those that differ from what the code says."""
    return [
        name
        for name, text in documents().items()
        if not (root / name).is_file() or (root / name).read_text(encoding="utf-8") != text
    ]
