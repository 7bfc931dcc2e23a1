"""The generated descriptions of the API and of the streams."""

from pathlib import Path

from app.entrypoints.api.application import describe_app
from app.entrypoints.api.asyncapi import asyncapi_document, asyncapi_text
from app.entrypoints.api.openapi import openapi_document, openapi_text


def documents() -> dict[str, str]:
    return {
        "openapi.json": openapi_text(openapi_document(describe_app())),
        "asyncapi.yaml": asyncapi_text(asyncapi_document()),
    }


def write(directory: Path) -> list[str]:
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in documents().items():
        (directory / name).write_text(text, encoding="utf-8")
    return []


def stale(directory: Path) -> list[str]:
    """Names of those that differ from what the code says."""
    return [
        str(directory / name)
        for name, text in documents().items()
        if not (directory / name).is_file() or (directory / name).read_text(encoding="utf-8") != text
    ]
