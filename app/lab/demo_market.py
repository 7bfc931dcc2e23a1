"""A simulated market for demonstrations. Every source it speaks for begins with `sim-`.

Each underlying follows Bates' model [1], Heston's stochastic variance with lognormal jumps in the price:

    d ln S = (-v/2 - λ k) dt + √v dW + dJ        k = E[e^J] - 1, so that S is a martingale
    d v    = κ (θ - v) dt + ξ √v dZ              corr(dW, dZ) = ρ

stepped by the full-truncation Euler scheme [2]: the variance may fall below zero, and what enters drift and
diffusion is its positive part. Brownian motions and jump sizes of different underlyings are correlated,
and jumps come to all at once, as crashes do. A perpetual trades at a mean-reverting basis to spot, its
funding rate follows from the basis by the exchanges' usual clamp [3]; the stablecoin reverts to 1.

A step is a fixed span of market time, so prices are a function of seed, configuration and number of steps
alone, and the caller's `time_ns` is only what the ticks are stamped with.

[1] D. Bates, "Jumps and stochastic volatility", Review of Financial Studies 9(1), 1996.
[2] R. Lord, R. Koekkoek, D. van Dijk, "A comparison of biased simulation schemes for stochastic volatility
    models", Quantitative Finance 10(2), 2010.
[3] rate = premium + clamp(interest - premium, ±0.05 %), interest 0.01 % per eight hours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from app.domain.errors import InvalidInput
from app.domain.market import Tick, TickKind

SOURCES = ("sim-a", "sim-b", "sim-c")
STABLECOIN = "USDT"

_YEAR = timedelta(days=365)
_STREAM_PATH, _STREAM_QUOTES = 0, 1
# One sequence per source and instrument: the step in the high part, the kind in the low one.
_SEQUENCES_PER_STEP = 16
_KINDS = tuple(TickKind)

_PEG_REVERSION_PER_YEAR = 5_000.0  # half of a deviation is gone in about an hour
_PEG_DEVIATION = 5e-4
_BASIS_REVERSION_PER_YEAR = 2_000.0  # half in about three hours
_BASIS_DEVIATION = 6e-4
_FUNDING_INTEREST = 1e-4
_FUNDING_CLAMP = 5e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Dynamics:
    """One underlying's price in US dollars. Rates and volatilities are per year of market time."""

    underlying: str
    price: float
    volatility_annual: float = 0.6  # √θ, the long-run diffusive volatility
    mean_reversion_per_year: float = 20.0  # κ
    volatility_of_variance: float = 2.0  # ξ
    leverage_correlation: float = -0.4  # ρ
    jump_mean: float = -0.003  # of the log price
    jump_volatility: float = 0.015


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """One stream of ticks: what of which underlying is published as which instrument.

    A price is in `currency`: USD, or the stablecoin. `horizon` is an option's, for implied volatilities;
    the simulated smile is flat.
    """

    instrument: str
    underlying: str
    kind: TickKind = TickKind.PRICE
    currency: str = STABLECOIN
    perpetual: bool = False
    horizon: timedelta = timedelta(days=30)


DEFAULT_DYNAMICS = (
    Dynamics(underlying="BTC", price=100_000.0, volatility_annual=0.50),
    Dynamics(underlying="ETH", price=3_500.0, volatility_annual=0.65, jump_volatility=0.02),
    Dynamics(underlying="SOL", price=180.0, volatility_annual=0.80, jump_volatility=0.025),
)


def default_feeds(
    underlyings: Sequence[str] = ("BTC", "ETH", "SOL"), *, options: Sequence[tuple[str, str]] = ()
) -> tuple[Feed, ...]:
    """Spot, linear and inverse perpetual with funding for each underlying, the stablecoin, and options.

    `options` are pairs of instrument and underlying; they get implied volatilities.
    """
    feeds = [Feed(instrument=f"{STABLECOIN}-USD", underlying=STABLECOIN, currency="USD")]
    for name in underlyings:
        linear, inverse = f"{name}-{STABLECOIN}-PERP", f"{name}-USD-PERP"
        feeds += [
            Feed(instrument=f"{name}-{STABLECOIN}", underlying=name),
            Feed(instrument=linear, underlying=name, perpetual=True),
            Feed(instrument=inverse, underlying=name, perpetual=True, currency="USD"),
            Feed(instrument=linear, underlying=name, kind=TickKind.FUNDING_RATE),
            Feed(instrument=inverse, underlying=name, kind=TickKind.FUNDING_RATE),
        ]
    feeds += [Feed(instrument=option, underlying=name, kind=TickKind.IMPLIED_VOL) for option, name in options]
    return tuple(feeds)


