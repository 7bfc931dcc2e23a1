"""Every instrument as columns, and how an asset is priced in a currency.

A conversion is a path over at most two quoted pairs: spot where there is one, else a perpetual. Price
columns have two rows more than instruments: one that is never known, and one that is the constant 1.0, so
that "no path" and "no step" are rows like any other.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from app.domain.identifiers import Asset, InstrumentId
from app.domain.instruments import Instrument, InstrumentKind, OptionType, Settlement
from app.domain.times import to_ns

NEVER_NS = np.iinfo(np.int64).max


class Conversion(NamedTuple):
    """value = price[first] ** first_power * price[second] ** second_power, powers being 1 or -1."""

    first: int
    first_power: int
    second: int
    second_power: int


class _Edge(NamedTuple):
    rank: int
    row: int
    power: int
    to: Asset


class Universe:
    """Immutable; a new listing makes a new one."""

    def __init__(self, instruments: Iterable[Instrument]) -> None:
        self.instruments: Mapping[InstrumentId, Instrument] = {
            i.instrument_id: i for i in sorted(instruments, key=lambda i: i.id)
        }
        listed = list(self.instruments.values())
        self.index = {i.instrument_id: row for row, i in enumerate(listed)}
        self.names = [i.id for i in listed]
        self.size = len(listed)
        self.unknown_row, self.one_row = self.size, self.size + 1
        self.unknown = Conversion(self.unknown_row, 1, self.unknown_row, 1)
        self.price_rows = np.array(
            [self.index.get(i.price_source, self.unknown_row) for i in listed], dtype=np.int64
        )
        self.inverse = np.array([i.settlement is Settlement.INVERSE for i in listed], dtype=bool)
        self.option = np.array([i.kind is InstrumentKind.OPTION for i in listed], dtype=bool)
        self.call = np.array([i.option_type is OptionType.CALL for i in listed], dtype=bool)
        self.multipliers = np.array([float(i.multiplier) for i in listed])
        self.initial_rates = np.array([float(i.initial_margin_rate) for i in listed])
        self.maintenance_rates = np.array([float(i.maintenance_margin_rate) for i in listed])
        self.cost_rates = np.array([float(i.taker_fee_rate) + float(i.slippage_bps) * 1e-4 for i in listed])
        self.strikes = np.array([float(i.strike or 0) for i in listed])
        self.expiries_ns = np.array([to_ns(i.expiry) if i.expiry else NEVER_NS for i in listed])
        self._edges = self._quoted_pairs(listed)
        self._conversions: dict[tuple[Asset, Asset], Conversion | None] = {}
        derivatives = [i for i in listed if i.kind is not InstrumentKind.SPOT]
        cash = {i.quote for i in derivatives if i.settlement is Settlement.LINEAR}
        self.exposures = frozenset(Asset(i.underlying) for i in listed if i.underlying not in cash)
        """Assets whose price moves count as delta; what linear derivatives are quoted in is cash."""

    def conversion(self, asset: Asset, currency: Asset) -> Conversion | None:
        """None when no path is quoted: the value is then unknown, never guessed."""
        key = (asset, currency)
        if key not in self._conversions:
            self._conversions[key] = self._shortest(asset, currency)
        return self._conversions[key]

    def _quoted_pairs(self, listed: Iterable[Instrument]) -> dict[Asset, list[_Edge]]:
        edges: dict[Asset, list[_Edge]] = defaultdict(list)
        for instrument in listed:
            rank = {InstrumentKind.SPOT: 0, InstrumentKind.PERPETUAL: 1}.get(instrument.kind)
            row = self.index.get(instrument.price_source)
            if rank is None or row is None:
                continue
            base, quote = Asset(instrument.underlying), Asset(instrument.quote)
            edges[base].append(_Edge(rank, row, 1, quote))
            edges[quote].append(_Edge(rank, row, -1, base))
        for found in edges.values():
            found.sort()
        return edges

    def _shortest(self, asset: Asset, currency: Asset) -> Conversion | None:
        one = self.one_row
        if asset == currency:
            return Conversion(one, 1, one, 1)
        for edge in self._edges.get(asset, ()):
            if edge.to == currency:
                return Conversion(edge.row, edge.power, one, 1)
        for first in self._edges.get(asset, ()):
            for second in self._edges.get(first.to, ()):
                if second.to == currency:
                    return Conversion(first.row, first.power, second.row, second.power)
        return None
