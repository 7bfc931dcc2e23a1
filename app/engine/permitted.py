"""Which levers a policy lets the plan move."""

from collections.abc import Iterable, Iterator
from decimal import Decimal
from itertools import product
from typing import assert_never

from msgspec import Struct

from app.domain.families.capital_efficiency import RESERVE
from app.domain.families.rule import (
    Close,
    Hedge,
    MoveCollateral,
    Notify,
    Scale,
    SetLeverage,
    SetState,
)
from app.domain.identifiers import Asset
from app.domain.instruments import Instrument, InstrumentKind
from app.domain.policies import (
    AnyPolicy,
    CapitalEfficiency,
    Cure,
    DeltaNeutral,
    GammaBand,
    LeverageBand,
    LiquidationGuard,
    Rule,
    StressResponse,
    VolatilityTarget,
)
from app.domain.portfolios import MarginMode, Portfolio
from app.domain.times import NS_PER_SECOND
from app.engine.levers import Levers, place_of
from app.engine.limits import UNLIMITED, Limits
from app.engine.loan_levers import LoanLevers
from app.engine.scene import Row
from app.engine.trigger_rows import in_scope
from app.engine.valuation import Market

_BASIS_POINT = 1e-4
_MINUTES_PER_YEAR = 365 * 24 * 60


class Permission(Struct, frozen=True):
    """What guards leave of a policy: how much it may trade, and whether only to reduce."""

    limits: Limits = UNLIMITED
    reduces_only: bool = False
    lifts_cost_caps: bool = False


def permit(
    policy: AnyPolicy,
    rows: list[Row],
    levers: Levers,
    market: Market,
    holdings: Portfolio,
    permission: Permission,
) -> None:
    """`rows`: those that fired."""
    allowed = _Allowed(policy, levers, market, holdings, permission)
    match policy:
        case DeltaNeutral():
            allowed.trade_all(policy.hedge_instruments, policy.hedge_account)
        case LiquidationGuard():
            _cure(policy, rows, allowed)
        case LeverageBand():
            _recentre(policy, rows, allowed)
        case VolatilityTarget():
            _resize(policy, allowed)
        case GammaBand():
            allowed.trade_all((*policy.options, *policy.hedge_instruments), policy.account)
            if policy.scale_options:
                allowed.close_options(policy)
        case StressResponse():
            allowed.size_all(policy.account)
        case Rule():
            _obey(policy, allowed)
        case CapitalEfficiency():
            _move_collateral(policy, allowed)
        case _:
            assert_never(policy)


def trading_account(holdings: Portfolio, instrument: Instrument, name: str | None) -> int | None:
    """The ordinal of the named account, or of the first one on the instrument's venue that may hold it.

    None of a pool: what lies there is lent, not traded.
    """
    if instrument.kind is InstrumentKind.LENDING:
        return None
    for ordinal, account in enumerate(holdings.accounts):
        holds = account.margin_mode is not MarginMode.LENDING or instrument.kind is InstrumentKind.SPOT
        if name in (None, account.name) and account.venue == instrument.venue and holds:
            return ordinal
    return None


def is_dear(instrument: Instrument, policy: AnyPolicy, permission: Permission) -> bool:
    """Whether crossing its spread costs more than the policy allows."""
    most = policy.guards.maximum_slippage_bps
    return not permission.lifts_cost_caps and most is not None and instrument.slippage_bps > most