class DemoMarket:
    """Seeded; `step` gives the next entry of ticks. The same seed and configuration give the same market.

    One step is `interval` of the caller's time and `speed` times as much of the market's: with the default
    of 1,800 a second is half an hour, a minute is thirty hours. To go on where another run of the same
    configuration stopped, give `steps_done` (they are run through at about 40,000 a second); `steps_of`
    reads it off the sequence of any tick.
    """

    def __init__(
        self,
        seed: int,
        *,
        feeds: Sequence[Feed] | None = None,
        dynamics: Sequence[Dynamics] = DEFAULT_DYNAMICS,
        sources: Sequence[str] = SOURCES,
        interval: timedelta = timedelta(milliseconds=100),
        speed: float = 1_800.0,
        correlation: float = 0.8,
        jumps_per_year: float = 300.0,
        disagreement_bps: float = 0.5,
        funding_every: timedelta = timedelta(hours=1),
        steps_done: int = 0,
    ) -> None:
        self.feeds = tuple(feeds) if feeds is not None else default_feeds([d.underlying for d in dynamics])
        self.dynamics = tuple(dynamics)
        self.sources = tuple(sources)
        self.steps_done = 0
        self._index = {each.underlying: nth for nth, each in enumerate(self.dynamics)}
        self._check(speed=speed, correlation=correlation)
        self._seed = seed
        self._years_per_step = interval * speed / _YEAR
        self._funding_steps = max(1, round(funding_every / (interval * speed)))
        self._disagreement = disagreement_bps * 1e-4
        self._jumps_per_year = jumps_per_year
        self._random = np.random.default_rng([seed, _STREAM_PATH])

        size = len(self.dynamics)
        self._mixing = np.linalg.cholesky(correlation + (1.0 - correlation) * np.eye(size))
        self._long_run_variances = self._column([d.volatility_annual**2 for d in self.dynamics])
        self._reversions = self._column([d.mean_reversion_per_year for d in self.dynamics])
        self._variance_volatilities = self._column([d.volatility_of_variance for d in self.dynamics])
        self._leverages = self._column([d.leverage_correlation for d in self.dynamics])
        self._jump_means = self._column([d.jump_mean for d in self.dynamics])
        self._jump_volatilities = self._column([d.jump_volatility for d in self.dynamics])
        self._jump_drifts = jumps_per_year * np.expm1(self._jump_means + self._jump_volatilities**2 / 2)

        self._log_prices = np.log(self._column([d.price for d in self.dynamics]))
        self._variances = self._long_run_variances.copy()
        self._bases = np.zeros(size)
        self._peg = 0.0
        for _ in range(steps_done):
            self.advance()

    @staticmethod
    def steps_of(sequence: int) -> int:
        """After how many steps a tick of this sequence was published."""
        return sequence // _SEQUENCES_PER_STEP

    @property
    def prices(self) -> dict[str, float]:
        """Spot in US dollars, by underlying."""
        values = np.exp(self._log_prices).tolist()
        return dict(zip(self._index, values, strict=True))

    @property
    def total_volatilities_annual(self) -> dict[str, float]:
        """What a long run realises: diffusion and jumps together, √(θ + λ (μ² + σ²))."""
        jumps = self._jumps_per_year * (self._jump_means**2 + self._jump_volatilities**2)
        return dict(zip(self._index, np.sqrt(self._long_run_variances + jumps).tolist(), strict=True))

    def step(self, time_ns: int) -> list[Tick]:
        """One step on, and what every source says of it at `time_ns`: one entry."""
        self.advance()
        ticks: list[Tick] = []
        # Their own stream of randomness, so that skipping steps needs no quotes.
        random = np.random.default_rng([self._seed, _STREAM_QUOTES, self.steps_done])
        noises = random.standard_normal((len(self.feeds), len(self.sources))).tolist()
        for feed, noise in zip(self.feeds, noises, strict=True):
            if feed.kind is TickKind.FUNDING_RATE and (self.steps_done - 1) % self._funding_steps:
                continue
            value, disagreement = self._value(feed)
            sequence = self.steps_done * _SEQUENCES_PER_STEP + _KINDS.index(feed.kind)
            ticks += [
                Tick(
                    feed.kind,
                    source,
                    feed.instrument,
                    sequence,
                    time_ns,
                    value * (1.0 + disagreement * error),
                    2.0 * disagreement * value,
                )
                for source, error in zip(self.sources, noise, strict=True)
            ]
        return ticks

    def advance(self) -> None:
        """One step on, saying nothing."""
        self.steps_done += 1
        years = self._years_per_step
        size = len(self.dynamics)
        shocks = self._random.standard_normal((3, size)) @ self._mixing.T
        jumps = self._random.poisson(self._jumps_per_year * years)
        jump_shocks = self._random.standard_normal(size) @ self._mixing.T
        peg_shock, *basis_shocks = self._random.standard_normal(1 + size)

        variances = np.maximum(self._variances, 0.0)
        roots = np.sqrt(variances * years)
        rho = self._leverages
        self._log_prices += (-variances / 2 - self._jump_drifts) * years + roots * shocks[0]
        self._log_prices += jumps * self._jump_means + np.sqrt(jumps) * self._jump_volatilities * jump_shocks
        self._variances += self._reversions * (self._long_run_variances - variances) * years
        self._variances += (
            self._variance_volatilities * roots * (rho * shocks[0] + np.sqrt(1 - rho**2) * shocks[1])
        )
        keep = np.exp(-_BASIS_REVERSION_PER_YEAR * years)
        self._bases = keep * self._bases + _BASIS_DEVIATION * np.sqrt(1 - keep**2) * np.array(basis_shocks)
        keep = np.exp(-_PEG_REVERSION_PER_YEAR * years)
        self._peg = float(keep * self._peg + _PEG_DEVIATION * np.sqrt(1 - keep**2) * peg_shock)

    def _value(self, feed: Feed) -> tuple[float, float]:
        """The value behind a feed, and the standard deviation of a source's relative error."""
        stablecoin = 1.0 + self._peg
        if feed.underlying == STABLECOIN:
            return stablecoin, self._disagreement
        nth = self._index[feed.underlying]
        basis = float(self._bases[nth])
        if feed.kind is TickKind.FUNDING_RATE:
            clamped = min(max(_FUNDING_INTEREST - basis, -_FUNDING_CLAMP), _FUNDING_CLAMP)
            return basis + clamped, 0.0
        if feed.kind is TickKind.IMPLIED_VOL:
            return self._implied_volatility(nth, feed.horizon / _YEAR), 20.0 * self._disagreement
        price = float(np.exp(self._log_prices[nth])) * (1.0 + basis if feed.perpetual else 1.0)
        return price / (stablecoin if feed.currency == STABLECOIN else 1.0), self._disagreement

    def _implied_volatility(self, nth: int, horizon_years: float) -> float:
        """The volatility expected on average until the horizon, jumps included."""
        theta, kappa = float(self._long_run_variances[nth]), float(self._reversions[nth])
        weight = -np.expm1(-kappa * horizon_years) / (kappa * horizon_years)
        variance = theta + weight * (max(float(self._variances[nth]), 0.0) - theta)
        jumps = self._jumps_per_year * (self._jump_means[nth] ** 2 + self._jump_volatilities[nth] ** 2)
        return float(np.sqrt(variance + jumps))

    def _check(self, *, speed: float, correlation: float) -> None:
        if speed <= 0:
            raise InvalidInput(f"speed {speed} must be positive")
        if strangers := [name for name in self.sources if not name.startswith("sim-")]:
            raise InvalidInput(f"simulated sources begin with sim-, unlike {', '.join(strangers)}")
        if not 0 <= correlation < 1:
            raise InvalidInput(f"correlation {correlation} must be at least 0 and below 1")
        for feed in self.feeds:
            if feed.underlying not in self._index and feed.underlying != STABLECOIN:
                raise InvalidInput(f"{feed.instrument}: no dynamics for {feed.underlying}")

    @staticmethod
    def _column(values: Sequence[float]) -> NDArray[np.float64]:
        return np.array(values, dtype=np.float64)
