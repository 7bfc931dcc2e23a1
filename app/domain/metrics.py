"""The registry of metrics: the one vocabulary that policies, conditions, the API and the docs share.

A reference names a figure in one word: `leverage` of the whole portfolio, `margin_ratio@main` of the account
`main`, `net_delta.BTC` of an underlying, `price.BTC-USDT-PERP` of an instrument, `twap.BTC-USDT-PERP/300s` of
its average over a time, `stress.MARKET` of an index, `gas_price.ethereum` of a chain,
`book_depth.binance/BTC-USDT/50bps` of a market up to a distance.
"""

import re
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema
from typing_extensions import override

from app.domain.market import UNLISTED, TickKind


class MetricName(StrEnum):
    EQUITY = "equity"
    INITIAL_MARGIN = "initial_margin"
    MAINTENANCE_MARGIN = "maintenance_margin"
    MARGIN_RATIO = "margin_ratio"
    HEALTH_FACTOR = "health_factor"
    LIQUIDATION_DISTANCE = "liquidation_distance"
    LEVERAGE = "leverage"
    RESERVE_AVAILABLE = "reserve_available"
    NET_DELTA = "net_delta"
    DELTA_NOTIONAL = "delta_notional"
    GROSS_DELTA_NOTIONAL = "gross_delta_notional"
    GAMMA = "gamma"
    DOLLAR_GAMMA = "dollar_gamma"
    VEGA = "vega"
    DOLLAR_VEGA = "dollar_vega"
    THETA = "theta"
    THETA_PER_DAY = "theta_per_day"
    PRICE = "price"
    TWAP = "twap"
    TWAP_CONFIDENCE = "twap_confidence"
    EWMA_PRICE = "ewma_price"
    EWMA_CONFIDENCE = "ewma_confidence"
    IMPLIED_VOLATILITY = "implied_volatility"
    REALIZED_VOLATILITY = "realized_volatility"
    FORECAST_VOLATILITY = "forecast_volatility"
    FUNDING_RATE = "funding_rate"
    STRESS = "stress"
    SENTIMENT = "sentiment"
    GAS_PRICE = "gas_price"
    BOOK_DEPTH = "book_depth"
    POOL_DEPTH = "pool_depth"


class Level(StrEnum):
    """What a metric is a figure of."""

    PORTFOLIO = "portfolio"
    ACCOUNT = "account"
    UNDERLYING = "underlying"
    INSTRUMENT = "instrument"
    AVERAGE = "average"
    INDEX = "index"
    CHAIN = "chain"
    BOOK = "book"
    POOL = "pool"


_WRITTEN = {
    Level.PORTFOLIO: "{}",
    Level.ACCOUNT: "{}@main",
    Level.UNDERLYING: "{}.BTC",
    Level.INSTRUMENT: "{}.BTC-USDT-PERP",
    Level.AVERAGE: "{}.BTC-USDT-PERP/300s",
    Level.INDEX: "{}.MARKET",
    Level.CHAIN: "{}.ethereum",
    Level.BOOK: "{}.binance/BTC-USDT/50bps",
    Level.POOL: "{}.ethereum/WETH-USDC-5/50bps",
}


@dataclass(frozen=True, slots=True)
class Metric:
    """`levels`: where it is computed; the portfolio shows the worst account of a margin metric.

    `at_least_zero`: whether it is known never to be negative.
    """

    name: MetricName
    unit: str
    levels: tuple[Level, ...]
    definition: str
    at_least_zero: bool = False

    @property
    def examples(self) -> tuple[str, ...]:
        """How it is written, level by level."""
        return tuple(_WRITTEN[level].format(self.name) for level in self.levels)


_MONEY = "valuation currency"
_ANNUAL = "per year, as a decimal"
_DEPTH = "quote currency of the market"
_MARGIN = (Level.ACCOUNT, Level.PORTFOLIO)
_PORTFOLIO = (Level.PORTFOLIO,)
_UNDERLYING = (Level.UNDERLYING,)
_INSTRUMENT = (Level.INSTRUMENT,)
_AVERAGE = (Level.AVERAGE,)

