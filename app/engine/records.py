"""What is written down of a frame: decisions with their inputs, adjustments, what counts as traded."""

from collections.abc import Iterable, Sequence
from math import copysign
from typing import Protocol

import numpy as np
from msgspec import Struct

from app.domain.adjustments import (
    Adjustment,
    AdjustmentState,
    Decision,
    Leg,
    Outcome,
    Reason,
    TradeLeg,
    TransferLeg,
)
from app.domain.identifiers import AdjustmentId, Asset, DecisionId, PolicyId, derived_id
from app.domain.market import Frame
from app.domain.policies import DeltaNeutral, LiquidationGuard, Mode, StoredPolicy
from app.domain.portfolios import Portfolio, PortfolioState
from app.domain.times import NS_PER_SECOND
from app.domain.values import decimal_text
from app.engine.book import Book
from app.engine.explanations import conditions_of
from app.engine.figures import AccountFigures
from app.engine.frame_block import FrameBlock
from app.engine.memory import PolicyMemory, Traded
from app.engine.metrics import Figures
from app.engine.plan import Plan
from app.engine.rounding import amount_up, price
from app.engine.scene import Row
from app.engine.trigger_rows import TriggerKind
from app.engine.valuation import Markets
from app.engine.verdicts import Verdict, metric_texts, reduces_risk
from app.engine.views import View


class Sighting(Struct, frozen=True):
    """A view (the book's `number`) on frame `k`: its figures are those of `pair`."""

    number: int
    view: View
    k: int
    frame: Frame
    pair: int
    figures: Figures


class Turn(Protocol):
    """Whose turn it is: the portfolio as it has become, what is remembered, and the verdict so far."""

    book: Book
    markets: Markets
    block: FrameBlock
    portfolio: Portfolio
    verdict: Verdict

    def memory(self, policy_id: PolicyId) -> PolicyMemory: ...

    def remember(self, policy_id: PolicyId, memory: PolicyMemory) -> None: ...

    def wake_at(self, time_ns: int) -> None: ...

    def adopt(self, portfolio: Portfolio, *, figures_change: bool) -> None: ...

    def change_state(self, state: PortfolioState, frame: Frame) -> None: ...


