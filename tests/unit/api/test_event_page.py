"""docs/events.md is what the registry says, with every type and a payload that fits it."""

import json
import re
from pathlib import Path

from app.domain.events import EVENTS
from app.entrypoints.api.application import describe_app
from app.entrypoints.api.event_page import event_page
from app.entrypoints.api.openapi import openapi_document
from tests.event_documents import check_documented

WRITTEN = Path(__file__).parents[3] / "docs" / "events.md"


def test_the_written_page_has_not_drifted():
    page = event_page(openapi_document(describe_app()))
    assert WRITTEN.read_text(encoding="utf-8") == page, "run `ballast openapi`"


def test_every_type_is_in_the_table_and_has_an_example():
    page = WRITTEN.read_text(encoding="utf-8")
    examples = [json.loads(found) for found in re.findall(r"```json\n(.*?)\n```", page, re.DOTALL)]
    assert [example["type"] for example in examples] == [type_.value for type_ in EVENTS]
    for example in examples:
        check_documented(example)
        assert f"| [`{example['type']}`](" in page
