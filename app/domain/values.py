"""Money, Price and Quantity: Decimals that know what they are.

Two currencies never add; a price times a price does not exist. Floats appear only in `quant` and in the
engine's columns; `engine/rounding.py` is the one place where they meet these types again.
"""

from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_UP, Decimal

from app.domain.errors import InvalidInput
from app.domain.identifiers import Asset


def _finite(value: Decimal, what: str) -> None:
    if not value.is_finite():
        raise InvalidInput(f"{what} must be a finite number, not {value}")


@dataclass(frozen=True, slots=True)
class Money:
    amount: Decimal
    currency: Asset

    def __post_init__(self) -> None:
        _finite(self.amount, "an amount")

    def __add__(self, other: "Money") -> "Money":
        self._same(other)
        return Money(self.amount + other.amount, self.currency)

    def __sub__(self, other: "Money") -> "Money":
        self._same(other)
        return Money(self.amount - other.amount, self.currency)

    def __neg__(self) -> "Money":
        return Money(-self.amount, self.currency)

    def _same(self, other: "Money") -> None:
        if self.currency != other.currency:
            raise InvalidInput(f"{self.currency} and {other.currency} do not add; convert one at a price")


@dataclass(frozen=True, slots=True)
class Quantity:
    """An amount of an instrument's contracts (or of its base asset, for spot); negative is short."""

    value: Decimal

    def __post_init__(self) -> None:
        _finite(self.value, "a quantity")

    def __add__(self, other: "Quantity") -> "Quantity":
        return Quantity(self.value + other.value)

    def __neg__(self) -> "Quantity":
        return Quantity(-self.value)

    def rounded_to(self, lot: Decimal, *, away_from_zero: bool) -> "Quantity":
        """The nearest whole number of lots toward zero, or away from it."""
        lots = (self.value / lot).to_integral_value(ROUND_UP if away_from_zero else ROUND_DOWN)
        return Quantity(lots * lot)


@dataclass(frozen=True, slots=True)
class Price:
    """Of one unit, in `currency`."""

    value: Decimal
    currency: Asset

    def __post_init__(self) -> None:
        _finite(self.value, "a price")

    def __add__(self, other: "Price") -> "Price":
        if self.currency != other.currency:
            raise InvalidInput(f"prices in {self.currency} and {other.currency} do not add")
        return Price(self.value + other.value, self.currency)

    def cost_of(self, quantity: Quantity, *, multiplier: Decimal) -> Money:
        """What so many units cost; the multiplier is always named."""
        return Money(self.value * quantity.value * multiplier, self.currency)

    def rounded_to(self, tick: Decimal) -> "Price":
        return Price((self.value / tick).to_integral_value(ROUND_HALF_EVEN) * tick, self.currency)


def decimal_text(value: Decimal) -> str:
    """The one way a decimal is printed: plain notation, no trailing zeros, never an exponent."""
    text = f"{value:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text
