"""A policy against the portfolio that it is for: what it speaks of must be there, and fit."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import assert_never

from app.domain.errors import InvalidInput
from app.domain.families.capital_efficiency import RESERVE, CapitalEfficiency
from app.domain.families.rule import Hedge, SetLeverage
from app.domain.families.volatility_target import ImpliedVolatility
from app.domain.identifiers import InstrumentId
from app.domain.instruments import Instrument, InstrumentKind
from app.domain.policies import (
    AnyPolicy,
    DeltaNeutral,
    GammaBand,
    LeverageBand,
    LiquidationGuard,
    Rule,
    StressResponse,
    VolatilityTarget,
)
from app.domain.portfolios import Portfolio
from app.ports.management import UnitOfWork
from app.services.documents import check_decimals
from app.services.manage_portfolios import account_named

_K = InstrumentKind
_HEDGES = frozenset({_K.SPOT, _K.PERPETUAL, _K.FUTURE})
_OPTIONS = frozenset({_K.OPTION})
_PRICED = frozenset({_K.SPOT, _K.PERPETUAL, _K.FUTURE})
_TRADED = frozenset(_K)


@dataclass(frozen=True, slots=True)
class _Use:
    """An instrument that a policy names at `path`, and what it has to be."""

    path: str
    name: str
    kinds: Collection[InstrumentKind]
    underlying: str | None = None
    account: str | None = None
    account_path: str = "/account"
    trades: bool = True


async def check_policy(unit: UnitOfWork, portfolio: Portfolio, policy: AnyPolicy) -> None:
    """InvalidInput with the place, when the policy speaks of what the portfolio or the market has not."""
    check_decimals(policy)
    for path, name in _accounts(policy):
        account_named(portfolio, name, path)
    for use, instrument in await _used(unit, policy):
        if use.trades:
            _check_venue(use, instrument, portfolio)


async def check_policy_of_any(unit: UnitOfWork, policy: AnyPolicy) -> None:
    """The same for portfolios that nobody knows yet: each names its accounts as it likes."""
    check_decimals(policy)
    for path, _ in _accounts(policy):
        raise InvalidInput("portfolios that are not named one by one have accounts of other names", path=path)
    await _used(unit, policy)


async def _used(unit: UnitOfWork, policy: AnyPolicy) -> list[tuple[_Use, Instrument]]:
    """What it names, once each is there and is what it has to be."""
    uses = list(_uses(policy))
    known = await unit.instruments.some({InstrumentId(use.name) for use in uses})
    return [(use, _checked(use, known.get(InstrumentId(use.name)))) for use in uses]


def _accounts(policy: AnyPolicy) -> Iterator[tuple[str, str]]:
    match policy:
        case DeltaNeutral():
            if policy.hedge_account is not None:
                yield "/hedge_account", policy.hedge_account
        case Rule():
            yield from _rule_accounts(policy)
        case CapitalEfficiency():
            for number, pocket in enumerate(policy.pockets):
                yield f"/pockets/{number}/account", pocket.account
            for number, route in enumerate(policy.routes):
                for end in ("source", "destination"):
                    if getattr(route, end) != RESERVE:
                        yield f"/routes/{number}/{end}", getattr(route, end)
        case LiquidationGuard() | LeverageBand() | VolatilityTarget() | GammaBand() | StressResponse():
            if policy.account is not None:
                yield "/account", policy.account
        case _:
            assert_never(policy)


def _uses(policy: AnyPolicy) -> Iterator[_Use]:
    match policy:
        case DeltaNeutral():
            account = (policy.hedge_account, "/hedge_account")
            yield from _named(
                "hedge_instruments", policy.hedge_instruments, _HEDGES, policy.underlying, *account
            )
        case LiquidationGuard():
            yield from _named("hedge_instruments", policy.hedge_instruments, _HEDGES, None, policy.account)
        case LeverageBand():
            yield from _named("trade_instruments", policy.trade_instruments, _TRADED, None, policy.account)
        case VolatilityTarget():
            traded = (policy.trade_instruments, _HEDGES, policy.underlying, policy.account)
            yield from _named("trade_instruments", *traded)
            implied = isinstance(policy.volatility, ImpliedVolatility)
            kinds = _OPTIONS if implied else _PRICED
            name = policy.volatility.instrument
            yield _Use("/volatility/instrument", name, kinds, policy.underlying, trades=False)
        case GammaBand():
            on, account_name = policy.underlying, policy.account
            yield from _named("options", policy.options, _OPTIONS, on, account_name)
            yield from _named("hedge_instruments", policy.hedge_instruments, _HEDGES, on, account_name)
        case Rule():
            yield from _rule_uses(policy)
        case CapitalEfficiency() | StressResponse():
            return
        case _:
            assert_never(policy)


def _named(
    field: str,
    names: Sequence[str],
    kinds: Collection[InstrumentKind],
    underlying: str | None,
    account: str | None,
    account_path: str = "/account",
) -> Iterator[_Use]:
    for number, name in enumerate(names):
        yield _Use(f"/{field}/{number}", name, kinds, underlying, account, account_path)


def _rule_accounts(policy: Rule) -> Iterator[tuple[str, str]]:
    for number, action in enumerate(policy.actions):
        for field in ("account", "hedge_account", "source", "destination"):
            name = getattr(action, field, None)
            if name not in (None, RESERVE):
                yield f"/actions/{number}/{field}", name


def _rule_uses(policy: Rule) -> Iterator[_Use]:
    for number, action in enumerate(policy.actions):
        field = f"actions/{number}"
        if isinstance(action, Hedge):
            account = (action.hedge_account, f"/{field}/hedge_account")
            names = action.hedge_instruments
            yield from _named(f"{field}/hedge_instruments", names, _HEDGES, action.underlying, *account)
        if isinstance(action, SetLeverage):
            account = (action.account, f"/{field}/account")
            yield from _named(f"{field}/trade_instruments", action.trade_instruments, _TRADED, None, *account)


def _checked(use: _Use, instrument: Instrument | None) -> Instrument:
    if instrument is None:
        raise InvalidInput(f"no instrument {use.name}", path=use.path)
    if instrument.kind not in use.kinds:
        kinds = " or ".join(sorted(use.kinds))
        raise InvalidInput(
            f"{use.name} is of kind {instrument.kind}; what is named here is {kinds}", path=use.path
        )
    if use.underlying is not None and instrument.underlying != use.underlying:
        raise InvalidInput(
            f"{use.name} is on {instrument.underlying}, not on {use.underlying}", path=use.path
        )
    return instrument


def _check_venue(use: _Use, instrument: Instrument, portfolio: Portfolio) -> None:
    if use.account is None:
        if all(account.venue != instrument.venue for account in portfolio.accounts):
            raise InvalidInput(
                f"{instrument.id} trades on {instrument.venue!r}, where no account of the portfolio is",
                path=use.path,
            )
        return
    account = account_named(portfolio, use.account, use.account_path)
    if account.venue != instrument.venue:
        raise InvalidInput(
            f"{account.name!r} is on {account.venue!r}, but {instrument.id} trades on {instrument.venue!r}",
            path=use.account_path,
        )
