"""What is kept of compiled loops."""

import subprocess
import sys

import pytest

COLUMNS = """
from typing import NamedTuple
from numpy.typing import NDArray
class Columns(NamedTuple):
    {}: NDArray
    {}: NDArray
"""
LOOP = """
from app.quant.compiled import compiled
from book.columns import Columns
@compiled
def first(columns: Columns):
    return columns.bid[0]
"""
ASK = "import numpy as np; from book.loop import *; print(first(Columns(bid=np.ones(1), ask=np.zeros(1))))"


def test_a_loop_is_compiled_anew_when_the_columns_it_is_given_are_defined_otherwise(tmp_path):
    """Its own file did not change. The machine code knows columns by their order alone."""
    package = tmp_path / "book"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "loop.py").write_text(LOOP)
    for names in (("bid", "ask"), ("ask", "bid")):
        (package / "columns.py").write_text(COLUMNS.format(*names))
        assert _printed(tmp_path, ASK) == "1.0\n"


PART = """
from app.quant.compiled import inlined
@inlined
def part(value):
    return {} * value
"""
CALLER = """
from app.quant.compiled import compiled_disjoint
from book.{0} import {0}
@compiled_disjoint
def doubled(value):
    return 2.0 * {0}(value)
"""


BETWEEN = """
from app.quant.compiled import inlined
from book.part import part
@inlined
def between(value):
    return part(value)
"""


@pytest.mark.parametrize("called", ["part", "between"])
def test_a_loop_is_compiled_anew_when_a_part_of_another_file_changed(tmp_path, called):
    """The part is inside the loop's machine code, also where a part of a third file calls it."""
    package = tmp_path / "book"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "between.py").write_text(BETWEEN)
    (package / "loop.py").write_text(CALLER.format(called))
    for factor in ("3.0", "5.0"):
        (package / "part.py").write_text(PART.format(factor))
        printed = _printed(tmp_path, "from book.loop import doubled; print(doubled(1.0))")
        assert printed == f"{2 * float(factor)}\n"


def _printed(path, program):
    command = [sys.executable, "-B", "-c", program]
    environment = {"PYTHONPATH": f"{path}:."}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
