"""What is kept of compiled loops."""

import subprocess
import sys

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
        command = [sys.executable, "-B", "-c", ASK]
        path = {"PYTHONPATH": f"{tmp_path}:."}
        done = subprocess.run(command, env=path, capture_output=True, text=True, check=True)
        assert done.stdout == "1.0\n"
