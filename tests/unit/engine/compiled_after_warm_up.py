"""`python -m tests.unit.engine.compiled_after_warm_up`: what portfolios of every kind still had compiled."""

import json
import sys

from app.engine.warm_up import warm_up
from tests.compiled_loops import compiled, compiled_since
from tests.unit.engine.test_sleeping import Side, World


def main():
    warm_up()
    before = compiled()
    for ruled in (False, True):
        world = World(5, portfolios=20, ruled=ruled)
        side = Side(world, sleeps=True, tells_margins=True)
        for frames in [[world.frame], *(world.frames() for _ in range(5))]:
            side.take(frames)
    json.dump(compiled_since(before), sys.stdout)


if __name__ == "__main__":
    main()