class _Allowed:
    def __init__(
        self,
        policy: AnyPolicy,
        levers: Levers,
        market: Market,
        holdings: Portfolio,
        permission: Permission,
    ) -> None:
        self.policy, self.levers, self.market, self.holdings = policy, levers, market, holdings
        self.permission = permission

    def is_dear(self, instrument: Instrument) -> bool:
        return is_dear(instrument, self.policy, self.permission)

    def trade_all(self, names: Iterable[str], account_name: str | None) -> None:
        for name in names:
            self.trade(name, account_name)

    def size_all(self, account_name: str | None, underlying: str | None = None) -> None:
        for account, instrument in self.positions(account_name):
            if underlying in (None, instrument.underlying):
                self.size(account, instrument)

    def trade(self, name: str, account_name: str | None) -> None:
        instrument = self.market.instrument(name)
        account = trading_account(self.holdings, instrument, account_name)
        if account is None or self.is_dear(instrument):
            return
        limits = self.permission.limits
        if self.permission.reduces_only:
            self.levers.reduce(account, instrument, limits=limits)
        else:
            self.levers.trade_both_ways(account, instrument, limits=limits)

    def positions(self, account_name: str | None) -> list[tuple[int, Instrument]]:
        """Those that can be traded: what lies in a pool is not."""
        return [
            (ordinal, instrument)
            for ordinal in in_scope(self.holdings.accounts, account_name)
            for position in self.holdings.accounts[ordinal].positions
            if (instrument := self.market.instrument(position.instrument)).kind is not InstrumentKind.LENDING
            and not self.is_dear(instrument)
        ]

    def size(self, account: int, instrument: Instrument) -> None:
        """A position may shrink, and grow on its side."""
        self.levers.reduce(account, instrument, limits=self.permission.limits)
        held = self.holdings.accounts[account].position(instrument.instrument_id).quantity
        if held and not self.permission.reduces_only:
            self.levers.increase(account, instrument, 1 if held > 0 else -1, limits=self.permission.limits)

    def scale(self, positions: list[tuple[int, Instrument]]) -> None:
        """All alike, down and up."""
        self.levers.scale(positions, -1, limits=self.permission.limits)
        if not self.permission.reduces_only:
            self.levers.scale(positions, 1, limits=self.permission.limits)

    def close_options(self, policy: GammaBand) -> None:
        for account, instrument in self.positions(policy.account):
            if instrument.kind is InstrumentKind.OPTION and instrument.underlying == policy.underlying:
                self.levers.reduce(account, instrument, limits=self.permission.limits)


def _cure(policy: LiquidationGuard, rows: list[Row], allowed: _Allowed) -> None:
    for row in rows:
        _cure_account(policy, row.account, allowed)


def _cure_account(policy: LiquidationGuard, account: int, allowed: _Allowed) -> None:
    if allowed.holdings.accounts[account].margin_mode is MarginMode.LENDING:
        _cure_loan(policy, account, allowed)
        return
    levers, limits = allowed.levers, allowed.permission.limits
    if Cure.TOP_UP in policy.cures:
        _top_up(policy, account, allowed)
    for held in allowed.holdings.accounts[account].positions:
        instrument = allowed.market.instrument(held.instrument)
        if instrument.kind is InstrumentKind.OPTION and not policy.reduce_options:
            continue
        if allowed.is_dear(instrument):
            continue
        if Cure.REDUCE in policy.cures:
            levers.reduce(account, instrument, limits=limits)
        elif Cure.CLOSE in policy.cures:
            levers.reduce(account, instrument, limits=limits, whole=True)
    if Cure.HEDGE in policy.cures and not allowed.permission.reduces_only:
        for name in policy.hedge_instruments:
            instrument = allowed.market.instrument(name)
            if instrument.venue == allowed.holdings.accounts[account].venue:
                levers.trade_both_ways(account, instrument, limits=limits)


def _cure_loan(policy: LiquidationGuard, account: int, allowed: _Allowed) -> None:
    """Collateral supplied and debt repaid, from the wallet and the reserve; or collateral sold for debt."""
    market, loan = allowed.market, LoanLevers(allowed.levers)
    held = allowed.holdings.accounts[account].positions
    pools = [market.instrument(position.instrument) for position in held]
    if Cure.TOP_UP in policy.cures:
        for pool in pools:
            loan.pay_in(account, account, pool)
            keep = _kept(policy, pool.settlement_asset, allowed)
            if keep is not None:
                loan.pay_in(None, account, pool, keep=keep)
    whole = Cure.REDUCE not in policy.cures
    if whole and Cure.CLOSE not in policy.cures:
        return
    owed = {position.instrument for position in held if position.quantity < 0}
    for spot, collateral, debt in _swaps(account, pools, allowed):
        if collateral.id not in owed and debt.id in owed:
            loan.repay(account, spot, collateral, debt, limits=allowed.permission.limits, whole=whole)


