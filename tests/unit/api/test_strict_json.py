"""JSON as the API takes it, and the cursors it gives out."""

import json
import sys
from contextlib import suppress
from datetime import UTC, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import InvalidInput
from app.domain.market import StreamPosition
from app.entrypoints.api import cursors
from app.entrypoints.api.strict_json import MAXIMUM_DEPTH, FloatLiteral, MalformedBody, parse
from app.ports.management import Place
from app.services.documents import storable

texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"))
exact = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    max_leaves=12,
)


@given(exact)
def test_exact_documents_are_read_as_they_are(document):
    assert parse(json.dumps(document).encode()) == document


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_keeps_its_text(number):
    literal = parse(json.dumps(number).encode())
    assert isinstance(literal, FloatLiteral)
    assert literal.text == json.dumps(number)


@given(st.binary(max_size=64))
def test_bytes_are_a_document_or_malformed_and_nothing_else(body):
    with suppress(MalformedBody):
        parse(body)


def nested(depth):
    return b'{"[": [' * (depth // 2) + b"[" * (depth % 2) + b"]" * (depth % 2) + b"]}" * (depth // 2)


def test_depth_is_counted_outside_of_texts():
    assert parse(nested(MAXIMUM_DEPTH))
    assert parse(json.dumps(["[" * 100, '"{[' * 100, "\\" * 99 + "[" * 100]).encode())
    for depth in (MAXIMUM_DEPTH + 1, MAXIMUM_DEPTH + 2):
        with pytest.raises(MalformedBody, match="nested deeper"):
            parse(nested(depth))


def test_depth_is_bounded_whoever_else_in_the_process_wants_deep_recursion():
    """Compiled parsers would run out of stack, and end the process, before a limit that was raised."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(1_000_000)
    try:
        for body in (b"[" * 1_000_000, b'{"a":' * 200_000):
            with pytest.raises(MalformedBody, match="nested deeper"):
                parse(body)
    finally:
        sys.setrecursionlimit(before)


def test_a_text_that_does_not_end_is_read_once():
    with pytest.raises(MalformedBody, match="not JSON"):
        parse(b'"' + b'\\"[' * 300_000)


@given(st.datetimes(timezones=st.just(UTC) | st.just(timezone(timedelta(hours=5)))), st.uuids())
def test_a_place_survives_its_cursor(moment, id_):
    assert cursors.decode_place(cursors.encode_place(Place(moment, id_))) == Place(moment, id_)


@given(st.text(max_size=60))
def test_no_text_breaks_a_cursor(text):
    for decode in (cursors.decode_place, cursors.decode_name, cursors.decode_number, cursors.decode_decision):
        try:
            decode(text)
        except InvalidInput:
            continue


def test_cursors_of_other_lists():
    assert cursors.decode_name(cursors.encode_name("zwölf")) == "zwölf"
    assert cursors.decode_number(cursors.encode_number(91)) == 91
    decision = (StreamPosition(2, 7), UUID(int=5))
    assert cursors.decode_decision(cursors.encode_decision(*decision)) == decision


@pytest.mark.parametrize(("text", "fits"), [
    ("99999999999999999999.999999999999999999", True),
    ("-0.000000000000000001", True),
    ("1E+19", True),
    ("100000000000000000000", False),
    ("1E-19", False),
    ("0E-400", False),
    ("NaN", False),
    ("Infinity", False),
])  # fmt: skip
def test_storable_is_what_the_columns_keep(text, fits):
    if fits:
        assert storable(Decimal(text)) == Decimal(text)
    else:
        with pytest.raises(ValueError, match=r"finite|digits"):
            storable(Decimal(text))
