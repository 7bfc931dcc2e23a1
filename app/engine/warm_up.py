"""Takes the compiled loops into memory, so that no tick waits for them; where they are new, compiles them."""

from decimal import Decimal

import numpy as np

from app.domain.identifiers import AccountId, Asset, PolicyId, PortfolioId, TenantId, derived_id
from app.domain.instruments import Instrument, InstrumentKind
from app.domain.market import Change, Frame, Quality, TickKind
from app.domain.policies import DeltaNeutral, StoredPolicy
from app.domain.portfolios import Account, Balance, MarginMode, Portfolio, PortfolioState, Position
from app.domain.times import NS_PER_SECOND
from app.engine.book import Book
from app.engine.census import census_of
from app.engine.decide import affected, decide
from app.engine.market_view import MarketView
from app.engine.programme import Programme
from app.engine.risk import portfolio_risk
from app.engine.series import STANDARD, Average, Forecast, Weighting
from app.engine.solver import Solver
from app.engine.universe import Universe

_NOBODY = derived_id("warm up")
_PERPETUAL = Instrument(id="W-U", kind=InstrumentKind.PERPETUAL, underlying="W", quote="U")
_OPTION = Instrument.model_validate(
    {
        "id": "W-U-C",
        "kind": "option",
        "underlying": "W",
        "quote": "U",
        "strike": 1,
        "expiry": "2100-01-01T00:00:00Z",
        "option_type": "call",
        "marked_by": "W-U",
    }
)
# Without a volatility it falls asleep, and with one it acts.
_VALUES = {TickKind.PRICE: (_PERPETUAL.id, 100.0), TickKind.IMPLIED_VOL: (_OPTION.id, 0.5)}


def warm_up() -> None:
    """Decides for one portfolio that nobody has, plans for it, counts it, and shows its risk."""
    universe = Universe([_PERPETUAL, _OPTION])
    book, market = Book(universe), MarketView(universe)
    book.put(_portfolio())
    universe.series(Forecast(_PERPETUAL.instrument_id))
    universe.series(Average(_PERPETUAL.instrument_id, Weighting.TIME, STANDARD.bar_seconds))
    for sequence, told in enumerate(((TickKind.PRICE,), (TickKind.PRICE,), tuple(_VALUES)), start=1):
        now_ns = sequence * STANDARD.bar_seconds * NS_PER_SECOND
        changes = tuple(Change(kind, *_VALUES[kind], 0.0, 1, Quality.VALID, now_ns) for kind in told)
        block = market.advance([Frame(1, sequence, now_ns, "", 0, changes)])
        decide(book, {}, block, affected(book, block))
    census_of(book)
    book.remove(PortfolioId(_NOBODY))
    portfolio_risk(_portfolio(), market)
    Solver().solve(_programme())


def _programme() -> Programme:
    """Two goals that cannot both be reached."""
    one, none = np.ones(1), np.zeros(1)
    both = np.ones(2)
    return Programme(
        lower=none,
        upper=one,
        cost=one,
        lot=none,
        matrix=np.ones((2, 1)),
        low=np.array([2.0, -np.inf]),
        high=np.array([np.inf, 0.5]),
        level=np.arange(2),
        scale=both,
    )


def _portfolio() -> Portfolio:
    one = Decimal(1)
    held = tuple(Position(instrument.instrument_id, one, one) for instrument in (_PERPETUAL, _OPTION))
    policy = DeltaNeutral(name="warm up", underlying="W", band=one / 2, hedge_instruments=(_PERPETUAL.id,))
    return Portfolio(
        id=PortfolioId(_NOBODY),
        tenant_id=TenantId(_NOBODY),
        name="warm up",
        valuation_currency=Asset("U"),
        state=PortfolioState.ACTIVE,
        revision=1,
        accounts=tuple(
            Account(
                AccountId(derived_id(mode)), mode, "paper", mode, held, (Balance(Asset("U"), 10_000 * one),)
            )
            for mode in (MarginMode.CROSS, MarginMode.PORTFOLIO)
        ),
        reserves=(),
        policies=(StoredPolicy(PolicyId(_NOBODY), 1, policy),),
    )
