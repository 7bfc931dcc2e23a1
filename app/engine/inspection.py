"""A portfolio's policies as they stand now, for people: the decision core itself, on a book of one."""

from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace

from app.domain.adjustments import Adjustment, Decision
from app.domain.identifiers import PolicyId
from app.domain.policies import StoredPolicy
from app.domain.portfolios import Portfolio
from app.engine.book import Book
from app.engine.decide import decide, whole_block
from app.engine.explanations import figure_of
from app.engine.guards import cooldown_until_ns, is_emergency
from app.engine.market_view import MarketView
from app.engine.memory import NOTHING, PolicyMemory
from app.engine.metrics import observe
from app.engine.records import rows_of
from app.engine.sleeping import Rest, rest_of
from app.engine.tables import PairColumns
from app.engine.verdicts import metric_texts

Memories = Mapping[PolicyId, PolicyMemory]
STEP_OF_WIDTH, STEP_OF_PRICE = 0.1, 0.01
"""The smaller one is how far an end of an interval moves before that is news to people."""


class Trigger(Struct, frozen=True):
    """What a policy compares: it fires below `low` and above `high`. NaN is unknown, infinity no limit."""

    figure: str
    value: float
    low: float
    high: float
    fired: bool


class Standing(Struct, frozen=True):
    """One policy now; `metrics` are the portfolio's, `cooldown_until_ns` may lie behind.

    `rest`: between which prices and until when it certainly does not fire; None where it does, or no bound is
    known.
    """

    triggers: tuple[Trigger, ...]
    metrics: dict[str, str]
    memory: PolicyMemory
    cooldown_until_ns: int
    time_ns: int
    rest: Rest | None


class Preview(Struct, frozen=True):
    """What a policy would do now: nothing where it does not fire or would be held back (`decision` says)."""

    standing: Standing
    decision: Decision | None
    adjustment: Adjustment | None


def standing_of(
    portfolio: Portfolio, policy_id: PolicyId, memories: Memories, market: MarketView
) -> Standing:
    """A disabled one is looked at as if it were enabled: `portfolio.policies` has to hold it."""
    book = _book(portfolio, memories, market)
    return _standing(book, portfolio, policy_id, memories, market)


def preview(portfolio: Portfolio, stored: StoredPolicy, memories: Memories, market: MarketView) -> Preview:
    """`stored` beside the portfolio's own policies, in place of one of the same id."""
    others = tuple(each for each in portfolio.policies if each.id != stored.id)
    with_it = replace(portfolio, policies=(*others, stored))
    book, block = _book(with_it, memories, market), market.block()
    standing = _standing(book, with_it, stored.id, memories, market)
    verdict = decide(book, memories, block, whole_block(book, block, [portfolio.id])).get(portfolio.id)
    if verdict is None:
        return Preview(standing, None, None)
    decision = next((d for d in verdict.decisions if d.policy_id == stored.id), None)
    adjustment = next((a for a in verdict.adjustments if stored.id in a.policies), None)
    return Preview(standing, decision, adjustment)


def rest_alone(
    portfolio: Portfolio, stored: StoredPolicy, memories: Memories, market: MarketView
) -> Rest | None:
    """As if it were the only policy, and nobody were liquidated. None: it fires, or no bound is known."""
    alone = replace(portfolio, policies=(stored,))
    book = _book(alone, memories, market, stands=False)
    return rest_of(book, market.block(), book.slot(portfolio.id))


def has_moved(told: Rest, now: Rest, market: MarketView) -> bool:
    """By a step that is worth telling, or what was told has run out."""
    if told.prices.keys() != now.prices.keys() or told.until_ns <= market.time_ns:
        return True
    block = market.block()
    for row, edges in now.prices.items():
        low, high = told.prices[row]
        step = min(STEP_OF_WIDTH * (high - low), STEP_OF_PRICE * block.price(0, row))
        if any(was != edge and abs(was - edge) > step for was, edge in zip((low, high), edges, strict=True)):
            return True
    return False


def _book(portfolio: Portfolio, memories: Memories, market: MarketView, *, stands: bool = True) -> Book:
    book = Book(market.universe)
    for stored in portfolio.policies:
        book.recall(stored.id, memories.get(stored.id, NOTHING).registers_for(stored.version))
    book.put(portfolio, stands=stands)
    return book


def _standing(
    book: Book, portfolio: Portfolio, policy_id: PolicyId, memories: Memories, market: MarketView
) -> Standing:
    block = market.block()
    slots = book.slots.arrays.deciding[:1].copy()  # loops are compiled for rows
    number = int(slots[0])
    view = book.view(number)
    figures = observe(book, block, PairColumns(slots, slots * 0))
    at = next(n for n, stored in enumerate(portfolio.policies) if stored.id == policy_id)
    policy, rows = portfolio.policies[at].policy, rows_of(book, figures, view=number, pair=0)[at]
    accounts = [account.name for account in view.holdings.accounts]
    memory = memories.get(policy_id, NOTHING)
    fired = [row for row in rows if row.fired]
    return Standing(
        triggers=tuple(
            Trigger(*figure_of(policy, row, accounts=accounts), row.low, row.high, row.fired) for row in rows
        ),
        metrics=metric_texts(view.underlyings, figures, 0),
        memory=memory,
        cooldown_until_ns=cooldown_until_ns(policy, memory, emergency=is_emergency(policy, fired)),
        time_ns=market.time_ns,
        rest=rest_alone(portfolio, portfolio.policies[at], memories, market),
    )
