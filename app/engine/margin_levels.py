"""At which levels of the margin ratio accounts are, and what is remembered of it."""

import numpy as np

from app.domain.identifiers import AccountId, PolicyId, derived_id
from app.domain.margin_levels import ratios_of
from app.engine.holding_rows import HoldingRows
from app.engine.memory import NOTHING, PolicyMemory
from app.engine.view_rows import AccountColumns


class MarginLevels:
    """Of accounts that are at one; every other is calm."""

    def __init__(self) -> None:
        self._levels: dict[AccountId, int] = {}

    def of(self, account_id: AccountId) -> int:
        return self._levels.get(account_id, 0)

    def recall(self, account_id: AccountId, level: int) -> None:
        if level:
            self._levels[account_id] = level
        else:
            self._levels.pop(account_id, None)


def put_level(row: int, level: int, accounts: AccountColumns) -> None:
    accounts.calm_from[row], accounts.calm_below[row] = ratios_of(level)


def put_calm(first: int, rows: HoldingRows, accounts: AccountColumns) -> None:
    """Of accounts that were just laid out, those that really stand: what is as if done warns nobody."""
    stands = np.repeat(rows.portfolios.stands, np.diff(rows.portfolios.account_start))
    _, accounts.calm_below[first : first + stands.size][stands] = ratios_of(0)


def is_followed(row: int, accounts: AccountColumns) -> bool:
    return bool(accounts.calm_from[row] > -np.inf or accounts.calm_below[row] < np.inf)


def memory_id(account_id: AccountId) -> PolicyId:
    """Under which it is remembered, among what policies of the portfolio remember."""
    return PolicyId(derived_id("margin level", account_id))


def remembered(level: int) -> PolicyMemory:
    return PolicyMemory(registers=(float(level),)) if level else NOTHING


def level_of(memory: PolicyMemory) -> int:
    return int(memory.registers[0]) if memory.registers else 0
