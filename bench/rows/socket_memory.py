"""Memory per idle WebSocket connection; the floor is uvicorn and an endpoint that accepts."""

from collections.abc import Callable
from pathlib import Path

from bench.drivers import idle_sockets
from bench.measurement import Measurement, Row, Sample

_ROW = Row("socket-memory", "kB", "memory per idle connection: authenticated, on one portfolio's channel")
_CLIENTS, _QUICK_CLIENTS = 4_000, 1_000


def _side(memory_of: Callable[[Path, int], tuple[float, float]]) -> Callable[[Path, bool], Sample]:
    def sample(directory: Path, quick: bool) -> Sample:
        per_connection, peak = memory_of(directory, _QUICK_CLIENTS if quick else _CLIENTS)
        return Sample({_ROW.name: per_connection}, peak)

    return sample


MEASUREMENT = Measurement(
    rows=(_ROW,), ours=_side(idle_sockets.ours), floor=_side(idle_sockets.floor), runs=2
)
