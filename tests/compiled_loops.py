"""Which loops have been compiled, or taken from what was kept, in this process."""

import sys

from numba.core.dispatcher import Dispatcher


def compiled():
    """How often, by loop."""
    return {
        f"{name}.{loop}": len(value.signatures)
        for name, module in sys.modules.items()
        if name.startswith("app.")
        for loop, value in vars(module).items()
        if isinstance(value, Dispatcher) and value.py_func.__module__ == name
    }


def compiled_since(before):
    """Those that were not by then, or not for these types."""
    return sorted(loop for loop, count in compiled().items() if count > before.get(loop, 0))
