"""Waiting in tests: for a condition, with a deadline; never for a length of time."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

_PAUSE_SECONDS = 0.01


async def eventually(
    condition: Callable[[], T | Awaitable[T]], *, timeout: float = 10.0, what: str = "the condition"
) -> T:
    """What the condition gave once it was true. It may be async, and may assert.

    Past the deadline: its last failed assertion, or an AssertionError that shows what it gave last.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            given = condition()
            value: T = await given if inspect.isawaitable(given) else given
            if value:
                return value
            failure = AssertionError(f"{what} did not come true within {timeout} s; last: {value!r}")
        except AssertionError as error:
            failure = error
        if time.monotonic() > deadline:
            raise failure
        await asyncio.sleep(_PAUSE_SECONDS)
