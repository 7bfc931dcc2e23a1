"""What portfolios hold as columns, before it stands in a book: all of them at once, or a single one.

The ranges of accounts, positions, balances and policies follow each other in stored order. Instruments are
rows of the universe, assets and policies numbers.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import NamedTuple, TypeVar

import numpy as np

from app.domain.identifiers import Asset
from app.domain.portfolios import MarginMode, Portfolio
from app.engine.policy_rows import PolicyCatalogue, PolicyRows, PolicyTables, tables_of_policies
from app.engine.universe import Universe
from app.quant.arrays import BoolArray, FloatArray, IntArray

PAPER_VENUE = "paper"
Owner = TypeVar("Owner")


class PortfolioRows(NamedTuple):
    """`underlyings_start`: of those that are exposures first, whether or not they are held. One start more
    than there are portfolios, each where the one before ends.
    """

    currency: IntArray
    stands: BoolArray
    account_start: IntArray
    policy_start: IntArray
    underlyings_start: IntArray


class AccountRows(NamedTuple):
    """`paper`: Ballast itself closes it below maintenance. Starts as above."""

    paper: BoolArray
    lends: BoolArray
    portfolio_margin: BoolArray
    position_start: IntArray
    balance_start: IntArray


class PositionRows(NamedTuple):
    instrument: IntArray
    quantity: FloatArray
    entry_price: FloatArray
    accrued_ns: IntArray


class BalanceRows(NamedTuple):
    asset: IntArray
    amount: FloatArray
    haircut: FloatArray


class Counts(NamedTuple):
    """Of the rows that the policies come to."""

    triggers: int
    parameters: int
    conditions: int
    registers: int
    marks: int

    @classmethod
    def of(cls, tables: PolicyTables, policies: IntArray) -> "Counts":
        starts = (tables.trigger_start, tables.parameter_start, tables.condition_start, tables.mark_start)
        triggers, parameters, conditions, marks = (int(np.diff(each)[policies].sum()) for each in starts)
        return cls(triggers, parameters, conditions, int(tables.registers[policies].sum()), marks)


class HoldingRows(NamedTuple):
    """`policies` number those of the `tables`; `underlyings` are assets."""

    portfolios: PortfolioRows
    accounts: AccountRows
    positions: PositionRows
    balances: BalanceRows
    policies: IntArray
    tables: PolicyTables
    counts: Counts
    underlyings: IntArray


class Held(NamedTuple):
    """Of one portfolio: what it holds, whether that really stands, and the rows of its policies."""

    holdings: Portfolio
    stands: bool
    policies: Sequence[PolicyRows]
    underlyings: Sequence[Asset] = ()


def rows_of(universe: Universe, held: Sequence[Held], catalogue: PolicyCatalogue) -> HoldingRows:
    """Tables of policies are kept for the one portfolio that changes, not for all of them together."""
    accounts = [account for each in held for account in each.holdings.accounts]
    positions = [position for account in accounts for position in account.positions]
    balances = [balance for account in accounts for balance in account.balances]
    policies = [policy for each in held for policy in each.policies]
    tables = catalogue.tables(policies) if len(held) == 1 else tables_of_policies(policies)
    index, asset = universe.index, universe.asset
    return HoldingRows(
        portfolios=PortfolioRows(
            currency=_integers(asset(each.holdings.valuation_currency) for each in held),
            stands=np.array([each.stands for each in held], dtype=bool),
            account_start=_starts(held, lambda each: each.holdings.accounts),
            policy_start=_starts(held, lambda each: each.policies),
            underlyings_start=_starts(held, lambda each: each.underlyings),
        ),
        accounts=AccountRows(
            paper=np.array([account.venue == PAPER_VENUE for account in accounts], dtype=bool),
            lends=np.array([each.margin_mode is MarginMode.LENDING for each in accounts], dtype=bool),
            portfolio_margin=np.array(
                [account.margin_mode is MarginMode.PORTFOLIO for account in accounts], dtype=bool
            ),
            position_start=_starts(accounts, lambda account: account.positions),
            balance_start=_starts(accounts, lambda account: account.balances),
        ),
        positions=PositionRows(
            instrument=_integers(index[position.instrument] for position in positions),
            quantity=np.array([float(position.quantity) for position in positions]),
            entry_price=np.array([float(position.entry_price) for position in positions]),
            accrued_ns=_integers(position.accrued_ns for position in positions),
        ),
        balances=BalanceRows(
            asset=_integers(asset(balance.asset) for balance in balances),
            amount=np.array([float(balance.amount) for balance in balances]),
            haircut=np.array([float(balance.haircut) for balance in balances]),
        ),
        policies=np.arange(len(policies)),
        tables=tables,
        counts=Counts(
            triggers=len(tables.triggers),
            parameters=tables.parameters.size,
            conditions=len(tables.conditions),
            registers=sum(policy.registers for policy in policies),
            marks=tables.marks.size,
        ),
        underlyings=_integers(asset(name) for each in held for name in each.underlyings),
    )


def _integers(values: Iterable[int]) -> IntArray:
    return np.array(list(values), dtype=np.int64)


def _starts(owners: Iterable[Owner], parts: Callable[[Owner], Sequence[object]]) -> IntArray:
    return np.array([0, *accumulate(len(parts(owner)) for owner in owners)], dtype=np.int64)
