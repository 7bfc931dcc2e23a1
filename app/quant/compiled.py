"""The ways in which a loop is compiled.

IEEE 754 arithmetic in the order in which it is written: nothing is reassociated or contracted, so an element
computes the same bits wherever it stands, in a vectorised loop or in its remainder. Dividing by zero gives an
infinity, as in numpy. Machine code is kept beside the source (or in `NUMBA_CACHE_DIR`), so that only the
first process ever waits for it. What is kept is renewed when its own file changes. Columns that it is given,
and parts that it calls, may be defined elsewhere, and so may what these are made of: it is kept under a name
that says what all of those files contain.
"""

import hashlib
import inspect
import sys
from collections.abc import Callable
from functools import cache, partial
from typing import Any, TypeVar, cast

import numba
from numba.core.compiler import Compiler
from numba.core.dispatcher import Dispatcher
from typing_extensions import override

Loop = TypeVar("Loop", bound=Callable[..., object])


class _Disjoint(Compiler):
    """Numba's own pipeline, with the arguments of the function marked as overlapping nothing."""

    @override
    def define_pipelines(self) -> Any:
        self.state.flags.noalias = True
        return super().define_pipelines()  # type: ignore[no-untyped-call]


def compiled(loop: Loop) -> Loop:
    """Compiled for the types of its first call; typed as what it was written as."""
    return _compiled(loop)


def compiled_disjoint(loop: Loop) -> Loop:
    """The same for a loop that writes only into arrays which overlap no other that it is given.

    Without that promise LLVM compares every pair of columns at run time before it dares to vectorise, and
    gives up where there are many.
    """
    return _compiled(loop, pipeline=_Disjoint)


def inlined(loop: Loop) -> Loop:
    """A part of a compiled loop: columns are handed to it by the dozen, or LLVM shall see the loop whole."""
    return _compiled(loop, forceinline=True)


def compiled_in_place(loop: Loop) -> Loop:
    """The same for a loop that makes no array and returns none: it writes into those that it is given.

    Whoever calls it holds them, so nobody need count who refers to a column each time that it is read: for a
    loop over dozens of columns that was nine tenths of the time. What allocates cannot be compiled so.
    """
    return _compiled(loop, counts_references=False)


def inlined_in_place(loop: Loop) -> Loop:
    """A part of such a loop."""
    return _compiled(loop, forceinline=True, counts_references=False)


def _compiled(
    loop: Loop,
    *,
    forceinline: bool = False,
    counts_references: bool = True,
    pipeline: type[Compiler] = Compiler,
) -> Loop:
    loop.__qualname__ += f"_{_definitions_of(loop)}"
    decorate = partial(
        numba.njit,
        error_model="numpy",
        forceinline=forceinline,
        pipeline_class=pipeline,
        _nrt=counts_references,
    )
    try:
        return cast(Loop, decorate(cache=True)(loop))
    except RuntimeError:  # nowhere to keep it: compiled anew by every process
        return cast(Loop, decorate()(loop))


def _definitions_of(loop: Callable[..., object]) -> str:
    """Of the classes and parts that its file takes from others of the package: they are compiled in. So is
    what those take from others again.
    """
    package = loop.__module__.partition(".")[0]
    found, waiting = set[str](), _taken_from(loop.__globals__, package)
    while waiting:
        found |= waiting
        waiting = {other for module in waiting for other in _taken_by(module, package)} - found
    return hashlib.sha256(b"".join(map(_digest, sorted(found - {loop.__module__})))).hexdigest()[:8]


def _taken_from(names: dict[str, Any], package: str) -> set[str]:
    """The modules of the package whose classes and parts are among them."""
    modules = {each.__module__ for each in names.values() if isinstance(each, (type, Dispatcher))}
    return {name for name in modules if name.partition(".")[0] == package}


@cache
def _taken_by(module: str, package: str) -> set[str]:
    return _taken_from(vars(sys.modules[module]), package)


@cache
def _digest(module: str) -> bytes:
    return hashlib.sha256(inspect.getsource(sys.modules[module]).encode()).digest()
