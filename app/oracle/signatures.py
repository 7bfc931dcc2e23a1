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
from functools import cached_property

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


class Seal:
    """The signature of an entry, or none: whether the holder of a key said exactly its ticks, in this order.

    Verified once for each key that is asked about, until it is known whose it is: then it is no other's.
    """

    def __init__(self, ticks: Sequence[Tick], signature: bytes) -> None:
        self.signature = signature
        self._ticks = ticks
        self._signer: bytes | None = None
        self._others: set[bytes] = set()

    def is_by(self, public_key: bytes) -> bool:
        if self._signer is None and public_key not in self._others:
            if self._verify(public_key):
                self._signer = public_key
            else:
                self._others.add(public_key)
        return self._signer == public_key

    def _verify(self, public_key: bytes) -> bool:
        try:
            Ed25519PublicKey.from_public_bytes(public_key).verify(self.signature, self._signed_bytes)
        except (InvalidSignature, ValueError):
            return False
        return True

    @cached_property
    def _signed_bytes(self) -> bytes:
        return signed_bytes(self._ticks)
