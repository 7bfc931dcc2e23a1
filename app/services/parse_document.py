"""Files that people write: YAML, checked like any other document."""

from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from app.domain.errors import InvalidInput
from app.services.documents import Document

Parsed = TypeVar("Parsed", bound=Document)


class _ExactLoader(yaml.SafeLoader):
    """Numbers with a point stay as they are written, so that 0.1 means 0.1."""


def _as_written(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> str:
    return str(loader.construct_scalar(node))


_ExactLoader.add_constructor("tag:yaml.org,2002:float", _as_written)


def parse_document(text: str, kind: type[Parsed], *, called: str) -> Parsed:
    """InvalidInput, with the place, for what no such document can mean."""
    try:
        document: Any = yaml.load(text, Loader=_ExactLoader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise InvalidInput(f"not YAML: {' '.join(str(error).split())}") from error
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        first, *others = error.errors()
        place = "".join(f"/{part}" for part in first["loc"])
        more = f" (and {len(others)} more)" if others else ""
        raise InvalidInput(f"{place or called}: {first['msg']}{more}", path=place) from error
