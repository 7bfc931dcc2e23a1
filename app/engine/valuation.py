"""What things are worth on one frame, and what trades in them cost, in the currency of one portfolio."""

from collections.abc import Iterable
from decimal import Decimal

from app.domain.adjustments import Leg, TradeLeg, TransferLeg
from app.domain.identifiers import Asset, InstrumentId
from app.domain.instruments import Instrument, InstrumentKind
from app.engine.frame_block import FrameBlock
from app.engine.metrics import UnitFigures, unit_figures


class Market:
    """Prices of one frame, for one portfolio's valuation currency; what is asked for often is kept."""

    __slots__ = ("_units", "_values", "block", "currency", "k")

    def __init__(self, block: FrameBlock, k: int, currency: Asset) -> None:
        self.block, self.k, self.currency = block, k, currency
        self._units: dict[str, UnitFigures] = {}
        self._values: dict[Asset, float] = {}

    def instrument(self, name: str) -> Instrument:
        return self.block.universe.instruments[InstrumentId(name)]

    def row(self, instrument: Instrument) -> int:
        return self.block.universe.index[instrument.id]

    def spot_markets(self, one: Instrument, other: Instrument, venue: str) -> list[Instrument]:
        """Of the assets of two pools, on a venue."""
        assets = {one.underlying, other.underlying}
        return [
            instrument
            for instrument in self.block.universe.instruments.values()
            if instrument.kind is InstrumentKind.SPOT
            and instrument.venue == venue
            and {instrument.underlying, instrument.quote} == assets
        ]

    def value_of(self, asset: Asset) -> float:
        """Of one unit, in the valuation currency; NaN when unknown."""
        value = self._values.get(asset)
        if value is None:
            value = self.block.value(self.k, self.block.universe.conversion(asset, self.currency))
            self._values[asset] = value
        return value

    def moves(self, asset: Asset) -> bool:
        """Whether it is an exposure, and not cash."""
        conversion = self.block.universe.conversion(asset, self.currency)
        return bool(self.block.universe.conversions.arrays.moves[conversion])

    def price_rows(self, asset: Asset) -> list[int]:
        """The instruments by whose prices it is valued."""
        conversion = self.block.universe.conversion(asset, self.currency)
        return self.block.price_rows(self.k, marks=(), conversions=(conversion,))

    def age_ns(self, asset: Asset) -> int:
        return self.block.oldest_age_ns(self.k, self.price_rows(asset))

    def unit(self, instrument: Instrument) -> UnitFigures:
        unit = self._units.get(instrument.id)
        if unit is None:
            unit = self._units[instrument.id] = unit_figures(self.block, self.k, self.row(instrument))
        return unit

    def notional(self, instrument: Instrument, quantity: Decimal) -> float:
        """In the valuation currency; of an option, the premium."""
        unit = self.unit(instrument)
        return abs(float(quantity)) * unit.notional * self.value_of(instrument.settlement_asset)

    def lot_worth(self, name: InstrumentId) -> float:
        """Of one lot, in the valuation currency: its delta's, or its premium where that is more."""
        instrument = self.instrument(name)
        unit, lot = self.unit(instrument), float(instrument.lot_size)
        delta = abs(unit.delta) * self.value_of(Asset(instrument.underlying))
        return lot * max(delta, unit.notional * self.value_of(instrument.settlement_asset))

    def cost_rate(self, instrument: Instrument) -> float:
        return float(self.block.universe.cost_rates[self.row(instrument)])

    def expected_cost(self, legs: Iterable[Leg]) -> float:
        """Fees and slippage, and what venues keep of transfers, in the valuation currency."""
        total = 0.0
        for leg in legs:
            if isinstance(leg, TradeLeg):
                instrument = self.instrument(leg.instrument)
                total += self.notional(instrument, leg.quantity) * self.cost_rate(instrument)
            elif isinstance(leg, TransferLeg) and leg.fee:
                total += float(leg.fee) * self.value_of(leg.asset)
        return total


class Markets:
    """Those of a block: portfolios of one currency that look at the same frame share one."""

    def __init__(self, block: FrameBlock) -> None:
        self.block = block
        self._found: dict[tuple[int, Asset], Market] = {}

    def on(self, k: int, currency: Asset) -> Market:
        market = self._found.get((k, currency))
        if market is None:
            market = self._found[k, currency] = Market(self.block, k, currency)
        return market
