"""What the metrics of a view's conditions are read from: which figure, of which of its rows."""

from typing import assert_never

from app.domain.identifiers import Asset, InstrumentId
from app.domain.market import TickKind
from app.domain.metrics import Level, MetricName, MetricRef
from app.domain.portfolios import Portfolio
from app.engine.conditions import Opcode, Operand
from app.engine.series import STANDARD, Average, Forecast, Realized, SeriesSpec, Told, Weighting
from app.engine.universe import NO_COLUMN, Universe

_UNKNOWN = (Operand(Opcode.UNKNOWN),)
_NOTHING = (Operand(Opcode.CONSTANT, constant=0.0),)

_PORTFOLIO = {
    MetricName.EQUITY: Opcode.PORTFOLIO_EQUITY,
    MetricName.INITIAL_MARGIN: Opcode.PORTFOLIO_INITIAL_MARGIN,
    MetricName.MAINTENANCE_MARGIN: Opcode.PORTFOLIO_MAINTENANCE_MARGIN,
    MetricName.MARGIN_RATIO: Opcode.PORTFOLIO_MARGIN_RATIO,
    MetricName.HEALTH_FACTOR: Opcode.PORTFOLIO_HEALTH_FACTOR,
    MetricName.LEVERAGE: Opcode.PORTFOLIO_LEVERAGE,
    MetricName.GROSS_DELTA_NOTIONAL: Opcode.PORTFOLIO_GROSS_NOTIONAL,
    MetricName.LIQUIDATION_DISTANCE: Opcode.PORTFOLIO_LIQUIDATION_DISTANCE,
}
_ACCOUNT = {
    MetricName.EQUITY: Opcode.ACCOUNT_EQUITY,
    MetricName.INITIAL_MARGIN: Opcode.ACCOUNT_INITIAL_MARGIN,
    MetricName.MAINTENANCE_MARGIN: Opcode.ACCOUNT_MAINTENANCE_MARGIN,
    MetricName.MARGIN_RATIO: Opcode.ACCOUNT_MARGIN_RATIO,
    MetricName.HEALTH_FACTOR: Opcode.ACCOUNT_HEALTH_FACTOR,
    MetricName.LIQUIDATION_DISTANCE: Opcode.ACCOUNT_LIQUIDATION_DISTANCE,
}
_UNDERLYING = {
    MetricName.NET_DELTA: (Opcode.NET_DELTA, 1.0),
    MetricName.DELTA_NOTIONAL: (Opcode.DELTA_NOTIONAL, 1.0),
    MetricName.GROSS_DELTA_NOTIONAL: (Opcode.GROSS_NOTIONAL, 1.0),
    MetricName.GAMMA: (Opcode.GAMMA, 1.0),
    MetricName.DOLLAR_GAMMA: (Opcode.DOLLAR_GAMMA, 1.0),
    MetricName.VEGA: (Opcode.VEGA, 1.0),
    MetricName.DOLLAR_VEGA: (Opcode.VEGA, 1.0 / 100.0),
    MetricName.THETA: (Opcode.THETA, 1.0),
    MetricName.THETA_PER_DAY: (Opcode.THETA, 1.0 / 365.0),
}
_AVERAGES = {
    MetricName.TWAP: (Weighting.TIME, False),
    MetricName.TWAP_CONFIDENCE: (Weighting.TIME, True),
    MetricName.EWMA_PRICE: (Weighting.EXPONENTIAL, False),
    MetricName.EWMA_CONFIDENCE: (Weighting.EXPONENTIAL, True),
}
_TOLD = {
    MetricName.STRESS: TickKind.STRESS,
    MetricName.SENTIMENT: TickKind.SENTIMENT,
    MetricName.GAS_PRICE: TickKind.GAS_PRICE,
    MetricName.BOOK_DEPTH: TickKind.BOOK_DEPTH,
    MetricName.POOL_DEPTH: TickKind.POOL_DEPTH,
}


class Operands:
    """Of a portfolio's policies. Underlyings are numbers of assets; a view makes exposures of them."""

    def __init__(self, universe: Universe, holdings: Portfolio) -> None:
        self._universe = universe
        self._holdings = holdings
        self.reads_reserves = False

    def resolve(self, metric: MetricRef) -> tuple[Operand, ...]:
        """Unknown where it names what is not there, now or ever."""
        match metric.level:
            case Level.PORTFOLIO:
                return self._of_portfolio(metric.name)
            case Level.ACCOUNT:
                return self._of_account(metric)
            case Level.UNDERLYING:
                return self._of_underlying(metric)
            case Level.INSTRUMENT:
                return self._of_instrument(metric)
            case Level.AVERAGE:
                return self._of_average(metric)
            case Level.INDEX | Level.CHAIN | Level.BOOK | Level.POOL:
                return (self.of_series(Told(_TOLD[metric.name], metric.subject)),)
            case _:
                assert_never(metric.level)

    def of_series(self, spec: SeriesSpec) -> Operand:
        return Operand(Opcode.MARKET_COLUMN, self._universe.series(spec))

    def _of_portfolio(self, name: MetricName) -> tuple[Operand, ...]:
        if name is MetricName.RESERVE_AVAILABLE:
            self.reads_reserves = True
            currency = self._holdings.valuation_currency
            worth = tuple(
                Operand(
                    Opcode.CONVERSION,
                    self._universe.conversion(reserve.asset, currency),
                    float(reserve.available),
                )
                for reserve in self._holdings.reserves
                if reserve.available  # nothing is worth nothing, whether or not its price is known
            )
            return worth or _NOTHING
        opcode = _PORTFOLIO.get(name)
        return _UNKNOWN if opcode is None else (Operand(opcode),)

    def _of_account(self, metric: MetricRef) -> tuple[Operand, ...]:
        opcode = _ACCOUNT.get(metric.name)
        names = [account.name for account in self._holdings.accounts]
        if opcode is None or metric.subject not in names:
            return _UNKNOWN
        return (Operand(opcode, names.index(metric.subject)),)

    def _of_underlying(self, metric: MetricRef) -> tuple[Operand, ...]:
        asset = Asset(metric.subject)
        if asset not in self._universe.exposures:
            return _UNKNOWN
        opcode, scale = _UNDERLYING[metric.name]
        return (Operand(opcode, self._universe.asset(asset), scale),)

    def _of_instrument(self, metric: MetricRef) -> tuple[Operand, ...]:
        universe = self._universe
        instrument = InstrumentId(metric.subject)
        row = universe.index.get(instrument)
        if row is None:
            return _UNKNOWN
        match metric.name:
            case MetricName.PRICE:
                column = row
            case MetricName.IMPLIED_VOLATILITY:
                column = int(universe.volatility_columns[row])
            case MetricName.REALIZED_VOLATILITY:
                return (self.of_series(Realized(instrument, STANDARD)),)
            case MetricName.FORECAST_VOLATILITY:
                return (self.of_series(Forecast(instrument)),)
            case MetricName.FUNDING_RATE:
                column = int(universe.funding_columns[row])
            case _:
                return _UNKNOWN
        if column == NO_COLUMN:
            return _UNKNOWN
        return (Operand(Opcode.MARKET_COLUMN, column),)

    def _of_average(self, metric: MetricRef) -> tuple[Operand, ...]:
        name, _, seconds = metric.subject.removesuffix("s").rpartition("/")
        instrument = InstrumentId(name)
        if instrument not in self._universe.index:
            return _UNKNOWN
        weighting, of_confidence = _AVERAGES[metric.name]
        return (self.of_series(Average(instrument, weighting, int(seconds), of_confidence)),)
