"""What holds of a kind of value where nobody declares otherwise: how old, how far apart sources may be.

Rates and indices may be about zero, where a share says nothing: nobody is doubted for one, and none is too
uncertain. Only prices are held against their average.
"""

from dataclasses import replace
from math import inf

from app.domain.market import TickKind
from app.oracle.declared import (
    CONVERTED,
    SECOND_NS,
    Declared,
    Ladder,
    LadderTerms,
    Quorum,
    QuorumTerms,
    Source,
    Standard,
)

_MINUTE_NS, _HOUR_NS = 60 * SECOND_NS, 3_600 * SECOND_NS


def _aged(stale_for_trading_ns: int, stale_for_margin_ns: int, *, uncertain: float = inf) -> Ladder:
    return Ladder(
        uncertain_fraction=uncertain,
        dispersed_fraction=uncertain,
        stale_for_margin_ns=stale_for_margin_ns,
        stale_for_trading_ns=stale_for_trading_ns,
    )


_PRICE = Standard(tolerance=0.005)
STANDARDS = {
    TickKind.PRICE: _PRICE,
    TickKind.MARK: _PRICE,
    TickKind.IMPLIED_VOL: Standard(_aged(_MINUTE_NS, 5 * _MINUTE_NS, uncertain=0.25), tolerance=0.05),
    TickKind.FUNDING_RATE: Standard(_aged(_HOUR_NS, 9 * _HOUR_NS)),  # the longest interval is of 8 hours
    TickKind.STRESS: Standard(_aged(10 * _MINUTE_NS, 2 * _HOUR_NS)),
    TickKind.SENTIMENT: Standard(_aged(26 * _HOUR_NS, 50 * _HOUR_NS)),  # published once a day
    # A block may change the base fee by an eighth (EIP-1559), and sources are some blocks apart.
    TickKind.GAS_PRICE: Standard(_aged(30 * SECOND_NS, 2 * _MINUTE_NS, uncertain=0.5), tolerance=0.25),
    TickKind.BOOK_DEPTH: Standard(_aged(10 * SECOND_NS, _MINUTE_NS, uncertain=0.5), tolerance=0.25),
    TickKind.POOL_DEPTH: Standard(_aged(_MINUTE_NS, 5 * _MINUTE_NS, uncertain=0.5), tolerance=0.1),
}
_BY_KIND = frozenset({TickKind.IMPLIED_VOL, TickKind.FUNDING_RATE})
"""An instrument's own quorum and ladder are those of its prices."""


def standard_of(kind: TickKind, declared: Declared) -> Standard:
    return declared.kinds.get(kind) or STANDARDS[kind]


def ladder_of(kind: TickKind, name: str, declared: Declared) -> Ladder:
    own = LadderTerms() if kind in _BY_KIND else declared.ladders.get(name, LadderTerms())
    return completed_ladder(standard_of(kind, declared).ladder, own)


def quorum_of(kind: TickKind, name: str, declared: Declared) -> Quorum:
    own = QuorumTerms() if kind in _BY_KIND else declared.quorums.get(name, QuorumTerms())
    return replace(standard_of(kind, declared).quorum, **own)


def completed_ladder(usual: Ladder, own: LadderTerms) -> Ladder:
    """Nothing is stale for margin before it is for trading: an age that is left out gives way."""
    ladder = replace(usual, **own)
    if ladder.stale_for_trading_ns <= ladder.stale_for_margin_ns:
        return ladder
    if "stale_for_margin_ns" in own:
        return replace(ladder, stale_for_trading_ns=ladder.stale_for_margin_ns)
    return replace(ladder, stale_for_margin_ns=ladder.stale_for_trading_ns)


def voting_age_ns(kind: TickKind, source: Source, declared: Declared, of_prices_ns: int) -> int:
    """How old a word may be that votes: as its source declares, else as its kind, after the heartbeat."""
    return (source.maximum_age_ns or _usual_age_ns(kind, declared, of_prices_ns)) + source.heartbeat_ns


def admitted_age_ns(kind: TickKind, source: Source, declared: Declared, of_prices_ns: int) -> int:
    """How old a tick may be that is let in: no source is kept out by what others of its kind are held to.

    Never less than a price may be: so old a tick is let in without a closer look.
    """
    usual_ns = _usual_age_ns(kind, declared, of_prices_ns)
    return max(of_prices_ns, usual_ns, source.maximum_age_ns or 0) + source.heartbeat_ns


def _usual_age_ns(kind: TickKind, declared: Declared, of_prices_ns: int) -> int:
    if kind in CONVERTED or kind is TickKind.HEARTBEAT:
        return of_prices_ns
    return standard_of(kind, declared).ladder.stale_for_margin_ns
