"""What an evaluator says of itself, for whoever runs the service."""

from collections.abc import Awaitable, Callable, Sequence

import msgspec

from app.domain.identifiers import ShardId
from app.engine.census import Census


class EvaluatorFigures(msgspec.Struct, frozen=True):
    """Of the shards that stand at the same position, counted since they were opened.

    `woken` sums over frames the portfolios that had to look at one, `looks` the views that were looked at for
    whatever reason, and `idle_looks` those of which nothing was up: the looser the bounds, the more.
    `set_aside` is how many portfolios cannot be decided at present.
    """

    shards: tuple[ShardId, ...]
    frames: int
    woken: int
    looks: int
    idle_looks: int
    book: Census
    set_aside: int = 0

    def packed(self) -> bytes:
        return _encoder.encode(self)


def unpacked(packed: bytes) -> EvaluatorFigures:
    return _decoder.decode(packed)


Evaluators = Callable[[], Awaitable[Sequence[EvaluatorFigures]]]
"""Those that said something lately, by shard."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(EvaluatorFigures)
