"""What must be remembered of a policy between frames: a function of the frames seen, and nothing else."""

import msgspec

from app.domain.adjustments import Reason

_encoder = msgspec.msgpack.Encoder()


class PolicyMemory(msgspec.Struct, frozen=True, array_like=True):
    """`suppressed` is the reason of the last record while it still holds, since frame `suppressed_since`."""

    cooldown_until_ns: int = 0
    suppressed: Reason | None = None
    suppressed_since: int = 0

    def packed(self) -> bytes:
        return _encoder.encode(self)


NOTHING = PolicyMemory()
_decoder = msgspec.msgpack.Decoder(PolicyMemory)


def unpacked(memory: bytes) -> PolicyMemory:
    return _decoder.decode(memory)
