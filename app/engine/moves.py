"""What a plan can move: trades, transfers and loans, and levers that are made of them."""

from decimal import Decimal

from msgspec import Struct

from app.domain.adjustments import LendingAction, MissReason
from app.domain.identifiers import AccountId, Asset, InstrumentId


class Trade(Struct, frozen=True):
    """`contracts` bought (sold, when negative) per unit of the lever; `effects` are those of one."""

    account: int
    instrument: InstrumentId
    contracts: float
    closes: bool
    effects: dict[int, float]


class Transfer(Struct, frozen=True, gc=False):
    """A unit of an asset per unit, `most` in all; an end that is None is the reserve.

    Of what is sent the venue keeps `fee`, and nothing is sent that is not more than that and than `least`.
    """

    source: AccountId | None
    destination: AccountId | None
    asset: Asset
    most: Decimal
    fee: Decimal = Decimal(0)
    least: Decimal = Decimal(0)


class Lend(Struct, frozen=True, gc=False):
    """`amount` of the asset between the wallet and the position in a pool, per unit of the lever."""

    account: int
    instrument: InstrumentId
    action: LendingAction
    amount: float
    reduces: bool


Move = Trade | Transfer | Lend


class Lever(Struct, frozen=True):
    """`limit` says what the upper limit is of; a size with a `lot` is a whole number."""

    moves: tuple[Move, ...]
    effects: dict[int, float]
    upper: float
    cost: float
    limit: MissReason
    lot: float = 0.0

    @property
    def trade(self) -> Trade | None:
        """Where it is one alone."""
        move = self.moves[0]
        return move if len(self.moves) == 1 and isinstance(move, Trade) else None
