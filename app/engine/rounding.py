"""The one file where floats of the columns and Decimals of the domain meet.

Out of floats: quantities are floored or raised to whole lots in Decimal, amounts to eight decimals, metrics
are printed to twelve significant digits. Into floats: nearest representable, by `float()`.
"""

from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_EVEN, ROUND_UP, Decimal
from math import isfinite, isnan

from app.domain.values import decimal_text

_AMOUNT_STEP = Decimal("0.00000001")
_LARGEST_AMOUNT = 9e19  # what is more cannot be stored


def lots(quantity: float, lot_size: Decimal, *, away_from_zero: bool) -> Decimal:
    """A whole number of lots as a quantity: toward zero, or away from it."""
    rounding = ROUND_UP if away_from_zero else ROUND_DOWN
    return (Decimal(quantity) / lot_size).to_integral_value(rounding) * lot_size


def amount_up(amount: float) -> Decimal:
    return Decimal(min(amount, _LARGEST_AMOUNT)).quantize(_AMOUNT_STEP, ROUND_CEILING)


def amount_down(amount: Decimal) -> Decimal:
    return amount.quantize(_AMOUNT_STEP, ROUND_FLOOR)


def nearest_amount(amount: float) -> Decimal:
    return Decimal(min(amount, _LARGEST_AMOUNT)).quantize(_AMOUNT_STEP, ROUND_HALF_EVEN)


def price(value: float) -> Decimal:
    """The shortest decimal that reads back as the same float: what the market printed."""
    return Decimal(repr(value))


def metric_text(value: float) -> str:
    if isnan(value):
        return "unknown"
    if not isfinite(value):
        return "unbounded"
    text = f"{value:.12g}"
    return decimal_text(Decimal(text)) if "e" in text or text == "-0" else text
