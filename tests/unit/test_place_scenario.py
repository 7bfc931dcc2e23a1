"""What a scenario leaves to the market it starts in becomes figures, or one clear complaint."""

from decimal import Decimal
from pathlib import Path

import pytest
import yaml

from app.domain.errors import InvalidInput
from app.domain.instruments import Instrument
from app.services.load_scenario import parse_scenario
from app.services.place_scenario import StartingMarket, place

ROOT = Path(__file__).parents[2]
LISTED = [
    Instrument(id="BTC-PERP", kind="perpetual", underlying="BTC", quote="USDT", multiplier=Decimal("0.1")),
    Instrument(id="ETH-PERP", kind="perpetual", underlying="ETH", quote="USDT", marked_by="ETH-INDEX"),
    Instrument(id="BTC-COIN", kind="perpetual", settlement="inverse", underlying="BTC", quote="USD",
               multiplier=Decimal(100)),
    Instrument(id="BTC-CALL", kind="option", underlying="BTC", quote="USDT", marked_by="BTC-PERP",
               strike=Decimal(50_000), expiry="2022-01-01T08:00:00Z", option_type="call"),
]  # fmt: skip
MARKET = StartingMarket(
    {instrument.instrument_id: instrument for instrument in LISTED},
    {"BTC-PERP": 50_000.0, "ETH-INDEX": 2_500.1, "BTC-COIN": 40_000.0},
)


def placed(account, *, reserves=(), market=MARKET):
    portfolio = {
        "name": "book",
        "valuation_currency": "USDT",
        "accounts": [{"name": "main", **account}],
        "reserves": list(reserves),
    }
    (parsed,) = parse_scenario(yaml.safe_dump({"portfolios": [portfolio]})).portfolios
    return place(parsed, market, "/portfolios/0")


def holding(instrument, quantity, **more):
    return {"instrument": instrument, "quantity": quantity, **more}


def test_an_entry_price_left_out_is_the_first_price_of_what_marks_the_instrument():
    positions = [holding("BTC-PERP", 3), holding("ETH-PERP", -2), holding("BTC-COIN", 1, entry_price=123)]
    (account,) = placed({"positions": positions}).accounts
    assert [p.entry_price for p in account.positions] == [Decimal("50000.0"), Decimal("2500.1"), 123]


@pytest.mark.parametrize(
    ("positions", "asset", "collateral"),
    [
        ([holding("BTC-PERP", 3)], "USDT", Decimal(15_000) / 4),
        ([holding("BTC-PERP", 3), holding("ETH-PERP", -2)], "USDT", Decimal("20000.2") / 4),
        ([holding("BTC-PERP", 3, entry_price=60_000)], "USDT", Decimal(18_000) / 4),
        ([holding("BTC-COIN", -800)], "BTC", Decimal(2) / 4),
    ],
)
def test_leverage_is_notional_over_collateral(positions, asset, collateral):
    (account,) = placed({"leverage": 4, "positions": positions}).accounts
    (balance,) = account.balances
    assert (balance.asset, balance.amount) == (asset, collateral)


def test_a_reserve_may_be_a_fraction_of_the_collateral():
    account = {"leverage": 3, "positions": [holding("BTC-PERP", 10)]}
    book = placed(account, reserves=[{"asset": "USDT", "collateral_fraction": "0.25", "keep": 1}])
    (balance,), (reserve,) = book.accounts[0].balances, book.reserves
    assert balance.amount == Decimal("16666.66666667")
    assert (reserve.amount, reserve.keep) == (Decimal("4166.66666667"), 1)


def test_a_price_with_more_places_than_are_stored_is_rounded():
    market = StartingMarket(MARKET.instruments, {"BTC-PERP": 1.2345678901234567e-7})
    (account,) = placed({"positions": [holding("BTC-PERP", 1)]}, market=market).accounts
    assert account.positions[0].entry_price == Decimal("0.000000123456789012")


ONE = [holding("BTC-PERP", 1)]


@pytest.mark.parametrize(
    ("account", "reserve", "complaint"),
    [
        ({"positions": [holding("SOL-PERP", 1)]}, None, "positions/0/entry_price: no instrument SOL-PERP"),
        ({"positions": [holding("BTC-CALL", 1)]}, None, "entry_price: BTC-CALL is an option, whose premium"),
        ({"positions": [holding("BTC-PERP", 0)]}, None, "a position of 0 is no position"),
        ({"positions": ONE, "leverage": 0}, None, "/leverage: .* greater than 0"),
        ({"leverage": 3}, None, "leverage is that of positions, and there are none"),
        (
            {"leverage": 3, "positions": ONE, "balances": [{"asset": "USDT", "amount": 1}]},
            None,
            "leave balances out",
        ),
        (
            {"leverage": 3, "positions": [*ONE, holding("BTC-COIN", 1)]},
            None,
            "/leverage: the positions settle in BTC and USDT",
        ),
        (
            {"leverage": 3, "positions": [holding("BTC-CALL", 1, entry_price=5)]},
            None,
            "/leverage: an option's notional",
        ),
        ({"leverage": 3, "positions": [holding("BTC-PERP", 1, entry_price=0)]}, None, "entered at 0"),
        (
            {"leverage": "0.001", "positions": [holding("BTC-PERP", 10**19)]},
            None,
            "/leverage: more than can be stored",
        ),
        ({"positions": ONE}, {"asset": "USDT"}, "either an amount or a collateral_fraction"),
        ({"positions": ONE}, {"asset": "USDT", "amount": 1, "collateral_fraction": 1}, "either an amount or"),
        (
            {"positions": ONE, "leverage": 3},
            {"asset": "BTC", "collateral_fraction": "0.1"},
            "/reserves/0/collateral_fraction: the accounts hold no BTC",
        ),
    ],
)
def test_what_the_market_cannot_say_is_told_with_its_place(account, reserve, complaint):
    with pytest.raises(InvalidInput, match=complaint) as error:
        placed(account, reserves=[reserve] if reserve else [])
    assert error.value.path.startswith("/portfolios/0/")


def test_without_a_market_what_is_left_to_it_is_missing():
    with pytest.raises(InvalidInput, match="entry_price: it is left out, and there is no replay that quotes"):
        placed({"positions": ONE}, market=StartingMarket(MARKET.instruments, {}))


def test_the_twins_of_the_example_differ_by_the_policy_alone():
    scenario = parse_scenario((ROOT / "examples" / "guarded-long.yaml").read_text(encoding="utf-8"))
    guarded, unguarded = scenario.portfolios
    assert (guarded.accounts, guarded.reserves) == (unguarded.accounts, unguarded.reserves)
    assert ([policy.kind for policy in guarded.policies], unguarded.policies) == (["liquidation_guard"], ())
    assert guarded.accounts[0].leverage == 3
    assert guarded.reserves[0].collateral_fraction <= Decimal("0.25")
