"""The registry's file: what it may say, and how a mistake in it is told."""

from base64 import b64encode
from dataclasses import replace
from pathlib import Path

import pytest

from app.domain.errors import InvalidInput
from app.domain.market import TickKind
from app.oracle.declared import Declared, Ladder, Quorum, Source, Standard
from app.oracle.kinds import STANDARDS, ladder_of, quorum_of
from app.services.declare_sources import Difference, parse_registry

DECLARED_KINDS = (TickKind.GAS_PRICE, TickKind.SENTIMENT, TickKind.BOOK_DEPTH, TickKind.POOL_DEPTH)
SECOND = 1_000_000_000
EXAMPLE = Path(__file__).resolve().parents[2] / "deploy" / "sources.yaml"


def test_the_example_says_everything_that_can_be_said():
    declared = parse_registry(EXAMPLE.read_text("utf-8")).declared()
    key = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")  # RFC 8032, 7.1
    assert declared.sources == {
        "binanceus": Source(weight=2.0, quote="USDT"),
        "kraken": Source(quote="USDC", maximum_age_ns=120_000_000_000),
        "desk": Source(kind=TickKind.PRICE, base="BTC", quote="USD", public_key=key),
        "chainlink": Source(heartbeat_ns=3_660_000_000_000),
        "house": Source(publisher="demo"),
        "*": Source(weight=0.5),
    }
    assert declared.quorums == {"BTC-USD": {"sources": 2, "weight": 1.5}}
    assert declared.ladders == {
        "BTC-USD": {
            "uncertain_fraction": 0.01,
            "stale_for_trading_ns": 10_000_000_000,
            "stale_for_margin_ns": 120_000_000_000,
        }
    }
    gas, sentiment, book, pool = (STANDARDS[kind] for kind in DECLARED_KINDS)
    assert declared.kinds == {
        TickKind.GAS_PRICE: Standard(
            replace(gas.ladder, stale_for_trading_ns=15_000_000_000), Quorum(2), tolerance=0.5
        ),
        TickKind.SENTIMENT: replace(
            sentiment,
            ladder=replace(
                sentiment.ladder,
                stale_for_trading_ns=180_000_000_000_000,
                stale_for_margin_ns=360_000_000_000_000,
            ),
        ),
        TickKind.BOOK_DEPTH: replace(
            book, ladder=replace(book.ladder, uncertain_fraction=0.8, dispersed_fraction=0.8)
        ),
        TickKind.POOL_DEPTH: replace(pool, quorum=Quorum(weight=1.5)),
    }


def test_what_an_instrument_leaves_out_is_left_to_its_kind():
    declared = parse_registry(
        "instruments: {X: {}, Y: {least_sources: 2}, Z: {volatile_ratio: 3}}"
    ).declared()
    assert declared.quorums == {"Y": {"sources": 2}}
    assert declared.ladders == {"Z": {"volatile_ratio": 3.0}}


TERMS = """
kinds: {price: {stale_for_margin_seconds: 300, least_weight: 2}, gas_price: {tolerance: 0.5, least_weight: 3}}
instruments: {X: {stale_for_trading_seconds: 200, least_sources: 3}, x: {uncertain_fraction: 0.25}}
"""


def test_what_is_left_out_is_what_the_kind_has_be_it_declared_or_not():
    """The same name may be an instrument's, a chain's and an index's."""
    declared = parse_registry(TERMS).declared()
    price = Ladder(stale_for_margin_ns=300 * SECOND)
    assert ladder_of(TickKind.PRICE, "X", declared) == replace(price, stale_for_trading_ns=200 * SECOND)
    assert quorum_of(TickKind.PRICE, "X", declared) == Quorum(3, 2.0)
    assert ladder_of(TickKind.PRICE, "x", declared) == replace(price, uncertain_fraction=0.25)
    for kind in (TickKind.GAS_PRICE, TickKind.SENTIMENT):
        usual = STANDARDS[kind].ladder
        assert ladder_of(kind, "x", declared) == replace(usual, uncertain_fraction=0.25)
    assert quorum_of(TickKind.GAS_PRICE, "X", declared) == Quorum(3, 3.0)
    assert ladder_of(TickKind.FUNDING_RATE, "X", declared) == STANDARDS[TickKind.FUNDING_RATE].ladder


