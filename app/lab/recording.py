"""Recorded files as checked rows, whatever they are stored in.

CSV, gzipped CSV or Parquet, told apart by their first bytes; what they hold is told by their header.
Parquet may keep its columns in any order, beside others, and times as timestamps (without a zone: UTC).
Rows are streamed; no file is ever held in memory.
"""

import csv
import gzip
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from app.domain.errors import InvalidInput

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# The time comes first: (time, open, high, low, close), (time, rate),
# (time, source, instrument, sequence, price, confidence).
Record = tuple[Any, ...]


class HistoryError(InvalidInput):
    """A recording that cannot be meant; names the file and the line."""


class Form(Enum):
    """What a file holds; the value is its header."""

    BARS = ("time", "open", "high", "low", "close", "volume")
    TICKS = ("time_ns", "source", "instrument", "sequence", "price", "confidence")
    FUNDING = ("time", "funding_rate")


# --- rows to records


def records(path: Path, form: Form) -> Iterator[Record]:
    """Every row, parsed and checked, in order of time."""
    parse = {Form.BARS: _bar, Form.TICKS: _tick, Form.FUNDING: _funding}[form]
    previous: Record | None = None
    with _readable(path):
        for where, row in _rows(path, form):
            try:
                record = parse(row)
                if record == previous and form is not Form.TICKS:
                    continue  # published twice by its venue: seen in real recordings, and harmless
                if previous is not None:
                    _check_order(previous[0], record[0], strict=form is not Form.TICKS)
            except ValueError as reason:
                raise HistoryError(f"{path.name}, {where}: {reason}") from None
            yield record
            previous = record


def _check_order(before_ns: int, now_ns: int, *, strict: bool) -> None:
    if now_ns < before_ns:
        raise ValueError("its time is before that of the row above")
    if strict and now_ns == before_ns:
        raise ValueError("it has the time of the row above and says something else")


def _bar(row: list[Any]) -> Record:
    if len(row) != len(Form.BARS.value):
        raise ValueError(f"{len(row)} fields where {len(Form.BARS.value)} belong")
    opening, high, low, close = map(_positive, row[1:5])
    _finite(row[5])
    if not low <= min(opening, close) <= max(opening, close) <= high:
        raise ValueError(f"open {opening} and close {close} do not lie between low {low} and high {high}")
    return _time_ns(row[0]), opening, high, low, close


def _tick(row: list[Any]) -> Record:
    if len(row) != len(Form.TICKS.value):
        raise ValueError(f"{len(row)} fields where {len(Form.TICKS.value)} belong")
    time_ns, source, instrument, sequence, price, confidence = row
    if not source or not instrument:
        raise ValueError("source and instrument must be named")
    half_width = _finite(confidence)
    if half_width < 0:
        raise ValueError(f"confidence {confidence} is negative")
    return _whole(time_ns), source, instrument, _whole(sequence), _positive(price), half_width


def _funding(row: list[Any]) -> Record:
    if len(row) != len(Form.FUNDING.value):
        raise ValueError(f"{len(row)} fields where {len(Form.FUNDING.value)} belong")
    return _time_ns(row[0]), _finite(row[1])


def _finite(field: Any) -> float:
    try:
        value = float(field)
    except (TypeError, ValueError):
        raise ValueError(f"{field!r} is not a number") from None
    if not math.isfinite(value):
        raise ValueError(f"{field!r} is not a finite number")
    return value


def _positive(field: Any) -> float:
    value = _finite(field)
    if value <= 0:
        raise ValueError(f"a price of {field}")
    return value


def _whole(field: Any) -> int:
    try:
        value = int(str(field))  # a float is refused: beyond 2^53 it is not what was recorded
    except ValueError:
        raise ValueError(f"{field!r} is not a whole number") from None
    if not 0 <= value < 2**63:
        raise ValueError(f"{field!r} does not fit 63 bits")
    return value


def _time_ns(field: Any) -> int:
    if isinstance(field, int):
        return field
    try:
        instant = datetime.fromisoformat(field)
    except (TypeError, ValueError):
        raise ValueError(f"{field!r} is not an RFC 3339 time") from None
    if instant.tzinfo is None:
        raise ValueError(f"{field!r} has no time zone")
    return to_ns(instant)


def to_ns(instant: datetime) -> int:
    since = instant - _EPOCH
    return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1_000


# --- files to rows


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """What the file system, gzip, CSV and Parquet complain about, as one kind of error."""
    try:
        yield
    except OSError as error:
        raise HistoryError(f"{path} cannot be read: {error.strerror or error}") from error
    except (EOFError, UnicodeDecodeError, zlib.error, csv.Error, pa.ArrowException) as error:
        raise HistoryError(f"{path.name} is damaged or of no known format: {error}") from error


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4)


def form_of(path: Path) -> Form:
    with _readable(path):
        if _first_bytes(path) == b"PAR1":
            columns = pq.read_schema(path).names
            matching = [form for form in Form if set(form.value) <= set(columns)]
        else:
            with _text(path) as file:
                columns = next(csv.reader(file), [])
            matching = [form for form in Form if list(form.value) == columns]
    if not matching:
        known = "; ".join(f"{form.name.lower()}: {','.join(form.value)}" for form in Form)
        raise HistoryError(f"{path.name}, line 1: the header {','.join(columns)!r} is none of {known}")
    return matching[0]


def _rows(path: Path, form: Form) -> Iterator[tuple[str, list[Any]]]:
    """Rows with the place to name when one is wrong."""
    if _first_bytes(path) == b"PAR1":
        yield from _parquet_rows(path, form)
        return
    with _text(path) as file:
        reader = csv.reader(file)
        next(reader)
        for row in reader:
            if row:  # a blank line, as at the end of many files
                yield f"line {reader.line_num}", row


def _text(path: Path) -> IO[str]:
    if _first_bytes(path).startswith(b"\x1f\x8b"):
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _parquet_rows(path: Path, form: Form) -> Iterator[tuple[str, list[Any]]]:
    number = 0
    with pq.ParquetFile(path) as file:
        if "time" in form.value and pa.types.is_integer(file.schema_arrow.field("time").type):
            raise HistoryError(f"{path.name}: column time holds integers of an unknown unit; use timestamps")
        for batch in file.iter_batches(columns=list(form.value)):
            columns = (_plain(batch.column(name)) for name in form.value)
            for row in zip(*columns, strict=True):
                number += 1
                yield f"row {number}", list(row)


def _plain(column: pa.Array) -> list[Any]:
    if pa.types.is_timestamp(column.type):
        nanoseconds = column.cast(pa.timestamp("ns", tz=column.type.tz))
        column = nanoseconds.cast(pa.int64())
    values: list[Any] = column.to_pylist()
    return values
