"""What a plan can move, and what a unit of it does to the figures of the portfolio.

A lever has a size from 0 to its upper limit. Trades are split into closing what is held, which frees margin,
and opening beyond it, which takes margin: each is a straight line. Sizes are in whole contracts or units of
an asset; a lever over several positions is a fraction of them.
"""

from collections.abc import Hashable, Iterable
from decimal import Decimal
from math import inf, isfinite

from app.domain.adjustments import MissReason
from app.domain.families.capital_efficiency import RESERVE
from app.domain.identifiers import Asset, InstrumentId
from app.domain.instruments import Instrument, InstrumentKind
from app.domain.portfolios import MarginMode, Portfolio
from app.engine.contracts import closed, opened, traded_spot
from app.engine.limits import UNLIMITED, Limits, Turnover
from app.engine.moves import Lever, Move, Trade, Transfer
from app.engine.state import In, Of, State
from app.engine.valuation import Market


def size_of(state: State, holdings: Portfolio, account: int, instrument: InstrumentId) -> int:
    """Where the size of a position stands, in contracts of the side that is held."""
    held = holdings.accounts[account].position(instrument).quantity
    return state.resource(("position", account, instrument), abs(float(held)))


def place_of(holdings: Portfolio, name: str) -> int | None:
    """The ordinal of an account, None for the reserve."""
    if name == RESERVE:
        return None
    return next(at for at, account in enumerate(holdings.accounts) if account.name == name)


def moved_at(state: State, source: int | None, destination: int | None, asset: Asset) -> int:
    """Where the amount that is moved from one place to another stands."""
    return state.resource(("moved", source, destination, asset), 0.0)


