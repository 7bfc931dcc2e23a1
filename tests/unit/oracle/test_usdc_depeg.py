"""The depeg of USD Coin on 2023-03-11, replayed: sources that honestly disagree, and a mistake about them."""

from pathlib import Path

import pytest

from app.domain.market import Quality
from tests.depeg_picture import picture
from tests.market_data import market_dir
from tests.recorded_depeg import COINS, CURRENCIES, DOLLARS, KRAKEN, MISDECLARED, replayed

DRAWN = Path(__file__).resolve().parents[3] / "docs" / "images" / "usdc-depeg.svg"
DAY = 1_440
FAR, CLOSE = 0.03, 0.005


@pytest.fixture(scope="module")
def told():
    return list(replayed(market_dir(), CURRENCIES))


@pytest.fixture(scope="module")
def misled():
    return list(replayed(market_dir(), MISDECLARED))


def test_with_its_currencies_declared_bitcoin_stays_with_the_dollar(told):
    assert len(told) == DAY
    assert max(minute.off(COINS) for minute in told) > 0.14, "and Bitcoin in USDC does not"
    for minute in told:
        assert minute.bitcoin.value == pytest.approx(minute.raw[DOLLARS], rel=1e-3)
        assert minute.worst == Quality.VALID


def test_the_coin_itself_shows_the_depeg(told):
    lowest = min(told, key=lambda minute: minute.coin.value)
    assert 0.87 < lowest.coin.value < 0.88
    assert told[0].coin.value == pytest.approx(1.0, rel=0.002)
    assert told[0].coin.quality is Quality.VALID


def test_the_coins_venues_taken_for_dollars_show_in_the_quality(misled):
    """Half of the sources, far off: there is no telling who is right, and it says so in every such minute."""
    far = [minute for minute in misled if minute.off(COINS) > FAR and minute.off(KRAKEN) > FAR]
    assert len(far) > 900
    assert {minute.bitcoin.quality for minute in far} == {Quality.TOO_UNCERTAIN}
    assert max(minute.bitcoin.value / minute.raw[DOLLARS] for minute in far) > 1.05


def test_before_the_depeg_the_mistake_does_no_harm(misled):
    close = [minute for minute in misled if max(abs(minute.off(name)) for name in (COINS, KRAKEN)) < CLOSE]
    assert len(close) > 60
    assert {minute.bitcoin.quality for minute in close} == {Quality.VALID}


@pytest.mark.parametrize("currencies", [CURRENCIES, MISDECLARED], ids=["declared", "misdeclared"])
def test_killed_twenty_times_it_tells_the_same(told, misled, currencies):
    kills = frozenset(range(-30, DAY, DAY // 19))
    assert len(kills) == 20
    whole = told if currencies is CURRENCIES else misled
    assert list(replayed(market_dir(), currencies, kills=kills)) == whole


def test_the_picture_in_the_docs_is_of_this_day(told, misled):
    assert DRAWN.read_text(encoding="utf-8") == picture(told, misled)
