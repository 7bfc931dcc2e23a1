"""Registers: what a condition must remember between frames, and how a frame changes it.

A dwell remembers since when its part is true; a crossing, on which side of the level its metric was (-1 or
1); a rate of change, samples of its metric as (time, value), the newest first, a 32nd of its window apart.
"""

from collections.abc import Sequence
from math import isnan

from app.engine.conditions import SAMPLES, SAMPLES_PER_WINDOW, Opcode, Programme, Row

Registers = tuple[float, ...]
_NS_PER_US = 1_000
_CHANGES = (Opcode.CHANGE, Opcode.RELATIVE_CHANGE)
_CROSSINGS = (Opcode.CROSSES_ABOVE, Opcode.CROSSES_BELOW)


def fitting(programme: Programme, registers: Registers) -> Registers:
    """Of a policy that remembers nothing yet, or of another condition, nothing is known."""
    return registers if len(registers) == programme.registers else (0.0,) * programme.registers


def advanced(programme: Programme, registers: Registers, results: Sequence[float], time_ns: int) -> Registers:
    """The registers after a frame, from the results of the programme on it."""
    found = list(fitting(programme, registers))
    time_us = float(time_ns // _NS_PER_US)
    for row in programme.rows:
        value = results[row.left] if row.opcode >= Opcode.CROSSES_ABOVE else float("nan")
        if isnan(value):
            continue  # what is not known neither begins nor ends anything
        if row.opcode in _CROSSINGS and value != row.constant:
            found[row.subject] = 1.0 if value > row.constant else -1.0
        elif row.opcode is Opcode.DWELLS:
            since = found[row.subject] or time_us
            found[row.subject] = since if value else 0.0
        elif row.opcode in _CHANGES and time_us - found[row.subject] >= row.constant / SAMPLES_PER_WINDOW:
            samples = slice(row.subject, row.subject + 2 * SAMPLES)
            found[samples] = [time_us, value, *found[samples][:-2]]
    return tuple(found)


def wakes_ns(programme: Programme, registers: Registers, after_ns: int) -> list[int]:
    """Market times after which a look is due, though nothing of what is read may have changed."""
    if not registers:
        return []
    due_us = (
        registers[row.subject] + _waits_us(row)
        for row in programme.rows
        if row.opcode >= Opcode.CHANGE and registers[row.subject]
    )
    return sorted({time_ns for us in due_us if (time_ns := int(us) * _NS_PER_US) > after_ns})


def _waits_us(row: Row) -> float:
    return row.constant / SAMPLES_PER_WINDOW if row.opcode in _CHANGES else row.constant