METRICS: dict[MetricName, Metric] = {
    m.name: m
    for m in (
        Metric(
            MetricName.EQUITY,
            _MONEY,
            _MARGIN,
            "balances after haircuts + unrealised profit and loss + value of options + loans, less debts",
        ),
        Metric(MetricName.INITIAL_MARGIN, _MONEY, _MARGIN, "margin needed to open what is held"),
        Metric(
            MetricName.MAINTENANCE_MARGIN,
            _MONEY,
            _MARGIN,
            "margin below which it is liquidated; of a loan, the debt",
        ),
        Metric(
            MetricName.MARGIN_RATIO,
            "fraction",
            _MARGIN,
            "maintenance margin / equity, of a loan debt / sum of collateral x liquidation threshold; 1 is "
            "liquidation; the portfolio shows the worst account",
            at_least_zero=True,
        ),
        Metric(
            MetricName.HEALTH_FACTOR,
            "multiple",
            _MARGIN,
            "equity / maintenance margin, of a loan sum of collateral x liquidation threshold / debt; 1 is "
            "liquidation; the portfolio shows the worst account",
            at_least_zero=True,
        ),
        Metric(
            MetricName.LIQUIDATION_DISTANCE,
            "fraction",
            _MARGIN,
            "the smallest relative move of prices, up or down, of one underlying or of all together, that "
            "liquidates; the portfolio shows the worst account",
            at_least_zero=True,
        ),
        Metric(
            MetricName.LEVERAGE,
            "multiple",
            _PORTFOLIO,
            "sum of |delta notional| / equity; without bound where nothing is left of the equity",
            at_least_zero=True,
        ),
        Metric(
            MetricName.RESERVE_AVAILABLE,
            _MONEY,
            _PORTFOLIO,
            "reserves beyond what must be kept of them, without haircuts",
            at_least_zero=True,
        ),
        Metric(MetricName.NET_DELTA, "units of the underlying", _UNDERLYING, "sum of deltas"),
        Metric(MetricName.DELTA_NOTIONAL, _MONEY, _UNDERLYING, "net delta x price of the underlying"),
        Metric(
            MetricName.GROSS_DELTA_NOTIONAL,
            _MONEY,
            (Level.UNDERLYING, Level.PORTFOLIO),
            "sum of |delta| x price of the underlying",
            at_least_zero=True,
        ),
        Metric(MetricName.GAMMA, "delta per unit of price", _UNDERLYING, "sum of gammas"),
        Metric(
            MetricName.DOLLAR_GAMMA,
            "valuation currency per 1 %",
            _UNDERLYING,
            "by how much the delta notional grows when the price rises by 1 %, at the present price: "
            "sum of gamma x forward / 100 x price of the underlying",
        ),
        Metric(MetricName.VEGA, "valuation currency per 1.00 of volatility", _UNDERLYING, "sum of vegas"),
        Metric(MetricName.DOLLAR_VEGA, "valuation currency per volatility point", _UNDERLYING, "vega / 100"),
        Metric(MetricName.THETA, "valuation currency per year", _UNDERLYING, "sum of thetas"),
        Metric(MetricName.THETA_PER_DAY, "valuation currency per day", _UNDERLYING, "theta / 365"),
        Metric(
            MetricName.PRICE,
            "quote currency",
            _INSTRUMENT,
            "consensus of its mark price; of its last price where no mark is published, or only an older one "
            "that is stale for margin or of too few sources",
            at_least_zero=True,
        ),
        Metric(
            MetricName.TWAP,
            "quote currency",
            _AVERAGE,
            "time-weighted average of the price over so many seconds; known once they have passed",
            at_least_zero=True,
        ),
        Metric(
            MetricName.TWAP_CONFIDENCE,
            "quote currency",
            _AVERAGE,
            "the same average of the confidence of the price, the half width of its consensus",
            at_least_zero=True,
        ),
        Metric(
            MetricName.EWMA_PRICE,
            "quote currency",
            _AVERAGE,
            "exponentially weighted average of the price with a half-life of so many seconds; known once one "
            "has passed",
            at_least_zero=True,
        ),
        Metric(
            MetricName.EWMA_CONFIDENCE,
            "quote currency",
            _AVERAGE,
            "the same average of the confidence of the price",
            at_least_zero=True,
        ),
        Metric(
            MetricName.IMPLIED_VOLATILITY,
            _ANNUAL,
            _INSTRUMENT,
            "consensus of what the option is quoted at",
            at_least_zero=True,
        ),
        Metric(
            MetricName.REALIZED_VOLATILITY,
            _ANNUAL,
            _INSTRUMENT,
            "of the price, by EWMA: 5-minute bars, window of 288, half-life of 72; a year has 365 days",
            at_least_zero=True,
        ),
        Metric(
            MetricName.FORECAST_VOLATILITY,
            _ANNUAL,
            _INSTRUMENT,
            "what is expected next of the price; the realized one until there are forecasts",
            at_least_zero=True,
        ),
        Metric(
            MetricName.FUNDING_RATE,
            "per funding interval, as a decimal",
            _INSTRUMENT,
            "consensus of the rate that longs of the perpetual pay to shorts",
        ),
        Metric(
            MetricName.STRESS,
            "as published",
            (Level.INDEX,),
            "consensus of an index of stress, 0 being calm",
            at_least_zero=True,
        ),
        Metric(
            MetricName.SENTIMENT,
            "points",
            (Level.INDEX,),
            "consensus of an index of sentiment, from 0, fear, to 100, greed",
            at_least_zero=True,
        ),
        Metric(
            MetricName.GAS_PRICE,
            "1e-9 of the chain's coin",
            (Level.CHAIN,),
            "consensus of what a unit of gas costs on the chain",
            at_least_zero=True,
        ),
        Metric(
            MetricName.BOOK_DEPTH,
            _DEPTH,
            (Level.BOOK,),
            "consensus of what can be traded in a venue's book, on the thinner side, before the price is so "
            "far away",
            at_least_zero=True,
        ),
        Metric(
            MetricName.POOL_DEPTH,
            _DEPTH,
            (Level.POOL,),
            "the same of a pool on a chain",
            at_least_zero=True,
        ),
    )
}

