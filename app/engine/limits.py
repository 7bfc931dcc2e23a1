"""How much a policy may trade, in the valuation currency of its portfolio."""

from math import inf

from msgspec import Struct

from app.domain.identifiers import PolicyId


class Turnover(Struct, frozen=True):
    """What is left of a day's, of all instruments together."""

    policy: PolicyId
    left: float


class Limits(Struct, frozen=True):
    """`most` is of one instrument. Who has a turnover has levers of its own, for no other draws on it."""

    most: float = inf
    turnover: Turnover | None = None

    @property
    def largest(self) -> float:
        """Of one trade."""
        return self.most if self.turnover is None else min(self.most, self.turnover.left)


UNLIMITED = Limits()
