"""The paper venue: the reference price, slippage against the trader, a taker fee. Its pools lend at no fee.

It keeps no book. The same order gives the same fill, so what may have been sent before can be sent again;
whether it was booked is the database's knowledge.
"""

from decimal import Decimal
from typing import assert_never

from app.domain.errors import InvalidInput
from app.engine.fills import paper_fill
from app.ports.execution import (
    Filled,
    LendingOrder,
    NeverArrived,
    Order,
    Refused,
    TradeOrder,
    TransferOrder,
)


class PaperVenue:
    async def execute(self, order: Order) -> Filled | Refused:
        match order:
            case TransferOrder():
                return Filled(quantity=order.leg.amount, price=Decimal(0), fee=order.leg.fee)
            case LendingOrder():
                return Filled(quantity=order.leg.amount, price=Decimal(0), fee=Decimal(0))
            case TradeOrder():
                try:
                    price, fee = paper_fill(order.leg, order.instrument)
                except InvalidInput as error:
                    return Refused(str(error))
                return Filled(quantity=order.leg.quantity, price=price, fee=fee)
            case _:
                assert_never(order)

    async def find(self, order: Order) -> NeverArrived:  # noqa: ARG002 - it remembers none
        return NeverArrived()