_LONGEST_TEXT = 128
_TEXT = re.compile(r"(?P<name>[^.@]*)(?P<mark>[.@]?)(?P<subject>.*)", re.DOTALL)
_SUBJECT = {
    Level.ACCOUNT: re.compile(r".{1,80}"),
    Level.UNDERLYING: re.compile(r"[A-Za-z0-9.]{1,16}"),
    Level.INSTRUMENT: re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}"),
    Level.AVERAGE: re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}/[1-9][0-9]{0,5}s"),
    Level.INDEX: UNLISTED[TickKind.STRESS],
    Level.CHAIN: UNLISTED[TickKind.GAS_PRICE],
    Level.BOOK: UNLISTED[TickKind.BOOK_DEPTH],
    Level.POOL: UNLISTED[TickKind.POOL_DEPTH],
}


@dataclass(frozen=True, slots=True)
class MetricRef:
    """One figure; `subject` is the account, underlying, instrument, index or what else the level is of, empty
    for the portfolio. Of an average it is the instrument and the time (`BTC-USDT-PERP/300s`).
    """

    name: MetricName
    level: Level
    subject: str = ""

    @classmethod
    def parse(cls, text: str) -> "MetricRef":
        """ValueError says what would be right."""
        found = _TEXT.fullmatch(text)
        name, mark, subject = found.group("name", "mark", "subject") if found else (text, "", "")
        if name not in METRICS:
            raise ValueError(f"unknown metric {name!r}{_did_you_mean(name)}")
        metric = METRICS[MetricName(name)]
        level = _level(metric, mark)
        if level is None:
            raise ValueError(
                f"{text!r}: {name} is a figure of {_one_of(metric.levels)}; write {_or(metric.examples)}"
            )
        if level is not Level.PORTFOLIO and not _SUBJECT[level].fullmatch(subject):
            raise ValueError(f"{text!r}: {subject!r} cannot be the name of {_one_of((level,))}")
        return cls(metric.name, level, subject)

    @override
    def __str__(self) -> str:
        if self.level is Level.PORTFOLIO:
            return self.name.value
        return f"{self.name}{'@' if self.level is Level.ACCOUNT else '.'}{self.subject}"


def _level(metric: Metric, mark: str) -> Level | None:
    """The one that a metric has with this mark: none, `@` or a dot."""
    marks = {"": (Level.PORTFOLIO,), "@": (Level.ACCOUNT,)}
    dotted = [level for level in metric.levels if level not in (Level.PORTFOLIO, Level.ACCOUNT)]
    return next((level for level in metric.levels if level in marks.get(mark, dotted)), None)


def _did_you_mean(name: str) -> str:
    nearest = get_close_matches(name.lower(), [metric.value for metric in METRICS], n=3)
    return f"; did you mean {_or(nearest)}?" if nearest else ""


def _one_of(levels: tuple[Level, ...]) -> str:
    named = {Level.PORTFOLIO: "the whole portfolio"}
    return _or(
        [named.get(level) or f"{'an' if level.value[0] in 'aiu' else 'a'} {level}" for level in levels]
    )


def _or(words: tuple[str, ...] | list[str]) -> str:
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _parsed(given: Any) -> MetricRef:
    if isinstance(given, MetricRef):
        return given
    if not isinstance(given, str):
        raise ValueError("a metric is named by a text")  # noqa: TRY004 - what pydantic reports
    if len(given) > _LONGEST_TEXT:
        raise ValueError(f"a metric's name has at most {_LONGEST_TEXT} characters")
    return MetricRef.parse(given)


MetricReference = Annotated[
    MetricRef,
    PlainValidator(_parsed),
    PlainSerializer(str, return_type=str),
    WithJsonSchema(
        {
            "type": "string",
            "maxLength": _LONGEST_TEXT,
            "description": "A metric of the registry: `name`, `name@account`, or `name.` and an underlying, "
            "an instrument, an average, an index, a chain or a depth; see `GET /v1/metrics`.",
            "examples": ["margin_ratio@main"],
        }
    ),
]
"""Text in JSON, a `MetricRef` in Python."""
