"""Whoever votes or evaluates has compiled everything before the first tick: a compiler takes seconds, in a
crash.
"""

import json
import subprocess
import sys

import pytest


@pytest.mark.parametrize("role", ["engine", "oracle"])
def test_nothing_is_compiled_once_it_is_warm(role):
    done = subprocess.run(
        [sys.executable, "-m", f"tests.unit.{role}.compiled_after_warm_up"],
        capture_output=True, text=True, check=True, timeout=600,
    )  # fmt: skip
    assert json.loads(done.stdout) == []
