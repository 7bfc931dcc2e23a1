"""Columns, each by itself or row after row, hold what they are given however they grow."""

from typing import NamedTuple

import numpy as np
import pytest

from app.engine.columns import Columns
from app.quant.arrays import BoolArray, FloatArray, IntArray


class Kind(NamedTuple):
    number: IntArray
    flag: BoolArray
    value: FloatArray
    other: BoolArray


@pytest.mark.parametrize(
    "beside", [(), (("value", "flag"),), (("value", "flag"), ("number", "other")), (Kind._fields,)]
)
def test_rows_stay_as_the_columns_grow(beside):
    columns = Columns(Kind, *beside)
    numbers = np.arange(200_000)
    for first in range(0, numbers.size, 20_000):
        rows = numbers[first : first + 20_000]
        columns.extend((rows, rows % 3 == 0, rows * 0.5, rows % 2 == 0))
    found = Kind(*(column[: columns.length] for column in columns.arrays))
    assert (found.number == numbers).all()
    assert (found.flag == (numbers % 3 == 0)).all()
    assert (found.value == numbers * 0.5).all()
    assert (found.other == (numbers % 2 == 0)).all()
    assert columns.nbytes()[0] == numbers.size * 18


def test_columns_stand_beside_each_other_and_others_by_themselves():
    columns = Columns(Kind, ("value", "flag"))
    number, flag, value, other = columns.arrays
    assert number.strides == (8,)
    assert other.strides == (1,)
    assert value.strides == flag.strides == (16,)
    assert flag.ctypes.data == value.ctypes.data + 8


def test_what_is_large_begins_with_a_huge_page():
    columns = Columns(Kind, ("number", "value"))
    columns.reserve(1 << 18)
    assert columns.arrays.number.ctypes.data % (1 << 21) == 0
