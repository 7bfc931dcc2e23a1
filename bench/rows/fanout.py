"""Messages a second to 1,000 clients of one channel; the floor is uvicorn and a bare `send_text`."""

from collections.abc import Callable
from pathlib import Path

from bench.drivers import fanout
from bench.measurement import Measurement, Row, Sample

_ROW = Row("fanout", "messages/s", "events to 1,000 WebSocket clients of one channel", is_rate=True)
_CLIENTS, _ROUNDS, _QUICK_ROUNDS = 1_000, 20, 4


def _side(rate_of: Callable[..., tuple[float, float]]) -> Callable[[Path, bool], Sample]:
    def sample(directory: Path, quick: bool) -> Sample:
        rate, peak = rate_of(directory, clients=_CLIENTS, rounds=_QUICK_ROUNDS if quick else _ROUNDS)
        return Sample({_ROW.name: rate}, peak)

    return sample


MEASUREMENT = Measurement(rows=(_ROW,), ours=_side(fanout.ours), floor=_side(fanout.floor))