class Levers:
    """Collected policy by policy; asked for twice, a lever is there once, with the wider limit.

    Who has a turnover has levers of its own: what one may not trade any more, another may.
    """

    def __init__(
        self, state: State, market: Market, holdings: Portfolio, underlyings: tuple[Asset, ...]
    ) -> None:
        self.state = state
        self.market = market
        self.holdings = holdings
        self._exposures = {underlying: at for at, underlying in enumerate(underlyings)}
        self._found: dict[Hashable, Lever] = {}

    @property
    def all(self) -> list[Lever]:
        return list(self._found.values())

    def trade_both_ways(self, account: int, instrument: Instrument, *, limits: Limits = UNLIMITED) -> None:
        """Bought and sold: what is held against it is closed first, for that frees margin."""
        for sign in (1, -1):
            self.reduce(account, instrument, sign, limits=limits)
            self.increase(account, instrument, sign, limits=limits)

    def reduce(
        self,
        account: int,
        instrument: Instrument,
        sign: int | None = None,
        *,
        limits: Limits = UNLIMITED,
        whole: bool = False,
    ) -> None:
        """Trades against the position that is held."""
        held = float(self.holdings.accounts[account].position(instrument.instrument_id).quantity)
        against = -1 if held > 0.0 else 1
        if held == 0.0 or sign not in (None, against) or instrument.kind is InstrumentKind.SPOT:
            return
        effects, cost, notional = self._trade_effects(account, instrument, against, opens=-1)
        effects[self.size(account, instrument)] = -1.0
        most = self.bound(effects, account, instrument, notional, limits)
        size, lot = abs(held), 0.0
        upper, limit = min((size, MissReason.POSITION_EXHAUSTED), (most, MissReason.TRADE_LIMIT))
        per_unit = 1.0
        if whole:
            per_unit, upper, lot = size, float(upper >= size), 1.0
        move = Trade(account, instrument.instrument_id, against * per_unit, closes=True, effects=effects)
        effects = {at: effect * per_unit for at, effect in effects.items()}
        self.add(
            ("close", account, instrument.id, whole, limits.turnover),
            Lever((move,), effects, upper, cost * per_unit, limit, lot=lot),
        )

    def increase(
        self, account: int, instrument: Instrument, sign: int, *, limits: Limits = UNLIMITED
    ) -> None:
        """Trades away from zero; spot is bought with what there is of the quote, and sold as far as held."""
        if instrument.kind is InstrumentKind.SPOT:
            self._trade_spot(account, instrument, sign, limits)
            return
        self._open(account, instrument, sign, limits, on_credit=False)
        if instrument.kind is InstrumentKind.OPTION and sign > 0 and self._haircut(account, instrument):
            self._open(account, instrument, sign, limits, on_credit=True)

    def _open(
        self, account: int, instrument: Instrument, sign: int, limits: Limits, *, on_credit: bool
    ) -> None:
        """A premium comes out of a balance that counts with a haircut, and beyond it `on_credit`."""
        effects, cost, notional = self._trade_effects(account, instrument, sign, opens=1, on_credit=on_credit)
        held = self.holdings.accounts[account].position(instrument.instrument_id).quantity
        if held * sign > 0:
            effects[self.size(account, instrument)] = 1.0
        upper = self.bound(effects, account, instrument, notional, limits)
        if instrument.kind is InstrumentKind.OPTION and sign > 0 and not on_credit:
            upper = min(upper, self._paid_of_balance(effects, account, instrument))
        move = Trade(account, instrument.instrument_id, float(sign), closes=False, effects=effects)
        self.add(
            ("open", account, instrument.id, sign, on_credit, limits.turnover),
            Lever((move,), effects, upper, cost, MissReason.TRADE_LIMIT),
        )

    def _haircut(self, account: int, instrument: Instrument) -> Decimal:
        """Of what there is of the asset that it is paid in."""
        asset = instrument.settlement_asset
        balance = self.holdings.accounts[account].held(asset)
        return balance.haircut if balance and balance.amount > 0 else Decimal(0)

    def _paid_of_balance(self, effects: dict[int, float], account: int, instrument: Instrument) -> float:
        """How many contracts can be."""
        if not self._haircut(account, instrument):
            return inf
        asset = instrument.settlement_asset
        held, paid = (
            float(self.free(account, asset)),
            -opened(instrument, self.market.unit(instrument), 1).cash,
        )
        effects[self.state.resource(("balance", account, asset), held)] = -paid
        return held / paid

    def bound(
        self,
        effects: dict[int, float],
        account: int,
        instrument: Instrument,
        notional: float,
        limits: Limits,
    ) -> float:
        """How many contracts may be traded; closing and opening are one trade."""
        contracts = limits.most / notional
        if isfinite(contracts):
            effects[self.state.resource(("traded", account, instrument.id), contracts)] = -1.0
        return min(contracts, self._charge(effects, instrument, limits.turnover))

    def _charge(self, effects: dict[int, float], instrument: Instrument, turnover: Turnover | None) -> float:
        """How many contracts the turnover is enough for, each counted as it will be once it is traded."""
        if turnover is None:
            return inf
        counted = self.market.notional(instrument, Decimal(1))
        effects[self.state.resource(("turnover", turnover.policy), turnover.left)] = -counted
        return turnover.left / counted if counted > 0.0 else inf

    def transfer(
        self,
        source: int | None,
        destination: int | None,
        asset: Asset,
        *,
        keep: Decimal = Decimal(0),
        cost_rate: float = 0.0,
        fee: Decimal = Decimal(0),
        least: Decimal = Decimal(0),
    ) -> None:
        """Moves collateral; None is the reserve. `keep` stays there, besides what the reserve keeps anyhow.

        `cost_rate`: what moving a unit of value costs.
        """
        value = self.market.value_of(asset)
        held = self.free(source, asset)
        most = held - keep
        if not value > 0.0 or most <= 0:
            return
        state, effects = self.state, dict[int, float]()
        for end, sign in ((source, -1.0), (destination, 1.0)):
            if end is not None:
                self.credit(effects, end, asset, sign, value)
        effects[state.resource(("free", source, asset), float(held))] = -1.0
        effects[moved_at(state, source, destination, asset)] = 1.0
        ids = [None if end is None else self.holdings.accounts[end].id for end in (source, destination)]
        self.add(
            ("transfer", source, destination, asset),
            Lever(
                (Transfer(ids[0], ids[1], asset, most, fee, least),),
                effects,
                float(most),
                value * cost_rate,
                MissReason.RESERVE_EXHAUSTED,
            ),
        )

    def scale(
        self, positions: Iterable[tuple[int, Instrument]], sign: int, *, limits: Limits = UNLIMITED
    ) -> None:
        """All these positions alike: `sign` -1 shrinks them, 1 lets them grow. A unit is all that is held."""
        moves, effects, cost, turned = list[Move](), dict[int, float](), 0.0, 0.0
        key: list[Hashable] = []
        share = 1.0 if sign < 0 else inf
        for account, instrument in positions:
            held = float(self.holdings.accounts[account].position(instrument.instrument_id).quantity)
            if held == 0.0:
                continue
            side = sign if held > 0.0 else -sign
            found, unit_cost, notional = self._trade_effects(account, instrument, side, opens=sign)
            found[self.size(account, instrument)] = float(sign)
            turned += abs(held) / self._charge(found, instrument, limits.turnover)
            for at, effect in found.items():
                effects[at] = effects.get(at, 0.0) + effect * abs(held)
            cost += unit_cost * abs(held)
            share = min(share, limits.most / (notional * abs(held)))
            moves.append(
                Trade(account, instrument.instrument_id, side * abs(held), closes=sign < 0, effects=found)
            )
            key.append((account, instrument.id))
        if moves:
            share = min(share, 1.0 / turned) if turned > 0.0 else share
            limit = MissReason.TRADE_LIMIT if share < 1.0 else MissReason.POSITION_EXHAUSTED
            self.add(
                ("scale", sign, limits.turnover, *key),
                Lever(tuple(moves), effects, share, cost, limit),
            )

    def _trade_effects(
        self, account: int, instrument: Instrument, sign: int, *, opens: int, on_credit: bool = False
    ) -> tuple[dict[int, float], float, float]:
        """Of one contract bought or sold: what it does, what it costs, and its notional, in value.

        `opens` is 1 where the position grows and -1 where it shrinks.
        """
        state, market = self.state, self.market
        unit = market.unit(instrument)
        value = market.value_of(instrument.settlement_asset)
        underlying = Asset(instrument.underlying)
        underlying_value = market.value_of(underlying)
        if opens > 0:
            filled = opened(instrument, unit, sign)
        else:
            held = self.holdings.accounts[account].position(instrument.instrument_id)
            filled = closed(instrument, unit, sign, float(held.entry_price))
        stays_long = (sign > 0) == (opens > 0)
        required = underlying_value if instrument.kind is InstrumentKind.OPTION else value
        initial, maintenance = (
            (unit.initial_long, unit.maintenance_long)
            if stays_long
            else (unit.initial_short, unit.maintenance_short)
        )
        net = filled.delta * underlying_value
        gross = opens * abs(net)
        at = state.all_within(account)
        effects = {
            at[In.EQUITY]: filled.worth * value,
            at[In.BACKING]: filled.worth * value,
            at[In.INITIAL]: opens * initial * required,
            at[In.MAINTENANCE]: opens * maintenance * required,
            at[In.NET]: net,
            at[In.GROSS]: gross,
        }
        exposure = self._exposures.get(underlying)
        if exposure is not None:
            effects |= {
                state.of(Of.DELTA, exposure): filled.delta,
                state.of(Of.GROSS, exposure): gross,
                state.of(Of.DOLLAR_GAMMA, exposure): sign * unit.gamma_per_percent * underlying_value,
                state.of(Of.DOLLAR_VEGA, exposure): sign * unit.vega_per_point * underlying_value,
            }
        asset = instrument.settlement_asset
        self.credit(effects, account, asset, filled.cash, value, on_credit=on_credit)
        notional = unit.notional * value
        return effects, notional * market.cost_rate(instrument), max(notional, abs(net))

    def _trade_spot(self, account: int, instrument: Instrument, sign: int, limits: Limits) -> None:
        """The base against the quote, as far as what is given is there."""
        market = self.market
        unit, quote = market.unit(instrument), instrument.settlement_asset
        base, per_contract = Asset(instrument.underlying), float(instrument.multiplier)
        cash, notional = traded_spot(instrument, unit, sign), unit.notional * market.value_of(quote)
        effects = dict[int, float]()
        self.credit(effects, account, base, sign * per_contract, market.value_of(base))
        self.credit(effects, account, quote, cash, market.value_of(quote))
        given, amount = (base, per_contract) if sign < 0 else (quote, -cash)
        held = float(self.free(account, given))
        if held > 0.0:
            effects[self.state.resource(("free", account, given), held)] = -amount
            most = min(limits.most / notional, self._charge(effects, instrument, limits.turnover))
            upper, limit = min((held / amount, MissReason.POSITION_EXHAUSTED), (most, MissReason.TRADE_LIMIT))
            move = Trade(account, instrument.instrument_id, float(sign), closes=False, effects=effects)
            cost = notional * market.cost_rate(instrument)
            key = ("spot", account, instrument.id, sign, limits.turnover)
            self.add(key, Lever((move,), effects, upper, cost, limit))

    def credit(
        self,
        effects: dict[int, float],
        account: int,
        asset: Asset,
        amount: float,
        value: float,
        *,
        on_credit: bool = False,
    ) -> None:
        """What more (or less) of an asset in the account's balance does; `on_credit`, once it is used up."""
        holder, at = self.holdings.accounts[account], self.state.all_within(account)
        balance = holder.held(asset)
        held = float(balance.amount) if balance and not on_credit else 0.0
        counted = 1.0 - float(balance.haircut) if balance and (held or amount) > 0.0 else 1.0
        worth = amount * value * counted
        effects[at[In.EQUITY]] = effects.get(at[In.EQUITY], 0.0) + worth
        if holder.margin_mode is not MarginMode.LENDING:
            effects[at[In.BACKING]] = effects.get(at[In.BACKING], 0.0) + worth
        self.expose(effects, account, asset, held, amount)

    def expose(
        self, effects: dict[int, float], account: int, asset: Asset, held: float, amount: float
    ) -> None:
        """What `amount` more of an asset beside what is held does to exposures; nothing where it is cash."""
        state = self.state
        if asset not in self.market.block.universe.exposures or asset == self.holdings.valuation_currency:
            return
        net = amount * self.market.value_of(asset)
        gross = net if held > 0.0 or (held == 0.0 and amount > 0.0) else -net
        changes = {state.within(In.NET, account): net, state.within(In.GROSS, account): gross}
        exposure = self._exposures.get(asset)
        if exposure is not None:
            changes |= {state.of(Of.DELTA, exposure): amount, state.of(Of.GROSS, exposure): gross}
        for at, change in changes.items():
            effects[at] = effects.get(at, 0.0) + change

    def size(self, account: int, instrument: Instrument) -> int:
        return size_of(self.state, self.holdings, account, instrument.instrument_id)

    def free(self, place: int | None, asset: Asset) -> Decimal:
        """What the reserve (None) or an account has to give."""
        if place is None:
            return next((r.available for r in self.holdings.reserves if r.asset == asset), Decimal(0))
        return max(self.holdings.accounts[place].balance(asset), Decimal(0))

    def add(self, key: Hashable, lever: Lever) -> None:
        usable = lever.upper > 0.0 and all(map(isfinite, lever.effects.values()))
        known = self._found.get(key)
        if usable and isfinite(lever.cost) and (known is None or known.upper < lever.upper):
            self._found[key] = lever
