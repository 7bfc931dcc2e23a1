"""What goals are, what they are made from, and those that are about the size of a position."""

from collections.abc import Iterable, Iterator, Sequence
from math import inf

from msgspec import Struct

from app.domain.identifiers import Asset, InstrumentId
from app.domain.portfolios import Portfolio, Position
from app.engine.levers import size_of
from app.engine.state import Of, State
from app.engine.trigger_rows import TriggerKind, in_scope
from app.engine.valuation import Market
from app.quant.arrays import FloatArray

ROUNDING = 1e-6
"""Collateral moves in steps of 1e-8 and prices are floats: a level is reached to this fraction."""
LEVERAGE_ACCURACY = 5e-3

Interval = tuple[float, float]
Terms = tuple[tuple[int, float], ...]


class Goal(Struct, frozen=True):
    """`terms` times the figures, in the valuation currency, to be inside `aim`.

    `figure` names what it is about, and `unit` is what one of it is worth: the figure wanted is `aim` /
    `unit` where the goal is one figure alone. Where it is a ratio held against `level`, `terms` are what
    is above that, and `per` what they are a share of. A goal that `yields` is none where another policy
    acts on the same figure.
    """

    policy: int
    step: int
    figure: str
    terms: Terms
    aim: Interval
    accepted: Interval
    unit: float = 1.0
    level: float = 0.0
    per: Terms = ()
    yields: bool = False

    def value(self, figures: Sequence[float] | FloatArray) -> float:
        return _weighed(self.terms, figures)

    def reading(self, value: float, figures: FloatArray) -> float:
        """The figure of the registry that a value stands for."""
        if not self.per:
            return value / self.unit
        share = _weighed(self.per, figures)
        return self.level + value / share if share else inf


def _weighed(terms: Terms, figures: Sequence[float] | FloatArray) -> float:
    return float(sum(float(figures[at]) * weight for at, weight in terms))


def outside(value: float, accepted: Interval) -> float:
    """How far it is."""
    return max(accepted[0] - value, value - accepted[1], 0.0)


class Row(Struct, frozen=True):
    """A trigger as it was observed.

    Where prices are taken against an account, that takes a share of its gross notional and a share of its
    backing away from what backs it, and adds a share to its maintenance margin.
    """

    kind: TriggerKind
    exposure: int
    account: int
    target: float
    value: float
    low: float
    high: float
    fired: bool
    of_gross: float = 0.0
    of_backing: float = 0.0
    of_maintenance: float = 0.0


class Scene(Struct, frozen=True):
    """What goals are made from."""

    state: State
    market: Market
    holdings: Portfolio
    underlyings: tuple[Asset, ...]

    def account_name(self, ordinal: int) -> str:
        return self.holdings.accounts[ordinal].name

    def at(self, index: int) -> float:
        return self.state.value(index)

    def worth_of(self, name: InstrumentId) -> float:
        """A contract's delta in value, its premium where that is more; NaN where a price is not known."""
        instrument = self.market.instrument(name)
        unit = self.market.unit(instrument)
        underlying = self.market.value_of(Asset(instrument.underlying))
        return max(
            abs(unit.delta) * underlying, unit.notional * self.market.value_of(instrument.settlement_asset)
        )

    def lot_of(self, name: InstrumentId) -> float:
        return float(self.market.instrument(name).lot_size)

    def greek_lots_of(self, names: Iterable[str], figure: Of) -> float:
        """Dollar gamma or vega of one lot of each."""
        total = 0.0
        for name in names:
            instrument = self.market.instrument(name)
            unit, worth = self.market.unit(instrument), self.market.value_of(Asset(instrument.underlying))
            greek = unit.gamma_per_percent if figure is Of.DOLLAR_GAMMA else unit.vega_per_point
            total += abs(greek) * worth * float(instrument.lot_size)
        return total

    def delta_lot_of(self, name: str) -> float:
        instrument = self.market.instrument(name)
        return abs(self.market.unit(instrument).delta) * float(instrument.lot_size)


def sized_positions(scene: Scene, account: str | None) -> Iterator[tuple[int, Position, int, float]]:
    """Positions in scope: the account's ordinal, the position, where its size stands, a contract's value."""
    for ordinal in in_scope(scene.holdings.accounts, account):
        for position in scene.holdings.accounts[ordinal].positions:
            unit = scene.worth_of(position.instrument)
            if unit > 0.0:
                size = size_of(scene.state, scene.holdings, ordinal, position.instrument)
                yield ordinal, position, size, unit


def sized_goal(
    number: int, step: int, figure: str, size: int, unit: float, aim: Interval, slack: float
) -> Goal:
    return Goal(
        number,
        step,
        figure,
        ((size, unit),),
        (aim[0] * unit, aim[1] * unit),
        ((aim[0] - slack) * unit, (aim[1] + slack) * unit),
        unit,
    )
