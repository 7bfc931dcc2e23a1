"""The decision core: a book, what is remembered, and frames; out come verdicts. No I/O, no clock, no chance.

Portfolios are independent of each other, so a whole block of frames is looked at in one pass, and only where
something is up is a portfolio taken through its frames one by one. When what it did changes its own figures
(work in flight, a liquidation), its remaining frames are looked at again. The outcome is that of deciding
frame by frame.
"""

from collections.abc import Iterable, Mapping, Sequence

from app.domain.identifiers import PolicyId, PortfolioId
from app.engine.book import Book
from app.engine.market_view import FrameBlock
from app.engine.memory import PolicyMemory
from app.engine.metrics import Pairs, observe
from app.engine.triggers import evaluate_triggers, liquidated_accounts
from app.engine.turn import Sighting, Turn
from app.engine.verdicts import Verdict

Todo = dict[PortfolioId, Sequence[int]]


def decide(
    book: Book,
    memories: Mapping[PolicyId, PolicyMemory],
    block: FrameBlock,
    todo: Todo,
) -> dict[PortfolioId, Verdict]:
    """Carries the portfolios of `todo` through their frames of the block (indices, ascending).

    The book keeps what was decided (work in flight, liquidations), so that the next block goes on from
    there; whoever could not commit a verdict puts the portfolio back as it is stored and decides again.
    """
    turns = {portfolio_id: Turn(book, block, memories, portfolio_id) for portfolio_id in todo}
    while todo:
        todo = _pass(book, block, turns, todo)
    return {portfolio_id: turn.verdict for portfolio_id, turn in turns.items()}


def affected(book: Book, block: FrameBlock, due: Iterable[tuple[int, PortfolioId]]) -> Todo:
    """Who must look at which frames: those whose inputs changed, and those whose time has come.

    `due` holds (market time, portfolio): the portfolio looks at the first frame at or after that time.
    """
    frames: dict[PortfolioId, set[int]] = {}
    for k, rows in enumerate(block.changed_rows):
        for number in book.views_on(rows):
            frames.setdefault(book.view(number).portfolio.id, set()).add(k)
    for time_ns, portfolio_id in due:
        later = (k for k, frame in enumerate(block.frames) if frame.time_ns >= time_ns)
        first = next(later, None)
        if first is not None and portfolio_id in book:
            frames.setdefault(portfolio_id, set()).add(first)
    return {portfolio_id: sorted(ks) for portfolio_id, ks in frames.items()}


def _pass(book: Book, block: FrameBlock, turns: Mapping[PortfolioId, Turn], todo: Todo) -> Todo:
    """One look at everything in `todo`; answers what must be looked at again."""
    pairs = [(number, k) for owner, ks in todo.items() for k in ks for number in book.views_of(owner)]
    views = [book.view(number) for number, _ in pairs]
    figures = observe(book, block, Pairs.of(pairs))
    triggers = evaluate_triggers(book, views, figures)
    fired = {int(pair) for pair in triggers.gathered.pairs[triggers.fired]}
    broken: dict[int, list[int]] = {}
    for pair, ordinal in liquidated_accounts(views, figures):
        broken.setdefault(pair, []).append(ordinal)
    again: Todo = {}
    for pair, (_, k) in enumerate(pairs):
        owner = views[pair].portfolio.id
        turn = turns[owner]
        if owner in again or not (pair in fired or pair in broken or turn.has_business(k)):
            continue
        sighting = Sighting(views[pair], block.frames[k], k, pair, figures, triggers, broken.get(pair, []))
        changed = turn.take(sighting)
        wakes = turn.frames_to_wake(k)
        if changed or wakes - set(todo[owner]):
            first = k if changed else k + 1
            again[owner] = sorted({later for later in todo[owner] if later >= first} | wakes)
    return again
