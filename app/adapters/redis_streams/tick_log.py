"""`oracle:ticks`: single ticks as flat fields (anybody can XADD by hand), or many packed in one entry.

Flat: kind, source, instrument, sequence, time_ns, value, confidence (optional). Packed: one field
`packed`, a msgpack array of ticks, each an array in that order. Either may have one field more, `signature`:
64 bytes over all of its ticks (`oracle.signatures`). Nothing that is sent stops the stream: what cannot be a
tick is refused with a reason.
"""

from collections import Counter
from collections.abc import Awaitable, Iterable, Sequence

import msgspec

from app.adapters.redis_streams.client import stream_command
from app.adapters.redis_streams.keys import DEADLETTER, REJECTIONS, TICKS
from app.adapters.redis_streams.tick_reply import FIELDS, TickReply
from app.adapters.redis_streams.wire import Asked, Command, Wire
from app.domain.errors import InvalidTick
from app.domain.market import MAXIMUM_NAME, Rejection, Tick, TickKind
from app.oracle.signatures import SIGNATURE_BYTES
from app.ports.ticks import RejectedTick, TickBatch, TickEntry

KEEP_REJECTED = 10_000
MAXIMUM_PAYLOAD = 512

_ticks = msgspec.msgpack.Decoder(list[Tick])
_raw_ticks = msgspec.msgpack.Decoder(list[msgspec.Raw])
_tick = msgspec.msgpack.Decoder(Tick)
# What msgspec raises for bytes that are no ticks: names that are not UTF-8 come as Python's own error.
_UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_KINDS = {kind.value.encode(): kind for kind in TickKind}
_NAMES = [name.encode() for name in FIELDS]
_REQUIRED = frozenset(_NAMES[:-1])
_SIGNATURE = b"signature"
_INT64 = 1 << 63


class RedisTickLog:
    """Reads on a connection that gives whole replies (`whole_replies`), and may wait there for ticks."""

    def __init__(self, streams: Wire, wire: Wire) -> None:
        self._streams = streams
        self._wire = wire

    def read(self, after: str, *, count: int, block_ms: int | None) -> Asked[TickBatch]:
        return Asked(
            self._streams.ask(*stream_command({TICKS: after}, count=count, block_ms=block_ms)), _batch
        )

    async def reject(self, rejected: Sequence[RejectedTick]) -> None:
        letters: list[Command] = [
            (
                *("XADD", DEADLETTER, "MAXLEN", "~", KEEP_REJECTED, "*", "entry", one.entry),
                *("reason", one.reason, "message", one.message, "payload", one.payload),
            )
            for one in rejected
        ]
        counts = Counter(f"{one.reason}|{one.source}" for one in rejected)
        counted: list[Command] = [("HINCRBY", REJECTIONS, name, count) for name, count in counts.items()]
        await self._wire.execute_many([*letters, *counted])

    async def trim(self, before: str) -> None:
        await self._wire.execute_command("XTRIM", TICKS, "MINID", "~", before)


class _Batch(TickReply):
    def entry(self, i: int) -> TickEntry:
        return decode_entry(self.id(i), self.flat(i))


async def _batch(reply: Awaitable[bytes]) -> TickBatch:
    return _Batch(await reply)


def decode_entry(entry_id: str, flat: list[bytes]) -> TickEntry:
    try:
        if flat[0] == b"packed" and len(flat) == 2:
            return decode_packed(entry_id, flat[1])
        if flat[::2] == _NAMES:
            return TickEntry(entry_id, [_decode_flat(flat[1::2])])
        return _decode_with_care(entry_id, flat)
    except InvalidTick as refusal:
        payload = b" ".join(flat)
        return TickEntry(entry_id, [], [rejected_tick(entry_id, refusal, payload)])


def rejected_tick(entry_id: str, refusal: InvalidTick, payload: bytes) -> RejectedTick:
    return RejectedTick(entry_id, refusal.reason, str(refusal), payload[:MAXIMUM_PAYLOAD])


