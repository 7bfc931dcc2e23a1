"""Signed ticks: what a publisher signs, and whether it did.

An entry is signed as a whole, by Ed25519 (RFC 8032), over these bytes (integers big-endian):

    "ballast.ticks.v1" and a zero byte
    the number of ticks, uint32
    of each tick, in order: kind, source and instrument, each as uint16 length and UTF-8;
        sequence and time_ns as int64; value and confidence as IEEE 754 binary64

That is a function of what the ticks say and not of how they were sent: flat fields, packed, or JSON over
HTTP. The first line keeps a key's other signatures from being taken for this one. The same key in two
deployments signs for both: give each deployment keys of its own.
"""

import struct
from collections.abc import Sequence

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from app.domain.market import Tick

PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64
_DOMAIN = b"ballast.ticks.v1\x00"
_numbers = struct.Struct(">qqdd")


def signed_bytes(ticks: Sequence[Tick]) -> bytes:
    """ValueError: a number beyond 64 bits, which nobody can have signed."""
    parts = [_DOMAIN, len(ticks).to_bytes(4, "big")]
    try:
        for tick in ticks:
            for name in (tick.kind.value, tick.source, tick.instrument):
                encoded = name.encode()
                parts += (len(encoded).to_bytes(2, "big"), encoded)
            parts.append(_numbers.pack(tick.sequence, tick.time_ns, tick.value, tick.confidence))
    except struct.error as error:
        raise ValueError(f"not to be signed: {error}") from None
    return b"".join(parts)


def is_signed(ticks: Sequence[Tick], signature: bytes, public_key: bytes) -> bool:
    """Whether the holder of that key said exactly these ticks, in this order."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, signed_bytes(ticks))
    except (InvalidSignature, ValueError):
        return False
    return True


class Seal:
    """The signature of an entry, or none; verified once for each key that is asked about."""

    def __init__(self, ticks: Sequence[Tick], signature: bytes) -> None:
        self.signature = signature
        self._ticks = ticks
        self._verified: dict[bytes, bool] = {}

    def is_by(self, public_key: bytes) -> bool:
        if public_key not in self._verified:
            self._verified[public_key] = is_signed(self._ticks, self.signature, public_key)
        return self._verified[public_key]
