"""Amounts as the tables keep them.

Every amount that results is a multiple of 1e-18 below 1e20, which is what NUMERIC(38,18) stores, so that a
portfolio read back is the one that was written.
"""

from decimal import ROUND_HALF_EVEN, Context, Decimal

from app.domain.errors import InvalidInput
from app.domain.identifiers import Asset
from app.domain.portfolios import Account

ROOM = Context(prec=80)
"""Products of two stored figures are exact in it, quotients far finer than the step."""

_STEP = Decimal("1e-18")
_LIMIT = Decimal("1e20")


def stored(value: Decimal, rounding: str = ROUND_HALF_EVEN) -> Decimal:
    """`value` as it is kept; adding zero takes the sign off a negative zero."""
    if not abs(value) < _LIMIT:
        raise InvalidInput(f"{value} is beyond what can be stored")
    return value.quantize(_STEP, rounding) + 0


def credited(account: Account, asset: Asset, amount: Decimal, fee: Decimal = Decimal(0)) -> Account:
    change = stored(amount) - stored(fee)
    return account.credited(asset, change) if change else account
