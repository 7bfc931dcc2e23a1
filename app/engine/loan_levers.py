"""Levers on loans: what is paid into a pool, and collateral traded for debt, or debt for collateral, on spot.

With its sizes positive and its legs in order none of them leaves an account's wallet short: what is taken
out of the pool is traded, and what that brings goes back into it. Between the legs the wallet is as it was,
but for what a purchase leaves of the tick that was set aside for it.
"""

from decimal import Decimal
from math import ceil, inf

from msgspec import structs

from app.domain.adjustments import LendingAction, MissReason
from app.domain.identifiers import Asset
from app.domain.instruments import Instrument
from app.engine.contracts import traded_spot
from app.engine.levers import Levers
from app.engine.limits import UNLIMITED, Limits
from app.engine.moves import Lend, Lever, Move, Trade, Transfer
from app.engine.state import In


class LoanLevers:
    """Adds to the levers of a plan."""

    def __init__(self, levers: Levers) -> None:
        self._levers = levers
        self._state, self._market, self._holdings = levers.state, levers.market, levers.holdings

    def pay_in(
        self,
        source: int | None,
        account: int,
        pool: Instrument,
        *,
        keep: Decimal = Decimal(0),
        cost_rate: float = 0.0,
        fee: Decimal = Decimal(0),
        least: Decimal = Decimal(0),
    ) -> None:
        """A unit supplied, or repaid where it is owed: out of the account's own wallet, or sent there first.

        The rest as in `Levers.transfer`. What backs nothing is not supplied.
        """
        held, asset = self._held(account, pool), pool.settlement_asset
        if held >= 0.0 and not pool.liquidation_threshold:
            return
        available = self._levers.free(source, asset)
        value, effects = self._market.value_of(asset), dict[int, float]()
        self._lend(effects, account, pool, 1.0)
        if source is not None:
            self._levers.credit(effects, source, asset, -1.0, value)
        effects[self._state.resource(("free", source, asset), float(available))] = -1.0
        room = self._fills_up(effects, account, pool, 1.0)
        most = available - keep
        full = MissReason.POSITION_EXHAUSTED if held < 0.0 else MissReason.VENUE_LIMIT
        upper, limit = min((float(most), MissReason.RESERVE_EXHAUSTED), (room, full))
        moves: tuple[Move, ...] = (self._lent(account, pool, 1.0, reduces=True),)
        if source != account:
            moves = (self._transfer(source, account, asset, most, fee, least), *moves)
        self._levers.add(
            ("pay in", source, account, pool.id),
            Lever(moves, effects, upper, value * cost_rate, limit),
        )

    def repay(
        self,
        account: int,
        spot: Instrument,
        collateral: Instrument,
        debt: Instrument,
        *,
        limits: Limits = UNLIMITED,
        whole: bool = False,
    ) -> None:
        """Collateral withdrawn, traded for the debt's asset, and that repaid; per contract of the spot."""
        taken, put, sign = self._per_contract(spot, collateral)
        effects = self._swap(account, spot, (collateral, -taken), (debt, put))
        effects[self._levers.size(account, collateral)] = -taken
        effects[self._levers.size(account, debt)] = -put
        held, owed = self._held(account, collateral), -self._held(account, debt)
        notional = self._notional(spot)
        most = self._levers.bound(effects, account, spot, notional, limits)
        exhausted = min(held / taken, owed / put)
        upper, limit = min((exhausted, MissReason.POSITION_EXHAUSTED), (most, MissReason.TRADE_LIMIT))
        trade = Trade(account, spot.instrument_id, sign, closes=True, effects=effects)
        size, lot = 1.0, 0.0
        if whole:
            step = float(spot.lot_size)
            size, lot = ceil(owed / put / step) * step, 1.0
            effects = {at: effect * size for at, effect in effects.items()}
            upper = float(min(held / taken, most) >= size)
        moves = (
            self._lent(account, collateral, -taken * size, reduces=True),
            structs.replace(trade, contracts=sign * size),
            self._lent(account, debt, put * size, reduces=True),
        )
        cost = notional * self._market.cost_rate(spot) * size
        self._levers.add(
            ("repay", account, spot.id, collateral.id, debt.id, whole, limits.turnover),
            Lever(moves, effects, upper, cost, limit, lot=lot),
        )

    def boost(
        self,
        account: int,
        spot: Instrument,
        collateral: Instrument,
        debt: Instrument,
        *,
        limits: Limits = UNLIMITED,
    ) -> None:
        """Debt borrowed, traded for the collateral's asset, and that supplied; per contract of the spot.

        What backs nothing is not supplied. How much may be borrowed is for the account's initial margin.
        """
        held, owed = self._held(account, collateral), -self._held(account, debt)
        if held < 0.0 or owed < 0.0 or not collateral.liquidation_threshold:
            return
        taken, put, sign = self._per_contract(spot, debt)
        effects = self._swap(account, spot, (debt, -taken), (collateral, put))
        effects[self._levers.size(account, debt)] = taken
        notional, room = self._notional(spot), self._fills_up(effects, account, collateral, put)
        most = self._levers.bound(effects, account, spot, notional, limits)
        upper, limit = min((room / put, MissReason.VENUE_LIMIT), (most, MissReason.TRADE_LIMIT))
        moves = (
            self._lent(account, debt, -taken, reduces=False),
            Trade(account, spot.instrument_id, sign, closes=False, effects=effects),
            self._lent(account, collateral, put, reduces=False),
        )
        self._levers.add(
            ("boost", account, spot.id, collateral.id, debt.id, limits.turnover),
            Lever(moves, effects, upper, notional * self._market.cost_rate(spot), limit),
        )

    def _per_contract(self, spot: Instrument, given: Instrument) -> tuple[float, float, float]:
        """What one contract takes of the asset given and brings of the other; bought (1) or sold (-1).

        A wallet is asked for a tick more than a purchase may cost.
        """
        contract = float(spot.multiplier)
        sign = -1 if given.underlying == spot.underlying else 1
        cash = traded_spot(spot, self._market.unit(spot), sign)
        if sign < 0:
            return contract, cash, -1.0
        return self._tick(spot) - cash, contract, 1.0

    def _tick(self, spot: Instrument) -> float:
        return float(spot.tick_size * spot.multiplier * (1 + spot.taker_fee_rate))

    def _swap(
        self,
        account: int,
        spot: Instrument,
        out: tuple[Instrument, float],
        back: tuple[Instrument, float],
    ) -> dict[int, float]:
        effects = dict[int, float]()
        for pool, amount in (out, back):
            self._lend(effects, account, pool, amount)
        quote = spot.settlement_asset
        if out[0].settlement_asset == quote:
            self._levers.credit(effects, account, quote, self._tick(spot), self._market.value_of(quote))
        return effects

    def _lend(self, effects: dict[int, float], account: int, pool: Instrument, amount: float) -> None:
        """What so much more in the position does, on the side of the loan that it is on."""
        state, asset = self._state, pool.settlement_asset
        held, worth = self._held(account, pool), amount * self._market.value_of(asset)
        changes = {In.EQUITY: worth}
        if held > 0.0 or (held == 0.0 and amount > 0.0):
            threshold = float(pool.liquidation_threshold)
            changes[In.BACKING] = worth * threshold
            changes[In.INITIAL] = worth * (threshold - float(pool.loan_to_value))
        else:
            changes[In.INITIAL] = changes[In.MAINTENANCE] = -worth
        for figure, change in changes.items():
            at = state.within(figure, account)
            effects[at] = effects.get(at, 0.0) + change
        self._levers.expose(effects, account, asset, held, amount)

    def _fills_up(self, effects: dict[int, float], account: int, pool: Instrument, amount: float) -> float:
        """How much more can be repaid, or supplied; a unit of the lever uses `amount` of that room."""
        held = self._held(account, pool)
        if held:
            effects[self._levers.size(account, pool)] = amount if held > 0.0 else -amount
        if held < 0.0:
            return -held
        if pool.reserve_cap is None:
            return inf
        room = max(float(pool.reserve_cap) - held, 0.0)
        effects[self._state.resource(("room", account, pool.id), room)] = -amount
        return room

    def _lent(self, account: int, pool: Instrument, amount: float, *, reduces: bool) -> Lend:
        held = self._held(account, pool)
        owed = held < 0.0 or (held == 0.0 and amount < 0.0)
        into, out = (
            (LendingAction.REPAY, LendingAction.BORROW)
            if owed
            else (LendingAction.SUPPLY, LendingAction.WITHDRAW)
        )
        return Lend(account, pool.instrument_id, into if amount > 0.0 else out, abs(amount), reduces)

    def _transfer(
        self,
        source: int | None,
        destination: int | None,
        asset: Asset,
        most: Decimal,
        fee: Decimal,
        least: Decimal,
    ) -> Transfer:
        ids = [None if end is None else self._holdings.accounts[end].id for end in (source, destination)]
        return Transfer(ids[0], ids[1], asset, most, fee, least)

    def _position(self, account: int, pool: Instrument) -> Decimal:
        return self._holdings.accounts[account].position(pool.instrument_id).quantity

    def _held(self, account: int, pool: Instrument) -> float:
        return float(self._position(account, pool))

    def _notional(self, spot: Instrument) -> float:
        return self._market.unit(spot).notional * self._market.value_of(Asset(spot.quote))
