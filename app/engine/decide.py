"""The decision core: a book, what is remembered, and frames; out come verdicts. No I/O, no clock, no chance.

Portfolios are independent of each other, so a whole block of frames is looked at in one pass, and only where
something is up is a portfolio taken through its frames one by one. When what it did changes its own figures
(work in flight, funding, an expiry, a liquidation), its remaining frames are looked at again. The outcome is
that of deciding frame by frame.
"""

from collections.abc import Collection, Iterable, Mapping

import numpy as np

from app.domain.identifiers import PolicyId, PortfolioId
from app.engine.book import NOBODY, Book, Todo
from app.engine.frame_block import FrameBlock
from app.engine.memory import PolicyMemory
from app.engine.metrics import completed, glance
from app.engine.readers import readers_of
from app.engine.records import Sighting
from app.engine.sleeping import settle
from app.engine.tables import PairColumns
from app.engine.turn import Turn
from app.engine.valuation import Markets
from app.engine.verdicts import Verdict
from app.quant.arrays import BoolArray, IntArray


def decide(
    book: Book,
    memories: Mapping[PolicyId, PolicyMemory],
    block: FrameBlock,
    todo: Todo,
    defects: dict[PortfolioId, Exception] | None = None,
) -> dict[PortfolioId, Verdict]:
    """Carries portfolios through their frames of the block; the verdicts of those where something was up.

    The book keeps what was decided (work in flight, liquidations), so that the next block goes on from
    there; whoever could not commit a verdict puts the portfolio back as it is stored and decides again.

    A portfolio that cannot be decided is a defect of ours, and no other portfolio's misfortune: where
    `defects` are asked for, it is told there, has no verdict, and is no longer in the book.
    """
    turns: dict[int, Turn] = {}
    failed: dict[int, Exception] = {}
    markets = Markets(block.on(book.universe))
    while todo:
        book.compact_when_due()
        todo = _pass(book, memories, markets, turns, todo, failed)
        if failed:
            if defects is None:
                raise next(iter(failed.values()))
            todo = _without(todo, failed)
            defects |= {book.portfolio_id(slot): error for slot, error in failed.items()}
    for slot in failed:
        del turns[slot]
        book.remove(book.portfolio_id(slot))
    return {book.portfolio_id(slot): turn.verdict for slot, turn in turns.items()}


def affected(book: Book, block: FrameBlock, due: Iterable[tuple[int, PortfolioId]] = ()) -> Todo:
    """Who must look at which frames: those whose inputs changed, and those whose time has come.

    `due` holds (market time, portfolio): the portfolio looks at the first frame at or after that time. Whose
    policies depend on a market that turned looks at that frame.
    """
    found = book.woken(block)
    extra = [
        (slot, turned.k)
        for turned in block.turned
        if turned.instrument in book.universe.index
        for slot in readers_of(book, book.universe.index[turned.instrument]).tolist()
    ]
    for time_ns, portfolio_id in due:
        first = next((k for k, frame in enumerate(block.frames) if frame.time_ns >= time_ns), None)
        if first is not None and portfolio_id in book:
            extra.append((book.slot(portfolio_id), first))
    return _ordered([*zip(*(column.tolist() for column in found), strict=True), *extra]) if extra else found


def whole_block(book: Book, block: FrameBlock, portfolio_ids: Iterable[PortfolioId]) -> Todo:
    """These portfolios, on every frame."""
    slots = [book.slot(portfolio_id) for portfolio_id in portfolio_ids if portfolio_id in book]
    return _ordered((slot, k) for k in range(len(block.frames)) for slot in slots)


def portfolios_of(book: Book, todo: Todo) -> set[PortfolioId]:
    return {book.portfolio_id(slot) for slot in np.unique(todo.slots).tolist()}


def only(book: Book, todo: Todo, portfolio_ids: Iterable[PortfolioId]) -> Todo:
    """What of it these portfolios have to do, as far as they are still there."""
    slots = [book.slot(portfolio_id) for portfolio_id in portfolio_ids if portfolio_id in book]
    return _kept(todo, np.isin(todo.slots, slots))


