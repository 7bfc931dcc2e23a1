"""The first tick waits for no compiler."""

import json
import subprocess
import sys


def test_nothing_is_compiled_once_the_oracle_is_warm():
    done = subprocess.run(
        [sys.executable, "-m", "tests.unit.oracle.compiled_after_warm_up"],
        capture_output=True, text=True, check=True, timeout=600,
    )  # fmt: skip
    assert json.loads(done.stdout) == []
