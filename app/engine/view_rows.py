"""The columns of a book: what its views are made of. Accounts and exposures are numbered within a view."""

from typing import NamedTuple

from app.engine.conditions import Programme
from app.quant.arrays import BoolArray, FloatArray, IntArray


class ViewColumns(NamedTuple):
    """Whose a view is, where its rows begin and end in every table, when the clock may change them, and
    whether an account of it is margined as a whole. `stored` numbers what it was loaded from, if it was.
    """

    slot: IntArray
    stored: IntArray
    account: IntArray
    account_stop: IntArray
    position: IntArray
    position_stop: IntArray
    balance: IntArray
    balance_stop: IntArray
    exposure: IntArray
    exposure_stop: IntArray
    trigger: IntArray
    trigger_stop: IntArray
    condition: IntArray
    condition_stop: IntArray
    register: IntArray
    register_stop: IntArray
    mark: IntArray
    mark_stop: IntArray
    watch: IntArray
    watch_stop: IntArray
    options: IntArray
    due_ns: IntArray
    alarm_ns: IntArray
    asks_distance: BoolArray
    asks_spread: BoolArray
    portfolio_margin: BoolArray
    live: BoolArray


OF_EVERY_LOOK = (
    "account", "account_stop", "position", "position_stop", "balance", "balance_stop",
    "exposure", "exposure_stop", "trigger", "trigger_stop", "condition", "condition_stop",
    "watch", "watch_stop", "register", "due_ns",
)  # fmt: skip
"""Of a view: what is read when it is looked at, two lines of memory."""
OF_SOME_LOOKS = ("slot", "options", "alarm_ns", "asks_distance", "portfolio_margin", "live")
"""What is asked besides of those who wake, or fall asleep."""


class AccountColumns(NamedTuple):
    """`liquidates`: Ballast itself closes it below maintenance, a paper account that really stands so.

    `lends`: what backs it is its collateral in a pool, not its equity. `portfolio_margin`: it is margined as
    a whole, in scenarios. From `calm_from` on and below `calm_below` its margin ratio is not told (see
    `margin_levels`); any is so of what does not really stand.
    """

    calm_from: FloatArray
    calm_below: FloatArray
    liquidates: BoolArray
    lends: BoolArray
    portfolio_margin: BoolArray


class PositionColumns(NamedTuple):
    """Rates are of the notional: what it needs, initially and to be maintained, and what it backs.

    What is lent is priced at 1 in its own asset; `exposure` is `NONE` where that is cash. `accrued_ns` is
    `NEVER_NS` where the clock is not Ballast's business: elsewhere the venue does it, and at no rate nobody.
    """

    instrument: IntArray
    account: IntArray
    exposure: IntArray
    underlying_value: IntArray
    settlement_value: IntArray
    quantity: FloatArray
    entry_price: FloatArray
    price_row: IntArray
    initial_rate: FloatArray
    maintenance_rate: FloatArray
    backing_rate: FloatArray
    accrued_ns: IntArray


OF_EVERY_POSITION = (
    "instrument", "account", "exposure", "underlying_value", "settlement_value", "quantity", "entry_price",
)  # fmt: skip
"""What is read of every position: not what only loans have, nor what the clock asks."""
OF_SOME_POSITIONS = ("price_row", "initial_rate", "maintenance_rate", "backing_rate", "accrued_ns")
"""What is read besides to find how long a view may sleep."""


class BalanceColumns(NamedTuple):
    """`exposure` is `NONE` for cash."""

    account: IntArray
    exposure: IntArray
    asset_value: IntArray
    amount: FloatArray
    haircut: FloatArray


class ExposureColumns(NamedTuple):
    """`asset` is its number in the universe."""

    underlying_value: IntArray
    asset: IntArray


class MarkColumns(NamedTuple):
    """Rows of the prices that the instruments of policies are marked by."""

    row: IntArray


class Remembering(NamedTuple):
    """A policy whose condition remembers, and where its rows and registers begin within the view's."""

    policy: int
    programme: Programme
    condition: int
    register: int