@pytest.mark.parametrize(
    ("said", "kind", "trading", "margin"),
    [
        ("stale_for_trading_seconds: 61", TickKind.PRICE, 61, 61),
        ("stale_for_trading_seconds: 61", TickKind.GAS_PRICE, 61, 120),
        ("stale_for_trading_seconds: 100000", TickKind.SENTIMENT, 100_000, 180_000),
        ("stale_for_margin_seconds: 20", TickKind.PRICE, 5, 20),
        ("stale_for_margin_seconds: 20", TickKind.GAS_PRICE, 20, 20),
        ("stale_for_trading_seconds: 90, stale_for_margin_seconds: 90", TickKind.GAS_PRICE, 90, 90),
    ],
)
def test_an_age_that_is_left_out_gives_way_to_one_that_is_said(said, kind, trading, margin):
    for text in (f"instruments: {{x: {{{said}}}}}", f"kinds: {{{kind}: {{{said}}}}}"):
        ladder = ladder_of(kind, "x", parse_registry(text).declared())
        assert (ladder.stale_for_trading_ns, ladder.stale_for_margin_ns) == (
            trading * SECOND,
            margin * SECOND,
        )


@pytest.mark.parametrize(
    ("kind", "name", "trading", "margin"),
    [
        (TickKind.PRICE, "BTC-USD", 5, 60),
        (TickKind.GAS_PRICE, "ethereum", 30, 120),
        (TickKind.SENTIMENT, "fear-greed", 26 * 3_600, 50 * 3_600),
        (TickKind.STRESS, "dvol", 600, 7_200),
        (TickKind.BOOK_DEPTH, "binance/BTC-USDT/50bps", 10, 60),
        (TickKind.POOL_DEPTH, "ethereum/pool/50bps", 60, 300),
    ],
)
def test_each_kind_is_stale_by_how_often_it_is_published(kind, name, trading, margin):
    """As the table in docs/consensus.md has it; of nobody's making but the kind's."""
    ladder = ladder_of(kind, name, Declared())
    assert (ladder.stale_for_trading_ns, ladder.stale_for_margin_ns) == (trading * SECOND, margin * SECOND)
    assert quorum_of(kind, name, Declared()) == Quorum(1, 0.0)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("sources: [", ""),
        ("- a", ""),
        ("source: {}", "/source"),
        ("sources: {a: {weight: 0}}", "/sources/a/weight"),
        ("sources: {a: {weight: .nan}}", "/sources/a/weight"),
        ("sources: {a: {weight: 1001}}", "/sources/a/weight"),
        ("sources: {a: {kind: rumour}}", "/sources/a/kind"),
        ("sources: {a: {maximum_age_seconds: 0}}", "/sources/a/maximum_age_seconds"),
        ("sources: {a: {heartbeat_seconds: -1}}", "/sources/a/heartbeat_seconds"),
        ("sources: {a: {public_key: '?'}}", "/sources/a/public_key"),
        (f"sources: {{a: {{public_key: {b64encode(bytes(31)).decode()}}}}}", "/sources/a/public_key"),
        ("sources: {a: {publisher: ''}}", "/sources/a/publisher"),
        ("sources: {a: {colour: red}}", "/sources/a/colour"),
        (f"sources: {{{'a' * 65}: {{}}}}", f"/sources/{'a' * 65}/[key]"),
        ("instruments: {X: {least_sources: 0}}", "/instruments/X/least_sources"),
        ("instruments: {X: {volatile_ratio: 1}}", "/instruments/X/volatile_ratio"),
        ("instruments: {X: {uncertain_fraction: .inf}}", "/instruments/X/uncertain_fraction"),
        ("instruments: {X: {stale_for_trading_seconds: 61, stale_for_margin_seconds: 60}}", "/instruments/X"),
        ("instruments: {X: {tolerance: 0.1}}", "/instruments/X/tolerance"),
        ("kinds: {rumour: {}}", "/kinds/rumour/[key]"),
        ("kinds: {heartbeat: {}}", "/kinds"),
        ("kinds: {gas_price: {least_sources: 0}}", "/kinds/gas_price/least_sources"),
        ("kinds: {gas_price: {tolerance: -1}}", "/kinds/gas_price/tolerance"),
        (
            "kinds: {gas_price: {stale_for_margin_seconds: 29, stale_for_trading_seconds: 30}}",
            "/kinds/gas_price",
        ),
        ("sources: {'': {}}", "/sources//[key]"),
        ("sources: {'two  words': {}}", "/sources/two  words/[key]"),
        ("kinds: {gas_price: {volatile_ratio: 2}}", "/kinds"),
        ("kinds: {sentiment: {diverging_fraction: 0.5}}", "/kinds"),
    ],
)
def test_a_mistake_is_told_with_its_place(text, place):
    with pytest.raises(InvalidInput) as refused:
        parse_registry(text)
    assert refused.value.path == place


def test_a_difference_by_name():
    found = Difference.between({"a": 1, "b": 2, "c": 3}, {"b": 2, "c": 4, "d": 5})
    assert (found.added, found.changed, found.removed) == (["d"], ["c"], ["a"])