def _swaps(
    account: int, pools: Iterable[Instrument], allowed: _Allowed
) -> Iterator[tuple[Instrument, Instrument, Instrument]]:
    """Spot markets between the assets of every two pools, each with the one pool and the other."""
    pools, venue = list(pools), allowed.holdings.accounts[account].venue
    for one, other in product(pools, pools):
        for spot in allowed.market.spot_markets(one, other, venue):
            if not allowed.is_dear(spot):
                yield spot, one, other


def _top_up(policy: LiquidationGuard, account: int, allowed: _Allowed) -> None:
    for reserve in allowed.holdings.reserves:
        keep = _kept(policy, reserve.asset, allowed)
        if keep is not None:
            allowed.levers.transfer(None, account, reserve.asset, keep=keep)


def _kept(policy: LiquidationGuard, asset: Asset, allowed: _Allowed) -> Decimal | None:
    """What stays of a reserve besides what it keeps anyhow; None where it is not to be used.

    What is valued by older prices may be worth less by now, and stays where it is.
    """
    reserve = next((each for each in allowed.holdings.reserves if each.asset == asset), None)
    kept = None if policy.top_up_from is None else {s.asset: s.keep for s in policy.top_up_from}
    if reserve is None or (kept is not None and asset not in kept):
        return None
    if allowed.market.age_ns(asset) > policy.guards.maximum_price_age_seconds * NS_PER_SECOND:
        return None
    more = Decimal(0) if kept is None else kept[asset] - reserve.keep
    return max(more, Decimal(0))


def _recentre(policy: LeverageBand, rows: list[Row], allowed: _Allowed) -> None:
    """Up and down: what other policies do at the same time may take it past its target."""
    if not rows:
        return
    if policy.repay:
        _lever(policy, -1, allowed)
        _lever_loans(policy, -1, allowed)
    if policy.boost and not allowed.permission.reduces_only:
        _lever(policy, 1, allowed)
        _lever_loans(policy, 1, allowed)


def _lever(policy: LeverageBand, sign: int, allowed: _Allowed) -> None:
    """By positions of margin accounts."""
    levers, permission, accounts = allowed.levers, allowed.permission, allowed.holdings.accounts
    if not policy.trade_instruments:
        positions = [
            (account, instrument)
            for account, instrument in allowed.positions(policy.account)
            if _price_is_fine(
                policy, instrument.underlying, _side(account, instrument, allowed) * sign, allowed
            )
        ]
        levers.scale(positions, sign, limits=permission.limits)
        return
    for name in policy.trade_instruments:
        instrument = allowed.market.instrument(name)
        account = trading_account(allowed.holdings, instrument, policy.account)
        if account is None or accounts[account].margin_mode is MarginMode.LENDING:
            continue
        side = _side(account, instrument, allowed)
        fine = _price_is_fine(policy, instrument.underlying, side * sign, allowed)
        if not fine or allowed.is_dear(instrument):
            continue
        if sign < 0:
            levers.reduce(account, instrument, limits=permission.limits)
        else:
            levers.increase(account, instrument, side, limits=permission.limits)


def _side(account: int, instrument: Instrument, allowed: _Allowed) -> int:
    """Of what is held, or would be: long 1, short -1."""
    held = allowed.holdings.accounts[account].position(instrument.instrument_id).quantity
    return -1 if held < 0 else 1


