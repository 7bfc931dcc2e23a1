"""Programmes as an arbiter states them: levers of unlike sizes, figures in dollars, goals of three levels.

Of three in four all goals can be reached at once; the fourth asks for more than its levers can do.
"""

import numpy as np

from app.engine.programme import Programme

DOLLARS = 1e5


def programmes(variables: int, count: int) -> list[Programme]:
    """Always the same ones; half as many rows as variables, and one more. Of each something is missing."""
    drawn = np.random.default_rng(variables)
    found: list[Programme] = []
    while len(found) < count:
        programme = _programme(drawn, variables, variables // 2 + 1, reachable=len(found) % 4 != 3)
        if ((programme.low > 0.0) | (programme.high < 0.0)).any():
            found.append(programme)
    return found


def _programme(drawn: np.random.Generator, n: int, m: int, *, reachable: bool) -> Programme:
    unit = 10.0 ** drawn.uniform(-4.0, 5.0, n)  # dollars that a unit of the lever moves at most
    effects = np.where(drawn.random((m, n)) < 0.6, drawn.normal(size=(m, n)), 0.0) * unit
    sizes = drawn.random(n) * (drawn.random(n) < 0.5) * DOLLARS / unit
    middle = (effects * sizes).sum(axis=1) if reachable else drawn.normal(size=m) * 3.0 * DOLLARS
    width = 10.0 ** drawn.uniform(1.0, 4.0, m)
    side = drawn.integers(0, 3, m)
    return Programme(
        lower=np.zeros(n),
        upper=2.0 * DOLLARS / unit,
        cost=unit * 10.0 ** drawn.uniform(-4.0, -2.5, n),
        lot=np.zeros(n),
        matrix=effects,
        low=np.where(side == 1, -np.inf, middle - width),
        high=np.where(side == 2, np.inf, middle + width),
        level=drawn.integers(0, 3, m),
        scale=np.ones(m),
    )
