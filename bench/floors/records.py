"""What travels on the floor: a tick, a frame, a row and a message, each the size of Ballast's own."""

from uuid import UUID

import msgspec

TICKS = b"oracle:ticks"
MARKET = b"market"
READ_COUNT = b"1000"
KEEP_FRAMES = b"200000"


class Tick(msgspec.Struct, frozen=True, array_like=True, gc=False):
    kind: str
    source: str
    instrument: str
    sequence: int
    time_ns: int
    value: float
    confidence: float


class Change(msgspec.Struct, frozen=True, array_like=True, gc=False):
    kind: str
    instrument: str
    value: float
    confidence: float
    sources: int
    quality: int
    time_ns: int


class Frame(msgspec.Struct, frozen=True, array_like=True, gc=False):
    generation: int
    sequence: int
    time_ns: int
    entry: str
    stamp_ns: int
    changes: tuple[Change, ...]


def change_of(flat: list[bytes]) -> Change:
    """A single tick's flat fields, in the order that the drivers write them."""
    _, kind, _, _, _, instrument, _, _, _, time_ns, _, value, _, confidence = flat
    return Change(kind.decode(), instrument.decode(), float(value), float(confidence), 1, 0, int(time_ns))


def portfolio_of(instrument: str) -> UUID:
    """The one portfolio that holds `BENCH-00000042`; its number is the first and the last part of the id."""
    number = int(instrument[6:])
    return UUID(f"{number:08d}-0000-8000-8000-{number:012d}")


# What Ballast sends for one delta_neutral recommendation, with room for the five figures that change.
MESSAGE = (
    b'{"op":"event","channel":"adjustments","cursor":"73512","event":{"id":"evt_%032x",'
    b'"type":"adjustment.recommended","version":1,"portfolio_id":"%b","sequence":%d,"previous_sequence":%d,'
    b'"time":"2026-11-23T09:00:00.000000000Z","data":{"adjustment_id":"7d1b7a3e-7e0f-8d57-9c3c-1f1f5a1b2c3d",'
    b'"portfolio_id":"%b","policy_id":"7d1b7a3e-7e0f-8d57-9c3c-1f1f5a1b2c3e","policy_version":1,'
    b'"state":"recommended","mode":"recommend","priority":100,"risk_reducing":true,"legs":[{"type":"trade",'
    b'"account_id":"7d1b7a3e-7e0f-8d57-9c3c-1f1f5a1b2c3f","instrument":"BENCH-00000000","quantity":"-1",'
    b'"reference_price":"60000.5","reduces":true}],"expected_cost":"42.00035",'
    b'"metrics_before":{"equity":"100000","initial_margin":"3000.025","maintenance_margin":"300.0025",'
    b'"margin_ratio":"0.003000025","health_factor":"333.330555","leverage":"0.600005","net_delta":"1"},'
    b'"metrics_after":{"equity":"99957.99965","initial_margin":"0","maintenance_margin":"0",'
    b'"margin_ratio":"0","health_factor":null,"leverage":"0","net_delta":"0"},"reaches_target":true,'
    b'"market_position":"1-123456","decided_at":"2026-11-23T09:00:00.000000000Z",'
    b'"expires_at":"2026-11-23T09:05:00.000000000Z"}}}'
)


def message(*, portfolio: UUID, sequence: int) -> bytes:
    name = str(portfolio).encode()
    return MESSAGE % (portfolio.int, name, sequence, sequence - 1, name)