def _decode_with_care(entry_id: str, flat: list[bytes]) -> TickEntry:
    """Of whoever signs, writes the fields in another order, or leaves the confidence out."""
    given = dict(zip(flat[::2], flat[1::2], strict=True))
    if 2 * len(given) != len(flat):
        raise InvalidTick(Rejection.MALFORMED, "a field is given twice")
    signature = given.pop(_SIGNATURE, b"")
    if _SIGNATURE in flat[::2] and len(signature) != SIGNATURE_BYTES:
        raise InvalidTick(
            Rejection.MALFORMED, f"a signature has {SIGNATURE_BYTES} bytes, not {len(signature)}"
        )
    if given.keys() == {b"packed"}:
        entry = decode_packed(entry_id, given[b"packed"])
    else:
        entry = TickEntry(entry_id, [_decode_flat(_in_order(given))])
    entry.signature = signature
    return entry


def _decode_flat(values: list[bytes]) -> Tick:
    raw_kind, source, instrument, sequence, time_ns, value, confidence = values
    kind = _KINDS.get(raw_kind)
    if kind is None:
        known = ", ".join(TickKind)
        raise InvalidTick(Rejection.UNKNOWN_KIND, f"kind must be one of {known}")
    return Tick(
        kind,
        _name(source, "source"),
        _name(instrument, "instrument"),
        _integer(sequence, "sequence"),
        _integer(time_ns, "time_ns"),
        _number(value, "value"),
        _number(confidence, "confidence"),
    )


def _in_order(given: dict[bytes, bytes]) -> list[bytes]:
    if not (_REQUIRED <= given.keys() <= set(_NAMES)):
        missing = b", ".join(sorted(_REQUIRED - given.keys())).decode()
        unknown = b", ".join(sorted(given.keys() - set(_NAMES))).decode(errors="replace")
        raise InvalidTick(Rejection.MALFORMED, f"fields missing: [{missing}], unknown: [{unknown}]")
    return [given.get(name, b"0") for name in _NAMES]


def _name(raw: bytes, what: str) -> str:
    if len(raw) > MAXIMUM_NAME:
        raise InvalidTick(Rejection.MALFORMED, f"{what} is longer than {MAXIMUM_NAME} bytes")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise InvalidTick(Rejection.MALFORMED, f"{what} is not UTF-8") from None


def _integer(raw: bytes, what: str) -> int:
    if raw.isdigit() and len(raw) < 19:
        return int(raw)
    digits = raw[1:] if raw[:1] == b"-" else raw
    if not digits.isdigit() or len(digits) > 19 or not -_INT64 <= (value := int(raw)) < _INT64:
        raise InvalidTick(Rejection.MALFORMED, f"{what} must be a 64-bit integer")
    return value


def _number(raw: bytes, what: str) -> float:
    """Plain float syntax: Python's own underscores and blanks are not numbers to anybody else."""
    try:
        if b"_" in raw or raw != raw.strip():
            raise ValueError
        return float(raw)
    except ValueError:
        raise InvalidTick(Rejection.MALFORMED, f"{what} must be a number") from None


def decode_packed(entry_id: str, packed: bytes) -> TickEntry:
    try:
        return TickEntry(entry_id, _ticks.decode(packed))
    except _UNDECODABLE:
        return _decode_one_by_one(entry_id, packed)


def _decode_one_by_one(entry_id: str, packed: bytes) -> TickEntry:
    """The slow way, once something in it is wrong: the good ticks of an entry are still served."""
    entry = TickEntry(entry_id, [])
    try:
        raws: Iterable[msgspec.Raw] = _raw_ticks.decode(packed)
    except _UNDECODABLE as error:
        refusal = InvalidTick(Rejection.MALFORMED, f"not a msgpack array of ticks: {error}")
        entry.rejected.append(rejected_tick(entry_id, refusal, packed))
        return entry
    for raw in raws:
        payload = bytes(raw)
        try:
            entry.ticks.append(_tick.decode(payload))
        except _UNDECODABLE as error:
            refusal = InvalidTick(Rejection.MALFORMED, str(error))
            entry.rejected.append(rejected_tick(entry_id, refusal, payload))
    return entry
