"""Portfolios of a scenario, which may be said relative to the market that they start in, made absolute.

They are as the API takes them, with three freedoms that only a scenario has:

- a position without `entry_price` is entered at the first price of its instrument in the replay, unless lent;
- an account with `leverage` in place of `balances` holds the collateral that gives its positions that much;
- a reserve with `collateral_fraction` in place of `amount` is that fraction of what the accounts hold of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Self

from pydantic import Field, model_validator

from app.domain.errors import InvalidInput
from app.domain.identifiers import InstrumentId
from app.domain.instruments import AssetCode, Instrument, InstrumentKind
from app.domain.policies import Policy
from app.engine.fills import notional
from app.engine.rounding import price
from app.services.documents import (
    STORED_LIMIT,
    STORED_PLACES,
    AccountDocument,
    AccountTerms,
    Amount,
    BalanceDocument,
    Document,
    PortfolioDocument,
    PortfolioTerms,
    PositionDocument,
    PositionTerms,
    ReserveDocument,
)

_SMALLEST_AMOUNT = Decimal("1e-8")


class ScenarioPosition(PositionTerms):
    entry_price: Annotated[Amount | None, Field(ge=0)] = None


class ScenarioAccount(AccountTerms):
    positions: tuple[ScenarioPosition, ...] = ()
    leverage: Annotated[Amount | None, Field(gt=0)] = None

    @model_validator(mode="after")
    def _one_collateral(self) -> Self:
        if self.leverage is not None and self.balances:
            raise ValueError("leverage says what collateral there is: leave balances out")
        if self.leverage is not None and not self.positions:
            raise ValueError("leverage is that of positions, and there are none")
        return self


class ScenarioReserve(Document):
    asset: AssetCode
    amount: Annotated[Amount | None, Field(ge=0)] = None
    collateral_fraction: Annotated[Amount | None, Field(ge=0, le=1)] = None
    keep: Annotated[Amount, Field(ge=0)] = Decimal(0)

    @model_validator(mode="after")
    def _one_amount(self) -> Self:
        if (self.amount is None) is (self.collateral_fraction is None):
            raise ValueError("a reserve has either an amount or a collateral_fraction")
        return self


class ScenarioPortfolio(PortfolioTerms):
    accounts: Annotated[tuple[ScenarioAccount, ...], Field(min_length=1)]
    reserves: tuple[ScenarioReserve, ...] = ()
    policies: tuple[Policy, ...] = ()


@dataclass(frozen=True, slots=True)
class StartingMarket:
    """What is listed, and the first price of each instrument that the replay quotes."""

    instruments: Mapping[InstrumentId, Instrument]
    first_prices: Mapping[str, float]


def place(portfolio: ScenarioPortfolio, market: StartingMarket, path: str) -> PortfolioDocument:
    """InvalidInput, with the place, where the market cannot say what the scenario leaves to it."""
    accounts = tuple(
        _account(account, market, f"{path}/accounts/{index}")
        for index, account in enumerate(portfolio.accounts)
    )
    reserves = tuple(
        _reserve(reserve, accounts, f"{path}/reserves/{index}")
        for index, reserve in enumerate(portfolio.reserves)
    )
    return PortfolioDocument(
        name=portfolio.name,
        valuation_currency=portfolio.valuation_currency,
        state=portfolio.state,
        accounts=accounts,
        reserves=reserves,
    )


def _account(account: ScenarioAccount, market: StartingMarket, path: str) -> AccountDocument:
    positions = tuple(
        _position(position, market, f"{path}/positions/{index}")
        for index, position in enumerate(account.positions)
    )
    balances = account.balances
    if account.leverage is not None:
        balances = (_collateral(positions, account.leverage, market, f"{path}/leverage"),)
    return AccountDocument(
        name=account.name,
        venue=account.venue,
        margin_mode=account.margin_mode,
        balances=balances,
        positions=positions,
    )


def _position(position: ScenarioPosition, market: StartingMarket, path: str) -> PositionDocument:
    entry_price = position.entry_price
    lent = _listed(position.instrument, market, f"{path}/entry_price").kind is InstrumentKind.LENDING
    if entry_price is None and not lent:
        entry_price = _first_price(position.instrument, market, f"{path}/entry_price")
    return PositionDocument(
        instrument=position.instrument, quantity=position.quantity, entry_price=entry_price
    )


def _first_price(name: str, market: StartingMarket, path: str) -> Decimal:
    instrument = _listed(name, market, path)
    if instrument.kind is InstrumentKind.OPTION:
        raise _unclear(path, f"{name} is an option, whose premium the replay does not quote: state it")
    if instrument.price_source not in market.first_prices:
        raise _unclear(path, f"it is left out, and there is no replay that quotes {instrument.price_source}")
    first = price(market.first_prices[instrument.price_source])
    # A float has 17 digits: only below 1 can there be more places than are stored.
    return first if first >= 1 else round(first, STORED_PLACES)


def _collateral(
    positions: Sequence[PositionDocument], leverage: Decimal, market: StartingMarket, path: str
) -> BalanceDocument:
    """The notional at the entry prices over the leverage, in the one asset that the positions settle in."""
    instruments = [_listed(position.instrument, market, path) for position in positions]
    assets = {instrument.settlement_asset for instrument in instruments}
    if len(assets) > 1:
        settled = " and ".join(sorted(assets))
        raise _unclear(path, f"the positions settle in {settled}: state balances instead")
    if any(instrument.kind is InstrumentKind.OPTION for instrument in instruments):
        raise _unclear(path, "an option's notional is not its entry price: state balances instead")
    if any(not position.entry_price for position in positions):
        raise _unclear(path, "a position entered at 0 has no notional: state balances instead")
    notionals = (
        notional(instrument, quantity=position.quantity, price=position.entry_price or Decimal(0))
        for position, instrument in zip(positions, instruments, strict=True)
    )
    return BalanceDocument(asset=assets.pop(), amount=_rounded(sum(notionals, Decimal(0)) / leverage, path))


def _reserve(reserve: ScenarioReserve, accounts: Sequence[AccountDocument], path: str) -> ReserveDocument:
    amount, fraction = reserve.amount, reserve.collateral_fraction
    if fraction is not None:
        balances = (balance for account in accounts for balance in account.balances)
        held = sum((balance.amount for balance in balances if balance.asset == reserve.asset), Decimal(0))
        if held <= 0:
            raise _unclear(f"{path}/collateral_fraction", f"the accounts hold no {reserve.asset}")
        amount = _rounded(held * fraction, path)
    return ReserveDocument(asset=reserve.asset, amount=amount or Decimal(0), keep=reserve.keep)


def _rounded(amount: Decimal, path: str) -> Decimal:
    if amount >= STORED_LIMIT:
        raise _unclear(path, "more than can be stored")
    return amount.quantize(_SMALLEST_AMOUNT)


def _listed(name: str, market: StartingMarket, path: str) -> Instrument:
    instrument = market.instruments.get(InstrumentId(name))
    if instrument is None:
        raise _unclear(path, f"no instrument {name}")
    return instrument


def _unclear(path: str, reason: str) -> InvalidInput:
    return InvalidInput(f"{path}: {reason}", path=path)
