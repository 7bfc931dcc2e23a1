"""The one way in which a loop is compiled.

IEEE 754 arithmetic in the order in which it is written: nothing is reassociated or contracted, so an element
computes the same bits wherever it stands. Dividing by zero gives an infinity, as in numpy. Machine code is
kept beside the source (or in `NUMBA_CACHE_DIR`), so that only the first process ever waits for it. What is
kept is renewed when its own file changes: a loop therefore uses no other loop than those of its file.
"""

from collections.abc import Callable
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
    try:
        return cast(Loop, numba.njit(cache=True, error_model="numpy", forceinline=forceinline)(loop))
    except RuntimeError:  # nowhere to keep it: compiled anew by every process
        return cast(Loop, numba.njit(error_model="numpy", forceinline=forceinline)(loop))
