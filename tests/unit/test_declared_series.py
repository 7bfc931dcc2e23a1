"""What a scenario declares rides along with recorded prices."""

from app.domain.market import Tick, TickKind
from app.services.declared_series import DrawdownStress, FixedVolatility, with_series

SECOND_NS = 1_000_000_000


def priced(*at_and_price):
    return [
        [Tick(TickKind.PRICE, "file", "BTC-USDT", number, at * SECOND_NS, float(price))]
        for number, (at, price) in enumerate(at_and_price, start=1)
    ]


def test_an_option_is_quoted_with_every_price_at_its_time():
    series = [FixedVolatility(instrument="BTC-CALL", value=0.8)]
    entries = list(with_series(priced((1, 100), (2, 90)), series))
    assert [len(entry) for entry in entries] == [2, 2]
    assert [(entry[1].time_ns, entry[1].value) for entry in entries] == [
        (SECOND_NS, 0.8),
        (2 * SECOND_NS, 0.8),
    ]
    assert [entry[1].sequence for entry in entries] == [1, 2]


def test_stress_is_the_fall_from_the_highest_price_within_the_window():
    series = [DrawdownStress(index="MARKET", drawdown_of="BTC-USDT", window_seconds=60)]
    prices = priced((0, 80), (10, 100), (20, 75), (69, 90), (70, 45), (71, 60))
    found = [entry[1].value for entry in with_series(prices, series)]
    # The 100 of second 10 is out of the window at second 70; the 90 of second 69 is then the highest.
    assert found == [0.0, 0.0, 0.25, 1 - 90 / 100, 0.5, 1 - 60 / 90]


def test_an_entry_without_a_price_stays_as_it_is():
    heartbeat = [Tick(TickKind.HEARTBEAT, "clock", "", 1, SECOND_NS, 0.0)]
    other = [Tick(TickKind.PRICE, "file", "ETH-USDT", 1, SECOND_NS, 5.0)]
    series = [DrawdownStress(index="MARKET", drawdown_of="BTC-USDT")]
    assert list(with_series([heartbeat, other], series)) == [heartbeat, other]