def _lever_loans(policy: LeverageBand, sign: int, allowed: _Allowed) -> None:
    """Debt repaid out of its collateral, or borrowed for more of it.

    Where instruments are named, but neither pools nor spot markets, loans are not what is to be traded.
    """
    named = [allowed.market.instrument(name) for name in policy.trade_instruments]
    spots = [instrument.id for instrument in named if instrument.kind is InstrumentKind.SPOT]
    pools = [instrument for instrument in named if instrument.kind is InstrumentKind.LENDING]
    if named and not spots and not pools:
        return
    for account in in_scope(allowed.holdings.accounts, policy.account):
        lender = allowed.holdings.accounts[account]
        if lender.margin_mode is not MarginMode.LENDING:
            continue
        held = (allowed.market.instrument(position.instrument) for position in lender.positions)
        there = {pool.id: pool for pool in (*held, *pools) if pool.venue == lender.venue}
        for swap in _swaps(account, there.values(), allowed):
            if not spots or swap[0].id in spots:
                _lever_loan(policy, sign, account, swap, allowed)


def _lever_loan(
    policy: LeverageBand,
    sign: int,
    account: int,
    swap: tuple[Instrument, Instrument, Instrument],
    allowed: _Allowed,
) -> None:
    """To repay is to buy what is owed, to boost is to sell it."""
    spot, collateral, debt = swap
    if not (
        _price_is_fine(policy, collateral.underlying, sign, allowed)
        and _price_is_fine(policy, debt.underlying, -sign, allowed)
    ):
        return
    loan, limits = LoanLevers(allowed.levers), allowed.permission.limits
    if sign < 0:
        loan.repay(account, spot, collateral, debt, limits=limits)
    else:
        loan.boost(account, spot, collateral, debt, limits=limits)


def _price_is_fine(policy: LeverageBand, underlying: str, side: int, allowed: _Allowed) -> bool:
    """Whether the user's limits let it be bought (1) or sold (-1) at this price."""
    limits = policy.maximum_buy_price if side > 0 else policy.minimum_sell_price
    limit = limits.get(underlying)
    if limit is None:
        return True
    price = allowed.market.value_of(Asset(underlying))
    return price <= float(limit) if side > 0 else price >= float(limit)


def _resize(policy: VolatilityTarget, allowed: _Allowed) -> None:
    if policy.trade_instruments:
        allowed.trade_all(policy.trade_instruments, policy.account)
        return
    on_it = [each for each in allowed.positions(policy.account) if each[1].underlying == policy.underlying]
    allowed.scale(on_it)


def _obey(policy: Rule, allowed: _Allowed) -> None:
    for action in policy.actions:
        match action:
            case Scale() | Close():
                allowed.size_all(action.account, action.underlying)
            case Hedge():
                allowed.trade_all(action.hedge_instruments, action.hedge_account)
            case SetLeverage(trade_instruments=()):
                allowed.scale(allowed.positions(action.account))
            case SetLeverage():
                allowed.trade_all(action.trade_instruments, action.account)
            case MoveCollateral():
                places = [place_of(allowed.holdings, name) for name in (action.source, action.destination)]
                allowed.levers.transfer(places[0], places[1], Asset(action.asset))
            case Notify() | SetState():
                continue
            case _:
                assert_never(action)


def _move_collateral(policy: CapitalEfficiency, allowed: _Allowed) -> None:
    """Time in transit costs what the capital would earn meanwhile."""
    ordinals = {account.name: at for at, account in enumerate(allowed.holdings.accounts)}
    for route in policy.routes:
        source, destination = (
            None if end == RESERVE else ordinals.get(end) for end in (route.source, route.destination)
        )
        if (source is None and route.source != RESERVE) or (
            destination is None and route.destination != RESERVE
        ):
            continue
        asset = Asset(route.asset)
        waits = float(policy.capital_rate_annual) * route.transit_minutes / _MINUTES_PER_YEAR
        allowed.levers.transfer(
            source,
            destination,
            asset,
            cost_rate=waits + float(route.cost_bps) * _BASIS_POINT,
            fee=route.fee,
            least=route.minimum_amount,
        )
