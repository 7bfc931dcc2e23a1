"""Deciding is pure: what import-linter cannot see, since it is not an import, is looked for in the source."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PURE = ("domain", "engine", "oracle", "forecast", "quant")

# As written, `x.now()` for any x: nothing pure has a method of such a name.
AMBIENT_ATTRIBUTES = {"now", "utcnow", "today", "random", "default_rng", "environ", "getenv"}
AMBIENT_NAMES = {"open", "print", "input", "exec", "eval", "uuid1", "uuid4", "__import__"}
ASYNCHRONOUS = (ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith, ast.Await)


def impurities(source):
    """Line and reason of everything that would make a result depend on more than its arguments."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Attribute(attr=name) if name in AMBIENT_ATTRIBUTES | AMBIENT_NAMES:
                yield node.lineno, name
            case ast.Name(id=name) | ast.alias(name=name) if name in AMBIENT_NAMES:
                yield node.lineno, name
            case ast.Global() | ast.Nonlocal():
                yield node.lineno, "state outside the function"
            case _ if isinstance(node, ASYNCHRONOUS):
                yield node.lineno, "async"


@pytest.mark.parametrize("package", PURE)
def test_pure_package(package):
    files = sorted((ROOT / "app" / package).rglob("*.py"))
    assert files
    found = [
        f"{path.relative_to(ROOT)}:{line}: {reason}"
        for path in files
        for line, reason in impurities(path.read_text(encoding="utf-8"))
    ]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "from datetime import datetime\nat = datetime.now()",
        "import datetime as d\nat = d.date.today()",
        "from uuid import uuid4",
        "import uuid\nuuid.uuid4()",
        "import numpy as np\nnp.random.normal()",
        "async def decide(): ...",
        "def count():\n    global n\n    n = 1",
        "print('here')",
    ],
)
def test_impurity_is_found(source):
    assert list(impurities(source))


def test_hash_of_a_string_is_not_used_to_decide():
    """`hash(str)` differs from process to process: shards and ids come from `derived_id` and `shard_of`."""
    for package in PURE:
        for path in (ROOT / "app" / package).rglob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
            assert not [call.lineno for call in calls if call.func.id == "hash"], path
