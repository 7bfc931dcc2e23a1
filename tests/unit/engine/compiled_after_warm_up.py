"""`python -m tests.unit.engine.compiled_after_warm_up`: what portfolios of every kind still had compiled."""

import json
import sys

from numba.core.dispatcher import Dispatcher

from app.engine.warm_up import warm_up
from tests.unit.engine.test_sleeping import Side, World


def compiled():
    """How often, by loop."""
    return {
        f"{name}.{loop}": len(value.signatures)
        for name, module in sys.modules.items()
        if name.startswith("app.")
        for loop, value in vars(module).items()
        if isinstance(value, Dispatcher) and value.py_func.__module__ == name
    }


def main():
    warm_up()
    before = compiled()
    for ruled in (False, True):
        world = World(5, portfolios=20, ruled=ruled)
        side = Side(world, sleeps=True, tells_margins=True)
        for frames in [[world.frame], *(world.frames() for _ in range(5))]:
            side.take(frames)
    after = compiled()
    json.dump(sorted(loop for loop, count in after.items() if count > before.get(loop, 0)), sys.stdout)


if __name__ == "__main__":
    main()
