"""The compiled loop that lays views out: from what portfolios hold to the rows of a book.

Accounts and exposures are numbered within the view: underlyings that are asked for, then in stored order what
accounts hold, then what policies name. A conversion that nobody has asked for yet has no number: the loop
says which, and is run again once they have.
"""

from typing import NamedTuple

import numpy as np

from app.engine.conditions import FIRST_EXPOSURE_OPCODE, ConditionColumns, Opcode
from app.engine.holding_rows import HoldingRows
from app.engine.policy_rows import TRIGGER_FIELDS, PolicyTables
from app.engine.tables import Tables
from app.engine.trigger_rows import NONE, TriggerColumns
from app.engine.universe import NEVER_NS, NO_COLUMN, Listing, Numbering, Terms
from app.engine.view_rows import ExposureColumns, ViewColumns
from app.quant.arrays import FloatArray, IntArray
from app.quant.compiled import compiled_in_place, inlined_in_place

_ASSET, _ACCOUNT, _KIND = (TRIGGER_FIELDS.index(name) for name in ("asset", "account", "kind"))
_TARGET, _LOW, _HIGH = (TRIGGER_FIELDS.index(name) for name in ("target", "low", "high"))
_PARAMETERS, _REGISTER = (TRIGGER_FIELDS.index(name) for name in ("parameters", "register"))
_CONDITION, _CONDITION_STOP = (TRIGGER_FIELDS.index(name) for name in ("condition", "condition_stop"))
_LAST_EXPOSURE_OPCODE = int(Opcode.THETA)


class Listed(NamedTuple):
    """Of the universe. `one_row` is the price of what is lent, in its own asset."""

    terms: Terms
    listing: Listing
    numbering: Numbering
    one_row: int


class Laid(NamedTuple):
    """The first free rows of tables whose numbers of rows follow from nothing that is known before, or are
    counted within a view. `missing` conversions, (asset, currency), are as many as fit of those there are.
    """

    exposure: IntArray
    trigger: IntArray
    parameter: IntArray
    condition: IntArray
    register: IntArray
    mark: IntArray
    lacking: IntArray
    missing: IntArray


class _Whose(NamedTuple):
    """A view, the first of its exposures, and what its holdings are valued in."""

    number: int
    exposure: int
    currency: int
    on_paper: bool


@compiled_in_place
def lay_out(
    rows: HoldingRows,
    first_view: int,
    first_account: int,
    first_position: int,
    first_balance: int,
    listed: Listed,
    tables: Tables,
    marks: IntArray,
    laid: Laid,
) -> None:
    """Fills the rows of all views from the first ones on, but for slots and watches."""
    portfolios, views = rows.portfolios, tables.views
    for i in range(portfolios.currency.size):
        view, currency = first_view + i, portfolios.currency[i]
        begin, end, exposure = portfolios.account_start[i], portfolios.account_start[i + 1], laid.exposure[0]
        _begin(view, laid, tables)
        views.account[view], views.account_stop[view] = first_account + begin, first_account + end
        views.position[view] = first_position + rows.accounts.position_start[begin]
        views.position_stop[view] = first_position + rows.accounts.position_start[end]
        views.balance[view] = first_balance + rows.accounts.balance_start[begin]
        views.balance_stop[view] = first_balance + rows.accounts.balance_start[end]
        for row in range(portfolios.underlyings_start[i], portfolios.underlyings_start[i + 1]):
            _exposure(
                rows.underlyings[row],
                _Whose(view, exposure, currency, False),
                listed.numbering,
                tables.exposures,
                laid,
            )
        for account in range(begin, end):
            at, paper = first_account + account, portfolios.stands[i] and rows.accounts.paper[account]
            whose, ordinal = _Whose(view, exposure, currency, paper), account - begin
            tables.accounts.liquidates[at], tables.accounts.lends[at] = paper, rows.accounts.lends[account]
            tables.accounts.calm_from[at], tables.accounts.calm_below[at] = -np.inf, np.inf
            whole = rows.accounts.portfolio_margin[account]
            tables.accounts.portfolio_margin[at] = whole
            views.portfolio_margin[view] |= whole
            for row in range(
                rows.accounts.position_start[account], rows.accounts.position_start[account + 1]
            ):
                _add_position(row, first_position + row, ordinal, whose, rows, listed, tables, laid)
            for row in range(rows.accounts.balance_start[account], rows.accounts.balance_start[account + 1]):
                _add_balance(row, first_balance + row, ordinal, whose, rows, listed, tables, laid)
        for row in range(portfolios.policy_start[i], portfolios.policy_start[i + 1]):
            policy, whose = row - portfolios.policy_start[i], _Whose(view, exposure, currency, False)
            _add_policy(rows.policies[row], policy, whose, rows, listed, tables, marks, laid)
        _end(view, laid, tables)


