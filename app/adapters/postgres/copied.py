"""What PostgreSQL copies out in its binary format, as columns: rows are found and read by compiled loops.

A row is a count of fields, and each field its length and its bytes: see the binary format of COPY in
PostgreSQL's manual. Numbers come most significant byte first, a numeric as digits to the base of 10,000.
"""

from decimal import Decimal
from typing import Any, Final

import numpy as np
from asyncpg.pgproto.pgproto import UUID
from numpy.typing import NDArray

from app.quant.arrays import BoolArray, FloatArray, IntArray
from app.quant.compiled import compiled_in_place, inlined_in_place

Bytes = NDArray[np.uint8]
_HEADER: Final = 19
_BASE: Final = 10_000
_EXACT_POWERS: Final = np.array([10.0**power for power in range(23)])
"""Of ten, those that a float holds."""
_LARGEST_EXACT: Final = 1 << 53
_MOST_DIGITS: Final = 4
"""To the base of 10,000, that are below 2**53 together."""
_EMPTY: Final = -1
_POSITIVE, _NEGATIVE = 0, 0x4000


class Copied:
    """The rows of a query. Nothing in them is NULL. `starts` is where each field of each row begins."""

    def __init__(self, data: bytearray, fields: int, count: int) -> None:
        self.data = data
        self.bytes: Bytes = np.frombuffer(data, dtype=np.uint8)
        self.starts: IntArray = np.empty((fields, count), dtype=np.int64)
        _find(self.bytes, self.starts)

    def __len__(self) -> int:
        return int(self.starts.shape[1])

    @property
    def nbytes(self) -> int:
        return len(self.data) + int(self.starts.nbytes)

    def field(self, row: int, field: int) -> bytes:
        start = int(self.starts[field, row])
        return bytes(self.data[start : start + int.from_bytes(self.data[start - 4 : start], "big")])

    def text(self, row: int, field: int) -> str:
        return self.field(row, field).decode()

    def integer(self, row: int, field: int) -> int:
        return int.from_bytes(self.field(row, field), "big", signed=True)

    def decimal(self, row: int, field: int) -> Decimal:
        """With as many decimals as it is stored with."""
        return decimal_of(self.field(row, field))

    def integers(self, field: int) -> IntArray:
        found = np.empty(len(self), dtype=np.int64)
        _read_integers(self.bytes, self.starts[field], found)
        return found

    def floats(self, field: int) -> FloatArray:
        """Of numerics, each the float that is nearest."""
        found, exact = np.empty(len(self)), np.empty(len(self), dtype=bool)
        _read_numerics(self.bytes, self.starts[field], _EXACT_POWERS, found, exact)
        for row in np.flatnonzero(~exact).tolist():
            found[row] = float(self.decimal(row, field))
        return found

    def distinct(self, field: int) -> tuple[IntArray, list[bytes]]:
        """Of every row the number of its value, and the values."""
        numbers, first = self.numbered(field)
        return numbers, [self.field(row, field) for row in first.tolist()]

    def numbered(self, field: int) -> tuple[IntArray, IntArray]:
        """Of every row the number of its value, and of every value the first row that has it."""
        numbers, first, slots = (
            np.empty(len(self), dtype=np.int64),
            np.empty(len(self), dtype=np.int64),
            1 << 12,
        )
        while True:
            table = np.full(slots, _EMPTY)
            count = _number(self.bytes, self.starts[field], table, numbers, first)
            if count >= 0:
                return numbers, first[:count]
            slots *= 8

    def among(self, field: int, others: "Copied", of_others: int) -> IntArray:
        """Of every row, which row of the others has its value in one of their fields; -1: none has."""
        table = np.full(1 << max(2 * len(others), 2).bit_length(), _EMPTY)
        found = np.empty(len(self), dtype=np.int64)
        _join(others.bytes, others.starts[of_others], self.bytes, self.starts[field], table, found)
        return found

    def identities(self, field: int) -> list[UUID]:
        """As asyncpg reads them, which is much faster than the standard library."""
        data = self.data
        return [UUID(bytes(data[start : start + 16])) for start in self.starts[field].tolist()]

    def halves(self, field: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """Of UUIDs, in whose order they are in order."""
        found = np.empty((2, len(self)), dtype=np.uint64)
        _read_halves(self.bytes, self.starts[field], found)
        return found[0], found[1]


async def copied(connection: Any, query: str, *arguments: object, fields: int) -> Copied:
    data = bytearray()

    async def take(part: bytes) -> None:
        data.extend(part)

    status = await connection.copy_from_query(query, *arguments, output=take, format="binary")
    return Copied(data, fields, int(status.removeprefix("COPY ")))


def decimal_of(numeric: bytes) -> Decimal:
    """From its digits, their weight, its sign and how many decimals it shows."""
    count, weight, sign, scale = (
        int.from_bytes(numeric[at : at + 2], "big", signed=at == 2) for at in range(0, 8, 2)
    )
    if sign not in (_POSITIVE, _NEGATIVE):
        raise ValueError("a stored amount is no number")
    mantissa = 0
    for at in range(8, 8 + 2 * count, 2):
        mantissa = mantissa * _BASE + int.from_bytes(numeric[at : at + 2], "big")
    shift = 4 * (weight - count + 1) + scale
    mantissa = mantissa * 10**shift if shift >= 0 else mantissa // 10**-shift
    return Decimal((int(sign == _NEGATIVE), tuple(map(int, str(mantissa))), -scale))


def warm_up() -> None:
    """Reads one row with every loop, so that no lease runs out while they are compiled."""
    fields = (bytes(16), (1).to_bytes(4, "big"), bytes(8))
    row = b"".join(len(each).to_bytes(4, "big") + each for each in fields)
    data = bytes(_HEADER) + len(fields).to_bytes(2, "big") + row + b"\xff\xff"
    rows = Copied(bytearray(data), len(fields), 1)
    rows.halves(0)
    rows.distinct(0)
    rows.among(0, rows, 0)
    rows.integers(1)
    rows.floats(2)


def in_order(*keys: NDArray[Any]) -> IntArray:
    """The order of rows by keys, the first one first. Mostly they were stored in it."""
    first, second = keys[0], keys[1]
    rises = (first[1:] > first[:-1]) | ((first[1:] == first[:-1]) & (second[1:] > second[:-1]))
    if rises.all():
        return np.arange(first.size)
    order: IntArray = np.lexsort(keys[::-1])
    return order


@compiled_in_place
def _find(data: Bytes, starts: IntArray) -> None:
    """Where each field of each row begins."""
    at = _HEADER
    for row in range(starts.shape[1]):
        at += 2
        for field in range(starts.shape[0]):
            starts[field, row] = at + 4
            at += 4 + _unsigned(data, at, 4)


@inlined_in_place
def _unsigned(data: Bytes, at: int, length: int) -> int:
    value: int = 0
    for offset in range(length):
        value = (value << 8) | int(data[at + offset])
    return value


@compiled_in_place
def _read_integers(data: Bytes, starts: IntArray, found: IntArray) -> None:
    for row in range(starts.size):
        length = _unsigned(data, starts[row] - 4, 4)
        value = _unsigned(data, starts[row], length)
        if 1 < length < 8 and value >= 1 << (8 * length - 1):
            value -= 1 << (8 * length)
        found[row] = value


@compiled_in_place
def _read_halves(data: Bytes, starts: IntArray, found: NDArray[np.uint64]) -> None:
    for row in range(starts.size):
        for half in range(2):
            value = np.uint64(0)
            for offset in range(8):
                value = (value << np.uint64(8)) | np.uint64(data[starts[row] + 8 * half + offset])
            found[half, row] = value


@compiled_in_place
def _read_numerics(
    data: Bytes, starts: IntArray, powers: FloatArray, found: FloatArray, exact: BoolArray
) -> None:
    """Whole numbers below 2**53 times or over a power of ten that a float holds are rounded once, as they are
    to be. The others are not `exact`.
    """
    for row in range(starts.size):
        start = starts[row]
        count, weight = _unsigned(data, start, 2), _unsigned(data, start + 2, 2)
        sign = _unsigned(data, start + 4, 2)
        if weight >= 1 << 15:
            weight -= 1 << 16
        mantissa, exponent = np.int64(0), 4 * (weight - count + 1)
        for digit in range(min(count, _MOST_DIGITS)):
            mantissa = mantissa * _BASE + _unsigned(data, start + 8 + 2 * digit, 2)
        while mantissa != 0 and mantissa % 10 == 0:
            mantissa //= 10
            exponent += 1
        exact[row] = (
            count <= _MOST_DIGITS
            and sign in (_POSITIVE, _NEGATIVE)
            and mantissa < _LARGEST_EXACT
            and abs(exponent) < powers.size
        )
        value = float(mantissa)
        if exact[row]:
            value = value * powers[exponent] if exponent >= 0 else value / powers[-exponent]
        found[row] = -value if sign != 0 else value


@inlined_in_place
def _hash(data: Bytes, start: int, length: int) -> int:
    """FNV-1a of every fourth byte, four times over: multiplications need not wait for each other."""
    prime = np.uint64(0x100000001B3)
    first = second = third = fourth = np.uint64(0xCBF29CE484222325)
    whole = length - length % 4
    for at in range(start, start + whole, 4):
        first = (first ^ np.uint64(data[at])) * prime
        second = (second ^ np.uint64(data[at + 1])) * prime
        third = (third ^ np.uint64(data[at + 2])) * prime
        fourth = (fourth ^ np.uint64(data[at + 3])) * prime
    for at in range(start + whole, start + length):
        first = (first ^ np.uint64(data[at])) * prime
    mixed = ((first * prime ^ second) * prime ^ third) * prime ^ fourth
    return int(mixed >> np.uint64(1))


@inlined_in_place
def _is_same(one: Bytes, start: int, other: Bytes, other_start: int, length: int) -> bool:
    if _unsigned(other, other_start - 4, 4) != length:
        return False
    same = 0
    while same < length and one[start + same] == other[other_start + same]:
        same += 1
    return same == length


@compiled_in_place
def _number(data: Bytes, starts: IntArray, table: IntArray, numbers: IntArray, first: IntArray) -> int:
    """How many different values there are, numbered as they are met; -1 where the table is too full."""
    count = 0
    for row in range(starts.size):
        length = _unsigned(data, starts[row] - 4, 4)
        slot = _hash(data, starts[row], length) % table.size
        while table[slot] != _EMPTY and not _is_same(
            data, starts[row], data, starts[first[table[slot]]], length
        ):
            slot = (slot + 1) % table.size
        if table[slot] == _EMPTY:
            if 2 * count >= table.size:
                return -1
            table[slot], first[count] = count, row
            count += 1
        numbers[row] = table[slot]
    return count


@compiled_in_place
def _join(
    theirs: Bytes, their_starts: IntArray, ours: Bytes, our_starts: IntArray, table: IntArray, found: IntArray
) -> None:
    """The values of theirs are different from each other, and fill no more than half of the table."""
    for row in range(their_starts.size):
        slot = _hash(theirs, their_starts[row], _unsigned(theirs, their_starts[row] - 4, 4)) % table.size
        while table[slot] != _EMPTY:
            slot = (slot + 1) % table.size
        table[slot] = row
    for row in range(our_starts.size):
        length = _unsigned(ours, our_starts[row] - 4, 4)
        if row > 0 and _is_same(ours, our_starts[row], ours, our_starts[row - 1], length):
            found[row] = found[row - 1]
            continue
        slot = _hash(ours, our_starts[row], length) % table.size
        while table[slot] != _EMPTY and not _is_same(
            ours, our_starts[row], theirs, their_starts[table[slot]], length
        ):
            slot = (slot + 1) % table.size
        found[row] = table[slot]
