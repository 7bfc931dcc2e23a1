"""The tiers of a stress response: into which one a metric leads, and on which side of them it stands.

Rows hold the metric between where the next tier begins and where the present one is left again. Stress is up,
or down where the tiers go by `below`.
"""

from collections.abc import Sequence

from app.domain.policies import StressResponse
from app.engine.memory import PolicyMemory
from app.engine.scene import Row


def escalates(policy: StressResponse, row: Row) -> bool:
    return row.value < row.low if policy.falls else row.value > row.high


def recovers(policy: StressResponse, row: Row) -> bool:
    return row.value > row.high if policy.falls else row.value < row.low


def tier_of(memory: PolicyMemory) -> int:
    """0 is calm."""
    return int(memory.registers[0]) if memory.registers else 0


def tier_after(policy: StressResponse, rows: Sequence[Row], tier: int) -> int:
    """Up to the highest tier that the metric has passed; down by one at a time."""
    for row in rows:
        if row.fired and escalates(policy, row):
            levels = [float(each.enters_at) for each in policy.tiers]
            return sum(row.value <= level if policy.falls else row.value >= level for level in levels)
        if row.fired and recovers(policy, row):
            return tier - 1
    return tier
