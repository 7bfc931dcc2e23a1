"""What `ballast feed` is asked for, how long it waits, and what its events are made of."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.adapters.feeds import FeedChoice, open_feed
from app.adapters.feeds.sequences import sequence_at
from app.adapters.feeds.server_sent_events import LONGEST_EVENT_BYTES, event_data
from app.domain.errors import ConfigurationError, FeedLost, InvalidInput
from app.entrypoints.cli.feed import parse_instruments
from app.services.publish_feed import FIRST_BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS, backoff_seconds


def test_names_of_the_source_are_ours_unless_told_otherwise():
    asked = "BTC-PERPETUAL, BTC-USDT-PERP = BTC/USDT:USDT,"
    assert parse_instruments(asked) == {"BTC-PERPETUAL": "BTC-PERPETUAL", "BTC-USDT-PERP": "BTC/USDT:USDT"}


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("BTC-USD=a,BTC-USD=b", "BTC-USD is there twice"),
        ("BTC-USD=a,BTC=a", "a is given for both BTC-USD and BTC"),
        (" , ", "name at least one, as OURS=THEIRS"),
        ("=a", "names no instrument of ours"),
    ],
)
def test_what_cannot_be_meant_is_refused(asked, words):
    with pytest.raises(InvalidInput, match=words):
        parse_instruments(asked)


def test_a_feed_that_there_is_not_is_refused():
    with pytest.raises(InvalidInput, match="no feed nobody: there are pyth, chainlink, uniswap, and"):
        open_feed(FeedChoice(name="nobody", instruments={}, source="nobody"), [])


def test_an_address_of_an_exchange_is_one_for_http():
    with pytest.raises(InvalidInput, match="--url of kraken begins with http:// or https://"):
        open_feed(FeedChoice(name="kraken", instruments={}, source="kraken", url="ws://else"), [])


def test_a_chain_has_to_be_said():
    with pytest.raises(InvalidInput, match="by the address of a node: --url or BALLAST_FEED_URL"):
        open_feed(FeedChoice(name="uniswap", instruments={}, source="uniswap"), [])


def test_a_package_that_is_missing_is_named_with_what_brings_it(monkeypatch):
    monkeypatch.delitem(sys.modules, "app.adapters.feeds.exchanges", raising=False)
    monkeypatch.setitem(sys.modules, "ccxt", None)
    monkeypatch.delitem(sys.modules, "ccxt.pro", raising=False)
    with pytest.raises(ConfigurationError, match=r"needs the package ccxt: pip .* requirements/feeds\.txt"):
        open_feed(FeedChoice(name="kraken", instruments={}, source="kraken"), [])


def test_other_roles_do_not_pay_for_the_packages_of_feeds():
    imported = (
        "import app.bootstrap, app.entrypoints.cli.commands, app.adapters.feeds, sys; print(*sys.modules)"
    )
    modules = subprocess.run([sys.executable, "-c", imported], capture_output=True, text=True, check=True)
    assert {"ccxt", "web3"}.isdisjoint(modules.stdout.split())


@given(losses=st.integers(1, 10_000), draw=st.floats(0, 1, exclude_max=True))
def test_a_wait_doubles_up_to_a_minute_and_is_never_the_same_for_all(losses, draw):
    most = min(FIRST_BACKOFF_SECONDS * 2.0 ** min(losses - 1, 30), LONGEST_BACKOFF_SECONDS)
    assert most / 2 <= backoff_seconds(losses, draw=draw) <= most


@given(
    st.lists(st.tuples(st.integers(1, 4_000_000_000), st.integers(0, 999_999_999)), min_size=2, max_size=2)
)
def test_sequences_go_by_the_sources_time_and_then_by_its_counter(moments):
    (first, second) = moments
    in_order = sequence_at(first[0] * 10**9, first[1]) < sequence_at(second[0] * 10**9, second[1])
    assert in_order == (first < second)
    assert sequence_at(4_000_000_000 * 10**9, 10**30) < 2**63


async def chunks(body, size):
    for start in range(0, len(body), size):
        yield body[start : start + size]


@pytest.mark.parametrize("size", [1, 2, 3, 1_000])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
async def test_events_are_the_same_however_they_are_cut(size, end):
    lines = [b":", b"data:one", b"", b"event: price", b"id: 7", b"data: two", b"data:", b"data:  3", b"", b""]
    events = [data async for data in event_data(chunks(end.join([*lines, b"data: unfinished"]), size))]
    assert events == [b"", b"one", b"two\n\n 3"]


@pytest.mark.parametrize("piece", [b"x" * (1 << 20), b"data:" + b"x" * (1 << 20) + b"\n"])
async def test_an_event_without_end_is_no_way_to_fill_the_memory(piece):
    async def endless():
        for _ in range(LONGEST_EVENT_BYTES // len(piece) + 2):
            yield piece

    with pytest.raises(FeedLost, match="longer than"):
        async for _ in event_data(endless()):
            pass