class Records:
    """Of one portfolio on one frame."""

    def __init__(self, turn: Turn, sighting: Sighting) -> None:
        self._turn = turn
        self._sighting = sighting
        self._frame = sighting.frame
        self.market = turn.markets.on(sighting.k, turn.portfolio.valuation_currency)
        self._price_rows: dict[bool, list[int]] = {}

    def hedged_price(self, stored: StoredPolicy) -> float:
        """Of what a policy keeps neutral; 0 of another."""
        policy = stored.policy
        return self.market.value_of(Asset(policy.underlying)) if isinstance(policy, DeltaNeutral) else 0.0

    def price_rows(self, *, read: bool = False) -> list[int]:
        """What the portfolio's figures are made of, and with `read` what its policies' conditions name."""
        rows = self._price_rows.get(read)
        if rows is None:
            view, block = self._sighting.view, self._turn.block
            marks = (*view.marks, *view.read) if read else view.marks
            rows = block.price_rows(self._sighting.k, marks=marks, conversions=view.conversions)
            self._price_rows[read] = rows
        return rows

    def decision(self, number: int, reason: Reason, rows: Sequence[Row], inputs: dict[str, str]) -> Decision:
        stored, frame, portfolio = self._turn.portfolio.policies[number], self._frame, self._turn.portfolio
        memory = self._turn.memory(stored.id)
        view, revision = self._sighting.view, portfolio.revision
        identity = derived_id(
            "decision", stored.id, stored.version, revision, frame.generation, frame.sequence
        )
        return Decision(
            id=DecisionId(identity),
            portfolio_id=portfolio.id,
            policy_id=stored.id,
            policy_version=stored.version,
            portfolio_revision=revision,
            position=frame.position,
            time_ns=frame.time_ns,
            outcome=Outcome.SUPPRESSED,
            reason=reason,
            conditions=conditions_of(
                stored.policy,
                [row for row in rows if row.fired],
                accounts=[account.name for account in view.holdings.accounts],
            ),
            inputs=inputs,
            repeats_before=frame.sequence - memory.suppressed_since if memory.suppressed else 0,
        )

    def adjustment(self, group: Iterable[int], decisions: dict[int, Decision], plan: Plan) -> Adjustment:
        """In the name of the first policy that it serves."""
        frame, sighting = self._frame, self._sighting
        served = [self._turn.portfolio.policies[number] for number in group]
        lead = served[0]
        automatic = lead.policy.mode is Mode.AUTO
        guards = any(isinstance(stored.policy, LiquidationGuard) for stored in served)
        lasts = min(stored.policy.guards.expiry_seconds for stored in served)
        return Adjustment(
            id=AdjustmentId(derived_id("adjustment", decisions[next(iter(group))].id)),
            portfolio_id=self._turn.portfolio.id,
            policy_id=lead.id,
            policy_version=lead.version,
            state=AdjustmentState.QUEUED if automatic else AdjustmentState.RECOMMENDED,
            mode=lead.policy.mode.value,
            priority=lead.rank,
            risk_reducing=guards or reduces_risk(plan.legs),
            legs=plan.legs,
            expected_cost=amount_up(plan.cost),
            metrics_before=metric_texts(sighting.view.underlyings, sighting.figures, sighting.pair),
            metrics_after=plan.after.metrics,
            reaches_target=not plan.misses,
            position=frame.position,
            decided_at_ns=frame.time_ns,
            expires_at_ns=frame.time_ns + lasts * NS_PER_SECOND,
            policies=tuple(stored.id for stored in served),
            misses=plan.misses,
        )

    def traded(self, legs: Sequence[Leg]) -> list[Traded]:
        """What counts toward trades an hour, turnover and reversals."""
        trades = [(leg, self.market.instrument(leg.instrument)) for leg in legs if isinstance(leg, TradeLeg)]
        if not trades:
            return []
        notional, bought = 0.0, dict[str, float]()
        for leg, instrument in trades:
            value = self.market.notional(instrument, leg.quantity)
            place = f"{leg.account_id} {instrument.underlying}"
            notional += value
            bought[place] = bought.get(place, 0.0) + copysign(value, leg.quantity)
        directions = tuple((place, int(np.sign(value))) for place, value in sorted(bought.items()))
        return [Traded(self._frame.time_ns, directions, notional)]

    def collateral_rows(self, legs: Iterable[Leg]) -> list[int]:
        """The prices by which what is moved was valued."""
        moved = (leg.asset for leg in legs if isinstance(leg, TransferLeg))
        return [row for asset in moved for row in self.market.price_rows(asset)]

    def inputs(self, rows: Iterable[int]) -> dict[str, str]:
        """Every price that was used, with the market entry that brought it."""
        k, generation = self._sighting.k, self._frame.generation
        block, names = self._turn.block, self._turn.block.universe.names
        return {
            names[row]: f"{decimal_text(price(block.price(k, row)))} @ {generation}-{block.frame_of(k, row)}"
            for row in rows
        }


def rows_of(book: Book, figures: Figures, *, view: int, pair: int) -> dict[int, list[Row]]:
    """Of every policy of the view, by its number."""
    table, here = book.triggers.arrays, figures.trigger_slice(pair)
    policies = len(book.view(view).holdings.policies)
    found: dict[int, list[Row]] = {number: [] for number in range(policies)}
    first = int(book.columns.arrays.trigger[view])
    observed, first_account = figures.triggers, int(figures.starts[0, pair])
    for row, at in enumerate(range(here.start, here.stop), start=first):
        found[int(table.policy[row])].append(
            Row(
                _KINDS[table.kind[row]],
                int(table.exposure[row]),
                int(table.account[row]),
                float(table.target[row]),
                float(observed.value[at]),
                float(observed.low[at]),
                float(observed.high[at]),
                bool(observed.fired[at]),
                *_taken_and_added(book, figures.accounts, row, first_account),
            )
        )
    return found


def _taken_and_added(
    book: Book, accounts: AccountFigures, row: int, first_account: int
) -> tuple[float, float, float]:
    """By prices that are taken against an account, as shares of its figures."""
    table = book.triggers.arrays
    if table.kind[row] != TriggerKind.ADVERSE_MARGIN_RATIO:
        return 0.0, 0.0, 0.0
    at, parameters = first_account + int(table.account[row]), book.parameters.arrays
    multiple = float(parameters.value[table.parameters[row]])
    of_gross, of_backing, of_maintenance = (
        multiple * float(spread[at]) / float(figure[at]) if figure[at] > 0.0 else 0.0
        for spread, figure in (
            (accounts.position_spread, accounts.gross_notional),
            (accounts.collateral_spread, accounts.backing),
            (accounts.maintenance_spread, accounts.maintenance_margin),
        )
    )
    return of_gross, of_backing, of_maintenance


_KINDS = list(TriggerKind)
