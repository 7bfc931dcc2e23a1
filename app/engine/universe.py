"""Every instrument as columns, and how an asset is priced in a currency.

A path leads over at most two quoted pairs. Spot comes before perpetuals and one step before two; on each
frame the first path whose prices are known counts, so a listed market that nobody quotes makes nothing
unknown that another one prices. Price columns have two rows more than instruments: one that is never known,
and one that is the constant 1.0, so that "no step" is a row like any other. Behind them stand the implied
volatilities of the options, the funding rates of the perpetuals, and the series that somebody asked for, in
that order.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from app.domain.identifiers import Asset, InstrumentId
from app.domain.instruments import Instrument, InstrumentKind, OptionType, Settlement
from app.domain.times import to_ns
from app.engine.columns import Columns
from app.engine.series import SeriesSpec
from app.quant.arrays import BoolArray, FloatArray, IntArray

NEVER_NS = int(np.iinfo(np.int64).max)
NO_COLUMN = -1
"""Where the market would have something that is not kept: the volatility of what is no option, say."""

_NO_ROWS: IntArray = np.zeros(0, dtype=np.int64)
_FIRST_ASSETS, _FIRST_CURRENCIES = 64, 4


class Path(NamedTuple):
    """value = price[first] ** first_power * price[second] ** second_power, powers being 1 or -1."""

    first: int
    first_power: int
    second: int
    second_power: int


class PathColumns(NamedTuple):
    first: IntArray
    first_power: IntArray
    second: IntArray
    second_power: IntArray


class ConversionColumns(NamedTuple):
    """Where the paths of a conversion begin and end, the preferred one first.

    `moves`: whether what is converted is an exposure, and not cash.
    """

    start: IntArray
    stop: IntArray
    moves: BoolArray


class Terms(NamedTuple):
    """Of every instrument, by its row. `accrual_interval_ns` is 0 where time changes nothing;
    `rate_column` is what must be known for it to go on: of a perpetual, its funding rate. What is `lent` is
    priced at 1 in its own asset, and its rates are those of the position.
    """

    price_row: IntArray
    inverse: BoolArray
    option: BoolArray
    lent: BoolArray
    multiplier: FloatArray
    initial_rate: FloatArray
    maintenance_rate: FloatArray
    accrual_interval_ns: IntArray
    rate_column: IntArray
    expiry_ns: IntArray
    strike: FloatArray
    call: BoolArray
    volatility_column: IntArray


class Listing(NamedTuple):
    """What the rows of a view are made of, by the row of an instrument. Assets by their number.

    Of lending: whether it is, what backs and what may be borrowed, and which side bears interest.
    """

    underlying: IntArray
    settlement: IntArray
    lent: BoolArray
    threshold: FloatArray
    loan_to_value: FloatArray
    supply_accrues: BoolArray
    debt_accrues: BoolArray


class Numbering(NamedTuple):
    """By the number of an asset: its column as a valuation currency, whether it is an exposure, and its
    conversion into each currency. `NO_COLUMN` where nobody has asked yet.
    """

    currency: IntArray
    exposed: BoolArray
    conversion: IntArray


class _Edge(NamedTuple):
    rank: int
    row: int
    power: int
    to: Asset


class Universe:
    """Immutable; a new listing makes a new one. Conversions and series are numbered as they are first asked
    for; the columns of a market grow with the series.
    """

    def __init__(self, instruments: Iterable[Instrument]) -> None:
        self.instruments: Mapping[InstrumentId, Instrument] = {
            i.instrument_id: i for i in sorted(instruments, key=lambda i: i.id)
        }
        listed = list(self.instruments.values())
        self.index = {i.id: row for row, i in enumerate(listed)}
        self.names = [i.id for i in listed]
        self.size = len(listed)
        self.unknown_row, self.one_row = self.size, self.size + 1
        options, perpetuals = _are(InstrumentKind.OPTION, listed), _are(InstrumentKind.PERPETUAL, listed)
        self.volatility_columns, behind = _columns_of(options, self.size + 2)
        self.funding_columns, self.width = _columns_of(perpetuals, behind)
        self.terms = self._terms(listed)
        self.cost_rates = np.array([float(i.taker_fee_rate) + float(i.slippage_bps) * 1e-4 for i in listed])
        self.lists_options = bool(options.any())
        intervals_ns = self.terms.accrual_interval_ns
        self._accrual_intervals_ns = sorted(set(intervals_ns[intervals_ns > 0].tolist()))
        self._expiries_ns = sorted(self.terms.expiry_ns.tolist())
        self._edges = self._quoted_pairs(listed)
        self.series_columns: dict[SeriesSpec, int] = {}
        self._conversions: dict[tuple[Asset, Asset], int] = {}
        self.paths_of: list[list[Path]] = []
        """By the number of the conversion; the columns below say the same."""
        self.paths = Columns(PathColumns)
        self.conversions = Columns(ConversionColumns)
        self.exposures = _exposures(listed)
        """Assets whose price moves count as delta; what linear derivatives are quoted in is cash."""
        self.assets: list[Asset] = []
        self._asset_numbers: dict[Asset, int] = {}
        self._currencies = 0
        self.numbering = _blank_numbering(_FIRST_ASSETS, _FIRST_CURRENCIES)
        self.listing = self._listed(listed)
        self.row_of_column = np.arange(self.width)
        """Whose column of the market it is, as far as it is listed; a series has its own."""
        for columns in (self.volatility_columns, self.funding_columns):
            rows = np.flatnonzero(columns != NO_COLUMN)
            self.row_of_column[columns[rows]] = rows

    def _terms(self, listed: Sequence[Instrument]) -> Terms:
        source_rows = [self.index.get(i.price_source, self.unknown_row) for i in listed]
        return Terms(
            price_row=np.array(source_rows, dtype=np.int64),
            inverse=np.array([i.settlement is Settlement.INVERSE for i in listed], dtype=bool),
            option=_are(InstrumentKind.OPTION, listed),
            lent=_are(InstrumentKind.LENDING, listed),
            multiplier=np.array([float(i.multiplier) for i in listed]),
            initial_rate=np.array([float(i.initial_margin_rate) for i in listed]),
            maintenance_rate=np.array([float(i.maintenance_margin_rate) for i in listed]),
            accrual_interval_ns=np.array([i.accrual_interval_ns for i in listed], dtype=np.int64),
            rate_column=np.where(self.funding_columns != NO_COLUMN, self.funding_columns, self.one_row),
            expiry_ns=np.array([to_ns(i.expiry) if i.expiry else NEVER_NS for i in listed], dtype=np.int64),
            strike=np.array([float(i.strike or 0) for i in listed]),
            call=np.array([i.option_type is OptionType.CALL for i in listed], dtype=bool),
            volatility_column=self.volatility_columns,
        )

    def _listed(self, listed: Sequence[Instrument]) -> Listing:
        return Listing(
            underlying=np.array([self.asset(Asset(i.underlying)) for i in listed], dtype=np.int64),
            settlement=np.array([self.asset(i.settlement_asset) for i in listed], dtype=np.int64),
            lent=self.terms.lent,
            threshold=np.array([float(i.liquidation_threshold) for i in listed]),
            loan_to_value=np.array([float(i.loan_to_value) for i in listed]),
            supply_accrues=np.array([i.supply_rate_annual > 0 for i in listed], dtype=bool),
            debt_accrues=np.array([i.borrow_rate_annual > 0 for i in listed], dtype=bool),
        )

    def row_of(self, column: int) -> int:
        """Whose column of the market it is: that of an instrument, or a series, which is its own."""
        return int(self.row_of_column[column]) if column < self.row_of_column.size else column

    def asset(self, name: Asset) -> int:
        """Its number."""
        found = self._asset_numbers.get(name)
        if found is None:
            found = self._asset_numbers[name] = len(self.assets)
            self.assets.append(name)
            self._fit_numbering()
            self.numbering.exposed[found] = name in self.exposures
        return found

    def conversion(self, asset: Asset, currency: Asset) -> int:
        """The number of a conversion. One without paths is never known: the value is not guessed."""
        key = (asset, currency)
        if key not in self._conversions:
            paths = self._paths(asset, currency)
            row = (*self.paths.append(paths), asset in self.exposures)
            self._conversions[key], _ = self.conversions.append([row])
            self.paths_of.append(paths)
            self._number(key, self._conversions[key])
        return self._conversions[key]

    def _number(self, key: tuple[Asset, Asset], conversion: int) -> None:
        source, target = (self.asset(asset) for asset in key)
        if self.numbering.currency[target] == NO_COLUMN:
            self._currencies += 1
            self._fit_numbering()
            self.numbering.currency[target] = self._currencies - 1
        self.numbering.conversion[source, self.numbering.currency[target]] = conversion

    def _fit_numbering(self) -> None:
        """Room for another asset and another currency."""
        before = self.numbering
        assets, currencies = before.conversion.shape
        if len(self.assets) <= assets and self._currencies <= currencies:
            return
        larger = _blank_numbering(max(assets, 2 * len(self.assets)), max(currencies, 2 * self._currencies))
        larger.currency[:assets], larger.exposed[:assets] = before.currency, before.exposed
        larger.conversion[:assets, :currencies] = before.conversion
        self.numbering = larger

    def series(self, spec: SeriesSpec) -> int:
        """Its column of the market. One of an instrument that is not listed is never known."""
        if spec not in self.series_columns:
            self.series_columns[spec] = self.width
            self.width += 1
        return self.series_columns[spec]

    def due_by_the_clock(self, after_ns: int, until_ns: int) -> IntArray:
        """Rows of the instruments with a boundary of accrual or their expiry after one time, by the other.

        Before the first frame there is no time.
        """
        if not after_ns or not self._clock_reaches_something(after_ns, until_ns):
            return _NO_ROWS
        terms = self.terms
        interval_ns = np.maximum(terms.accrual_interval_ns, 1)
        accrues = (terms.accrual_interval_ns > 0) & (until_ns // interval_ns > after_ns // interval_ns)
        return np.flatnonzero(accrues | ((terms.expiry_ns > after_ns) & (terms.expiry_ns <= until_ns)))

    def _clock_reaches_something(self, after_ns: int, until_ns: int) -> bool:
        """Asked for every frame, so without arrays."""
        for interval_ns in self._accrual_intervals_ns:
            if until_ns // interval_ns != after_ns // interval_ns:
                return True
        return bisect_right(self._expiries_ns, after_ns) != bisect_right(self._expiries_ns, until_ns)

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

    def _paths(self, asset: Asset, currency: Asset) -> list[Path]:
        one = self.one_row
        if asset == currency:
            return [Path(one, 1, one, 1)]
        edges = self._edges
        direct = [Path(e.row, e.power, one, 1) for e in edges.get(asset, ()) if e.to == currency]
        return direct + [
            Path(first.row, first.power, second.row, second.power)
            for first in edges.get(asset, ())
            if first.to != currency
            for second in edges.get(first.to, ())
            if second.to == currency
        ]


def _blank_numbering(assets: int, currencies: int) -> Numbering:
    return Numbering(
        currency=np.full(assets, NO_COLUMN, dtype=np.int64),
        exposed=np.zeros(assets, dtype=bool),
        conversion=np.full((assets, currencies), NO_COLUMN, dtype=np.int64),
    )


def _are(kind: InstrumentKind, listed: Sequence[Instrument]) -> BoolArray:
    return np.array([i.kind is kind for i in listed], dtype=bool)


def _columns_of(having: BoolArray, first: int) -> tuple[IntArray, int]:
    """The columns, from the first on, of those that have one; and the column behind them."""
    count = int(having.sum())
    return np.where(having, first - 1 + np.cumsum(having), NO_COLUMN), first + count


def _exposures(listed: Sequence[Instrument]) -> frozenset[Asset]:
    quoted = [i for i in listed if i.kind is not InstrumentKind.LENDING]
    derivatives = [i for i in quoted if i.kind is not InstrumentKind.SPOT]
    cash = {i.quote for i in derivatives if i.settlement is Settlement.LINEAR}
    return frozenset(Asset(i.underlying) for i in quoted if i.underlying not in cash)
