"""`python -m tests.surface_table`: how well SVI slices meet recorded quotes, expiry by expiry, as
Markdown."""

import sys
from dataclasses import dataclass

import numpy as np

from app.quant.surface import RawSvi, SliceStatus, arbitrage_report, total_variances
from app.quant.surface.fitted_slice import fit_alone
from app.quant.surface.quotes import quotes_by_expiry
from tests.option_chains import Chain, snapshot, snapshot_paths, tickers_2021


@dataclass(frozen=True)
class Line:
    """One expiry: how many two-sided quotes, and at how many the slice lies inside bid-ask."""

    expiry: str
    years: float
    two_sided: int
    inside: int
    inside_unconstrained: int  # of the slice fitted by itself, arbitrage or not
    mark_inside: int  # the exchange's own mark volatility
    contradicting: int  # at least as many are missed by any smile: the same strike quoted apart
    worst_points: float  # the furthest that the slice is outside, in volatility points
    worst_spreads: float  # the same in spreads of that quote
    status: SliceStatus

    @property
    def why(self) -> str:
        if self.status == SliceStatus.NO_QUOTES:
            return "no two-sided quote: no slice"
        reasons = []
        missed = self.two_sided - max(self.inside, self.inside_unconstrained)
        if contradicting := min(self.contradicting, missed):
            reasons.append(f"{contradicting} contradict others of their strike")
        if shape := missed - contradicting:
            reasons.append(f"{shape} out of reach of five numbers")
        if ruled := max(self.inside_unconstrained - self.inside, 0):
            reasons.append(f"{ruled} given up for no-arbitrage")
        if self.two_sided < 5:
            reasons.append("fewer quotes than numbers: a prior decides the rest")
        if self.status == SliceStatus.REPAIRED:
            reasons.append("drawn to a safe slice")
        return "; ".join(reasons)


def lines_of(chain: Chain) -> list[Line]:
    calibration = chain.calibrated()
    assert arbitrage_report(slices=calibration.surface.slices).free
    rows = iter(calibration.surface.parameters)
    alone = quotes_by_expiry(
        years_to_expiry=chain.years_to_expiry,
        expiry_indices=chain.expiry_indices,
        log_moneyness=np.log(chain.strikes / chain.quote_forwards),
        bid_volatilities=chain.bid_volatilities,
        ask_volatilities=chain.ask_volatilities,
        weights=1.0,
    )
    lines = []
    for index, status in enumerate(map(SliceStatus, calibration.statuses)):
        fits = (
            [None, None]
            if status == SliceStatus.NO_QUOTES
            else [next(rows), fit_alone(alone[index], None).row]
        )
        lines.append(_line(chain, index, *fits, status))
    assert [line.inside for line in lines] == calibration.inside.tolist()
    return lines


def _line(
    chain: Chain, index: int, row: np.ndarray | None, free: np.ndarray | None, status: SliceStatus
) -> Line:
    years = float(chain.years_to_expiry[index])
    of_expiry = (chain.expiry_indices == index) & chain.two_sided
    bids, asks = chain.bid_volatilities[of_expiry], chain.ask_volatilities[of_expiry]
    marks = chain.mark_volatilities[of_expiry]
    k = np.log(chain.strikes[of_expiry] / chain.quote_forwards[of_expiry])

    def volatilities(parameters: np.ndarray) -> np.ndarray:
        variances = total_variances(log_moneyness=k, slices=RawSvi(*parameters))
        return np.sqrt(np.maximum(variances, 0.0) / years)

    def inside(values: np.ndarray) -> int:
        return int(np.sum((bids <= values) & (values <= asks)))

    name = f"{chain.expiries[index]:%Y-%m-%d}"
    if row is None or free is None:
        return Line(name, years, len(k), 0, 0, 0, 0, 0.0, 0.0, status)
    misses = np.maximum(bids - volatilities(row), volatilities(row) - asks)
    spreads = misses / np.maximum(asks - bids, 1e-6)
    counts = (inside(volatilities(row)), inside(volatilities(free)), inside(marks))
    strikes = chain.strikes[of_expiry]
    together = sum(_most_at_once(bids[strikes == each], asks[strikes == each]) for each in set(strikes))
    worst = (max(100.0 * misses.max(), 0.0), max(spreads.max(), 0.0))
    return Line(name, years, len(k), *counts, len(k) - together, *worst, status)


def _most_at_once(bids: np.ndarray, asks: np.ndarray) -> int:
    """How many of the quotes of one strike a single volatility can be inside of."""
    return int(np.sum((bids <= bids[:, None]) & (bids[:, None] <= asks), axis=1).max())


def markdown(lines: list[Line]) -> str:
    table = [
        "| expiry | days | two-sided | inside | unconstrained | mark inside | furthest out | why |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for line in lines:
        furthest = (
            f"{line.worst_points:.1f} points, {line.worst_spreads:.1f} spreads" if line.worst_points else ""
        )
        table.append(
            f"| {line.expiry} | {365 * line.years:.1f} | {line.two_sided} | {line.inside} "
            f"| {line.inside_unconstrained} | {line.mark_inside} | {furthest} | {line.why} |"
        )
    return "\n".join(table)


def total(lines: list[Line]) -> str:
    quotes, inside = sum(line.two_sided for line in lines), sum(line.inside for line in lines)
    free, marks = sum(line.inside_unconstrained for line in lines), sum(line.mark_inside for line in lines)
    return f"{inside} of {quotes} inside ({inside / quotes:.1%}); unconstrained {free}, marks {marks}"


def main() -> None:
    everything = {"tickers of 2021-02-11": tickers_2021()}
    for path in snapshot_paths():
        for currency in ("BTC", "ETH"):
            everything[f"{path.name}, {currency}"] = snapshot(path, currency)
    for name, chain in everything.items():
        lines = lines_of(chain)
        sys.stdout.write(f"\n{name}: {total(lines)}\n\n{markdown(lines)}\n")


if __name__ == "__main__":
    main()
