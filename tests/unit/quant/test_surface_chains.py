"""Recorded chains: the fitted smiles lie inside bid-ask, without arbitrage. `tests/surface_table.py` prints
them."""

import pytest

from app.quant.surface import arbitrage_report
from tests.option_chains import Chain, snapshot, snapshot_paths, tickers_2021
from tests.surface_table import lines_of, markdown, total

SHARE_INSIDE = 0.9


def _meets_its_quotes(chain: Chain) -> None:
    lines = lines_of(chain)  # which looks for arbitrage, too
    quotes, inside = sum(line.two_sided for line in lines), sum(line.inside for line in lines)
    assert inside >= SHARE_INSIDE * quotes, f"{total(lines)}\n{markdown(lines)}"


def test_the_tickers_of_2021():
    chain = tickers_2021()
    assert chain.two_sided.sum() == 141
    _meets_its_quotes(chain)


@pytest.mark.parametrize("currency", ["BTC", "ETH"])
def test_a_quiet_and_a_falling_market_of_2026(currency: str):
    paths = snapshot_paths()
    assert len(paths) == 21
    for path in (paths[1], paths[-1]):
        _meets_its_quotes(snapshot(path, currency))


@pytest.mark.long
@pytest.mark.parametrize("currency", ["BTC", "ETH"])
def test_every_snapshot_of_2026(currency: str):
    last = None
    for path in snapshot_paths():
        chain = snapshot(path, currency)
        _meets_its_quotes(chain)
        cold, warm = chain.calibrated(), chain.calibrated(last_surface=last)
        assert warm.inside.sum() >= 0.9 * warm.two_sided.sum()
        assert abs(int(warm.inside.sum()) - int(cold.inside.sum())) <= 0.02 * cold.two_sided.sum()
        assert arbitrage_report(slices=warm.surface.slices).free
        last = warm.surface