def anew(book: Book, block: FrameBlock, todo: Todo, portfolio_ids: Iterable[PortfolioId]) -> Todo:
    """What of it these portfolios have to do that were changed meanwhile: all frames with news of theirs."""
    asked = only(book, todo, portfolio_ids)
    slots = [book.slot(portfolio_id) for portfolio_id in portfolio_ids if portfolio_id in book]
    news = [(slot, k) for slot in slots for k in book.frames_of_news(slot, block)]
    return _ordered([*zip(asked.slots.tolist(), asked.frames.tolist(), strict=True), *news])


def _without(todo: Todo, slots: Collection[int]) -> Todo:
    return _kept(todo, ~np.isin(todo.slots, list(slots)))


def _kept(todo: Todo, kept: BoolArray) -> Todo:
    return Todo(todo.slots[kept], todo.frames[kept])


def joined(todo: Todo, more: Todo) -> Todo:
    """Both, where no portfolio is in both."""
    return Todo(np.concatenate((todo.slots, more.slots)), np.concatenate((todo.frames, more.frames)))


def _ordered(pairs: Iterable[tuple[int, int]]) -> Todo:
    found = sorted(set(pairs), key=lambda pair: (pair[1], pair[0]))
    slots, frames = np.array(found, dtype=np.int64).reshape(-1, 2).T.copy()  # loops are compiled for rows
    return Todo(slots, frames)


def _pass(
    book: Book,
    memories: Mapping[PolicyId, PolicyMemory],
    markets: Markets,
    turns: dict[int, Turn],
    todo: Todo,
    failed: dict[int, Exception],
) -> Todo:
    """One look at everything in `todo`; answers what must be looked at again."""
    block = markets.block
    pairs, slots = _views(book, todo)
    figures = glance(book, block, pairs)
    watched = book.slots.arrays.watched[slots]
    findings = figures.findings
    up = findings.fired | findings.broken | findings.crossed | findings.due | findings.advances | watched
    if block.turned:
        up |= np.isin(pairs.frame, [turned.k for turned in block.turned])
    book.looks += up.size
    book.idle_looks += up.size - int(np.count_nonzero(up))
    again: dict[int, set[int]] = {}
    last = len(block.frames) - 1
    chosen = np.flatnonzero(up)
    shown, places = completed(book, block, figures, chosen)
    for pair, place in zip(chosen.tolist(), places.tolist(), strict=True):
        slot, number, k = int(slots[pair]), int(pairs.number[pair]), int(pairs.frame[pair])
        if slot in again or slot in failed:
            continue
        view = book.view(number)
        turn = turns.get(slot)
        if turn is None:
            turn = turns[slot] = Turn(book, markets, memories, view.portfolio)
        try:
            changed = turn.take(Sighting(number, view, k, block.frames[k], place, shown))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this portfolio's alone
            failed[slot] = error
            continue
        watches = book.watch(view.portfolio.id, suppressed=turn.is_suppressed())
        wakes = turn.frames_to_wake(k)
        went_on, turn.went_on = turn.went_on, False
        if changed or wakes or went_on or (watches and not watched[pair]):
            asked = todo.frames[todo.slots == slot].tolist()
            news = book.frames_of_news(slot, block) if k < last else ()
            begin = k if changed else k + 1
            again[slot] = wakes.union(later for later in (*asked, *news) if later >= begin)
    unsettled = {slot for slot, frames in again.items() if frames}.union(failed)
    settle(book, block, pairs, figures, slots, up, unsettled)
    return _ordered((slot, k) for slot, frames in again.items() for k in frames)


def _views(book: Book, todo: Todo) -> tuple[PairColumns, IntArray]:
    """The views of the slots, and whose each is; what really stands comes first, for it may be liquidated."""
    slots = book.slots.arrays
    standing = slots.standing[todo.slots]
    if not (standing != NOBODY).any():
        return PairColumns(slots.deciding[todo.slots], todo.frames), todo.slots
    numbers = np.stack((standing, slots.deciding[todo.slots]), axis=1).reshape(-1)
    there = numbers != NOBODY
    return PairColumns(numbers[there], np.repeat(todo.frames, 2)[there]), np.repeat(todo.slots, 2)[there]
