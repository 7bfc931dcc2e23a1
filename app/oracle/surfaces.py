"""Volatilities of options that nobody quotes, read off a surface of those that somebody does.

The options of one underlying that are marked by one instrument are a chain. On the first frame of every ten
seconds of market time, one surface free of static arbitrage is fitted to a chain's quotes, where an option
lacks one and a quote has changed since the last surface. It depends on that frame alone, not on the surface
before: whoever takes over goes on with the same ones.

A volatility is read off only where quotes hold it: within the quoted strikes of an expiry that has at least
five quotes and an hour left, and where no quote is so far away that it would be too uncertain. An option that
somebody spoke of within the age of the kind, or whose word stands by a heartbeat, is left to its sources,
whatever came of that.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from app.domain.market import Change, Quality, TickKind
from app.domain.times import NS_PER_HOUR, NS_PER_YEAR
from app.oracle.declared import SECOND_NS, Ladder, Pair
from app.oracle.records import Records
from app.quant.arrays import BoolArray, FloatArray, IntArray
from app.quant.surface import SliceStatus, calibrate_surface

SURFACE_NS = 10 * SECOND_NS
LEAST_QUOTES = 5  # as many as a slice has parameters
LEAST_LEFT_NS = NS_PER_HOUR
RESOLUTION = 0.002
"""In volatility: what a fit takes a quote to be uncertain by at least, and so what is read off too."""


class Chain(NamedTuple):
    """Options in the order of their names; `forward` is the instrument whose price is their forward."""

    forward: str
    names: tuple[str, ...]
    strikes: FloatArray
    expiries_ns: IntArray


class _Slices(NamedTuple):
    """Of each expiry that a surface was fitted to: what of it may be read off, and how well it is known."""

    lowest: FloatArray
    highest: FloatArray
    confidence: FloatArray
    time_ns: IntArray
    sound: BoolArray


def chains_of(instruments: Mapping[str, Pair]) -> tuple[Chain, ...]:
    grouped = defaultdict(list)
    for name, pair in sorted(instruments.items()):
        if pair.option is not None:
            grouped[pair.base, pair.quote, pair.option.forward].append((name, pair.option))
    return tuple(
        Chain(
            forward,
            tuple(name for name, _ in options),
            np.array([terms.strike for _, terms in options]),
            np.array([terms.expiry_ns for _, terms in options], dtype=np.int64),
        )
        for (_, _, forward), options in grouped.items()
    )


def read_off(
    chain: Chain, quotes: Records, *, forward: float, now_ns: int, since_ns: int, ladder: Ladder
) -> Sequence[Change]:
    """Volatilities of options that lack a quote.

    `quotes` are records of `ESTIMATE`, one an option; `forward` is in the quote currency of the strikes.
    Nothing where no quote was told, and none became too old, since `since_ns`, when the last surface may have
    been fitted.
    """
    age_ns = ladder.stale_for_margin_ns
    left = chain.expiries_ns - now_ns >= LEAST_LEFT_NS
    stands_from_ns = np.maximum(quotes["updated_ns"], quotes["new_until_ns"])
    spoken = (quotes["samples"] > 0) & (now_ns - stands_from_ns <= age_ns)
    fresh = spoken & left & (quotes["quality"] <= Quality.STALE_FOR_TRADING)
    fresh &= now_ns - quotes["new_until_ns"] <= age_ns
    fell_silent = (quotes["samples"] > 0) & ~spoken & (since_ns - stands_from_ns <= age_ns)
    if not (fell_silent.any() or (quotes["updated_ns"][fresh] >= since_ns).any()):
        return ()
    expiries_ns, expiry = np.unique(chain.expiries_ns, return_inverse=True)
    fits = np.bincount(expiry[fresh], minlength=expiries_ns.size) >= LEAST_QUOTES
    lacking = left & ~spoken & fits[expiry]
    if not lacking.any():
        return ()
    years = (expiries_ns[fits] - now_ns) / NS_PER_YEAR
    places = (np.cumsum(fits) - 1)[expiry]
    used = fresh & fits[expiry]
    return list(_changes(chain, quotes, used, lacking, places, years, forward, ladder.uncertain_fraction))


def _changes(
    chain: Chain,
    quotes: Records,
    used: BoolArray,
    lacking: BoolArray,
    places: IntArray,
    years: FloatArray,
    forward: float,
    most_uncertain: float,
) -> Iterator[Change]:
    """`places`: which of the `years` each option has."""
    values, confidences = quotes["value"][used], quotes["confidence"][used]
    calibration = calibrate_surface(
        years_to_expiry=years,
        forwards=np.full(years.size, forward),
        expiry_indices=places[used],
        strikes=chain.strikes[used],
        bid_volatilities=np.maximum(values - confidences, 0.0),
        ask_volatilities=values + confidences,
    )
    surface = calibration.surface
    met = surface.evaluate(strikes=chain.strikes[used], years_to_expiry=years[places[used]])
    slices = _Slices(
        np.full(years.size, np.inf),
        np.full(years.size, -np.inf),
        np.full(years.size, RESOLUTION),
        np.zeros(years.size, dtype=np.int64),
        np.isin(calibration.statuses, (SliceStatus.FITTED, SliceStatus.REPAIRED)),
    )
    np.minimum.at(slices.lowest, places[used], chain.strikes[used])
    np.maximum.at(slices.highest, places[used], chain.strikes[used])
    np.maximum.at(slices.confidence, places[used], np.abs(met.volatilities - values) + confidences)
    np.maximum.at(slices.time_ns, places[used], quotes["time_ns"][used])
    found = surface.evaluate(strikes=chain.strikes[lacking], years_to_expiry=years[places[lacking]])
    rows = zip(np.flatnonzero(lacking).tolist(), found.volatilities.tolist(), found.usable, strict=True)
    for at, volatility, usable in rows:
        place = places[at]
        held = slices.lowest[place] <= chain.strikes[at] <= slices.highest[place]
        confidence = float(slices.confidence[place])
        if usable and held and slices.sound[place] and confidence <= most_uncertain * volatility:
            time_ns, name = int(slices.time_ns[place]), chain.names[at]
            yield Change(TickKind.IMPLIED_VOL, name, volatility, confidence, 0, Quality.VALID, time_ns)
