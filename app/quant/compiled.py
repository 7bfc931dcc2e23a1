"""The one way in which a loop is compiled.

IEEE 754 arithmetic in the order in which it is written: nothing is reassociated or contracted, so an element
computes the same bits wherever it stands. Dividing by zero gives an infinity, as in numpy. Machine code is
kept beside the source (or in `NUMBA_CACHE_DIR`), so that only the first process ever waits for it. What is
kept is renewed when its own file changes: a loop therefore uses no other loop than those of its file. The
columns that it is given may be defined elsewhere: it is kept under a name that says what their files contain.
"""

import hashlib
import inspect
import sys
from collections.abc import Callable
from functools import cache
from typing import TypeVar, cast

import numba

Loop = TypeVar("Loop", bound=Callable[..., object])


def compiled(loop: Loop) -> Loop:
    """Compiled for the types of its first call; typed as what it was written as."""
    return _compiled(loop, forceinline=False)


def inlined(loop: Loop) -> Loop:
    """A part of a compiled loop of the same file: columns are handed to it by the dozen, so it is no call."""
    return _compiled(loop, forceinline=True)


def _compiled(loop: Loop, *, forceinline: bool) -> Loop:
    loop.__qualname__ += f"_{_definitions_of(loop)}"
    try:
        return cast(Loop, numba.njit(cache=True, error_model="numpy", forceinline=forceinline)(loop))
    except RuntimeError:  # nowhere to keep it: compiled anew by every process
        return cast(Loop, numba.njit(error_model="numpy", forceinline=forceinline)(loop))


def _definitions_of(loop: Callable[..., object]) -> str:
    """Of the classes that its file takes from others of the package: the order of fields is compiled in."""
    package = loop.__module__.partition(".")[0]
    classes = [known for known in loop.__globals__.values() if isinstance(known, type)]
    modules = {known.__module__ for known in classes} - {loop.__module__}
    ours = sorted(name for name in modules if name.partition(".")[0] == package)
    return hashlib.sha256(b"".join(map(_digest, ours))).hexdigest()[:8]


@cache
def _digest(module: str) -> bytes:
    return hashlib.sha256(inspect.getsource(sys.modules[module]).encode()).digest()