@inlined_in_place
def _begin(view: int, laid: Laid, tables: Tables) -> None:
    views = tables.views
    views.exposure[view], views.trigger[view] = laid.exposure[0], laid.trigger[0]
    views.condition[view], views.register[view] = laid.condition[0], laid.register[0]
    views.mark[view] = laid.mark[0]
    views.watch[view] = views.watch_stop[view] = views.options[view] = 0
    views.due_ns[view] = views.alarm_ns[view] = NEVER_NS
    views.asks_distance[view] = views.asks_spread[view] = views.portfolio_margin[view] = False
    views.live[view] = True


@inlined_in_place
def _end(view: int, laid: Laid, tables: Tables) -> None:
    views = tables.views
    views.exposure_stop[view] = laid.exposure[0]
    views.trigger_stop[view], views.condition_stop[view] = laid.trigger[0], laid.condition[0]
    views.register_stop[view], views.mark_stop[view] = laid.register[0], laid.mark[0]


@inlined_in_place
def _add_position(
    row: int,
    at: int,
    account: int,
    whose: _Whose,
    rows: HoldingRows,
    listed: Listed,
    tables: Tables,
    laid: Laid,
) -> None:
    held, positions, views = rows.positions, tables.positions, tables.views
    instrument, quantity = held.instrument[row], held.quantity[row]
    lent, underlying = listed.listing.lent[instrument], listed.listing.underlying[instrument]
    accrues = (
        listed.listing.supply_accrues[instrument] if quantity > 0 else listed.listing.debt_accrues[instrument]
    )
    positions.instrument[at], positions.account[at] = instrument, account
    positions.quantity[at], positions.entry_price[at] = quantity, held.entry_price[row]
    positions.exposure[at] = NONE
    if not lent or _is_exposed(underlying, whose.currency, listed.numbering):
        positions.exposure[at] = _exposure(underlying, whose, listed.numbering, tables.exposures, laid)
    positions.underlying_value[at] = _conversion(
        underlying, whose.currency, listed.numbering, laid.lacking, laid.missing
    )
    settlement = listed.listing.settlement[instrument]
    positions.settlement_value[at] = _conversion(
        settlement, whose.currency, listed.numbering, laid.lacking, laid.missing
    )
    positions.price_row[at] = listed.one_row if lent else listed.terms.price_row[instrument]
    positions.initial_rate[at] = listed.terms.initial_rate[instrument]
    positions.maintenance_rate[at] = listed.terms.maintenance_rate[instrument]
    positions.backing_rate[at] = 0.0
    if lent:
        _rate_loan(at, instrument, quantity, listed, tables)
    views.options[whose.number] += listed.terms.option[instrument]
    positions.accrued_ns[at] = NEVER_NS
    if whose.on_paper and (not lent or accrues):
        accrued_ns, interval_ns = held.accrued_ns[row], listed.terms.accrual_interval_ns[instrument]
        due_ns = listed.terms.expiry_ns[instrument]
        if interval_ns > 0:
            due_ns = (accrued_ns // interval_ns + 1) * interval_ns
        positions.accrued_ns[at] = accrued_ns
        views.due_ns[whose.number] = min(views.due_ns[whose.number], due_ns)


@inlined_in_place
def _rate_loan(at: int, instrument: int, quantity: float, listed: Listed, tables: Tables) -> None:
    """A debt is what is to be maintained. Initially collateral needs threshold less loan-to-value of itself:
    that is within the backing as long as the pool would lend as much, debt <= Σ collateral x loan-to-value.
    """
    positions, threshold = tables.positions, listed.listing.threshold[instrument]
    owed = quantity < 0.0
    positions.initial_rate[at] = 1.0 if owed else threshold - listed.listing.loan_to_value[instrument]
    positions.maintenance_rate[at] = 1.0 if owed else 0.0
    positions.backing_rate[at] = 0.0 if owed else threshold


@inlined_in_place
def _add_balance(
    row: int,
    at: int,
    account: int,
    whose: _Whose,
    rows: HoldingRows,
    listed: Listed,
    tables: Tables,
    laid: Laid,
) -> None:
    balances, asset = tables.balances, rows.balances.asset[row]
    balances.account[at], balances.exposure[at] = account, NONE
    balances.amount[at], balances.haircut[at] = rows.balances.amount[row], rows.balances.haircut[row]
    if _is_exposed(asset, whose.currency, listed.numbering):
        balances.exposure[at] = _exposure(asset, whose, listed.numbering, tables.exposures, laid)
    balances.asset_value[at] = _conversion(
        asset, whose.currency, listed.numbering, laid.lacking, laid.missing
    )


@inlined_in_place
def _add_policy(
    policy: int,
    ordinal: int,
    whose: _Whose,
    rows: HoldingRows,
    listed: Listed,
    tables: Tables,
    marks: IntArray,
    laid: Laid,
) -> None:
    """A trigger's exposure is numbered before those that its conditions name."""
    given: PolicyTables = rows.tables
    views: ViewColumns = tables.views
    condition = laid.condition[0] - views.condition[whose.number]
    register = laid.register[0] - views.register[whose.number]
    done = given.condition_start[policy]
    for row in range(given.trigger_start[policy], given.trigger_start[policy + 1]):
        triggers: TriggerColumns = tables.triggers
        at, asset = laid.trigger[0], int(given.triggers[row, _ASSET])
        triggers.policy[at], triggers.kind[at] = ordinal, int(given.triggers[row, _KIND])
        triggers.exposure[at] = NONE
        if asset != NONE:
            triggers.exposure[at] = _exposure(asset, whose, listed.numbering, tables.exposures, laid)
        triggers.account[at], triggers.target[at] = (
            int(given.triggers[row, _ACCOUNT]),
            given.triggers[row, _TARGET],
        )
        triggers.low[at], triggers.high[at] = given.triggers[row, _LOW], given.triggers[row, _HIGH]
        triggers.parameters[at] = laid.parameter[0] + int(given.triggers[row, _PARAMETERS])
        stop = int(given.triggers[row, _CONDITION_STOP])
        triggers.condition[at] = condition + int(given.triggers[row, _CONDITION])
        triggers.condition_stop[at] = condition + stop
        triggers.register[at] = register + int(given.triggers[row, _REGISTER])
        for each in range(done, given.condition_start[policy] + stop):
            _add_condition(
                each, whose, given.conditions, listed.numbering, tables.exposures, tables.conditions, laid
            )
        done = max(done, given.condition_start[policy] + stop)
        laid.trigger[0] += 1
    for row in range(given.parameter_start[policy], given.parameter_start[policy + 1]):
        tables.parameters.value[laid.parameter[0]] = given.parameters[row]
        laid.parameter[0] += 1
    for row in range(given.mark_start[policy], given.mark_start[policy + 1]):
        marks[laid.mark[0]] = given.marks[row]
        laid.mark[0] += 1
    for _ in range(given.registers[policy]):
        tables.registers.value[laid.register[0]] = 0.0
        laid.register[0] += 1
    views.asks_distance[whose.number] |= given.asks_distance[policy]
    views.asks_spread[whose.number] |= given.asks_spread[policy]


@inlined_in_place
def _add_condition(
    row: int,
    whose: _Whose,
    given: FloatArray,
    numbering: Numbering,
    exposures: ExposureColumns,
    conditions: ConditionColumns,
    laid: Laid,
) -> None:
    at = laid.condition[0]
    opcode, subject = int(given[row, 0]), int(given[row, 3])
    if FIRST_EXPOSURE_OPCODE <= opcode <= _LAST_EXPOSURE_OPCODE:
        subject = _exposure(subject, whose, numbering, exposures, laid)
    conditions.opcode[at], conditions.subject[at] = opcode, subject
    conditions.left[at], conditions.right[at] = int(given[row, 1]), int(given[row, 2])
    conditions.constant[at] = given[row, 4]
    laid.condition[0] += 1


@inlined_in_place
def _is_exposed(asset: int, currency: int, numbering: Numbering) -> bool:
    exposed: bool = numbering.exposed[asset] and asset != currency
    return exposed


@inlined_in_place
def _exposure(asset: int, whose: _Whose, numbering: Numbering, exposures: ExposureColumns, laid: Laid) -> int:
    """Its number within the view, whose exposures are the last ones."""
    found: int = 0
    while whose.exposure + found < laid.exposure[0] and exposures.asset[whose.exposure + found] != asset:
        found += 1
    if whose.exposure + found == laid.exposure[0]:
        exposures.asset[laid.exposure[0]] = asset
        worth = _conversion(asset, whose.currency, numbering, laid.lacking, laid.missing)
        exposures.underlying_value[laid.exposure[0]] = worth
        laid.exposure[0] += 1
    return found


@inlined_in_place
def _conversion(asset: int, currency: int, numbering: Numbering, lacking: IntArray, missing: IntArray) -> int:
    column, found = numbering.currency[currency], NO_COLUMN
    if column != NO_COLUMN:
        found = numbering.conversion[asset, column]
    if found == NO_COLUMN:
        if lacking[0] < missing.shape[1]:
            missing[0, lacking[0]], missing[1, lacking[0]] = asset, currency
        lacking[0] += 1
    number: int = found
    return number
