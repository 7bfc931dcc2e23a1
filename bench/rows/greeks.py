"""Nanoseconds per option for its price and six greeks, on one core, of a book of options in columns.

Ours returns rho and a status besides, into new arrays; the floor fills arrays that it was given. Each side's
figure is that of its fastest call. py_vollib_vectorized has neither vanna nor volga: its peer does less.
"""

import json
import sys
from pathlib import Path

from bench.floors.c_library import compiler
from bench.measurement import Measurement, Row, Sample, Side, Unavailable
from bench.peers.environment import peers_python
from bench.processes import Child

_OPTIONS = 100_000
_FEW_OPTIONS = 2_000  # for a peer that takes microseconds each
_SECONDS = 300.0
_ROW = Row("greeks", "ns/option", "price, delta, gamma, vega, theta, vanna and volga of one option")


def _measured(module: str, arguments: list[str], python: Path = Path(sys.executable)) -> Sample:
    printed = Child(module, arguments, python=python).output(timeout_seconds=_SECONDS)
    figures = json.loads(printed.splitlines()[-1])
    return Sample({_ROW.name: figures["nanoseconds"]}, figures["peak_memory_mib"])


def _side(name: str, options: int = _OPTIONS) -> Side:
    def sample(directory: Path, quick: bool) -> Sample:
        count = min(options, _OPTIONS // 10) if quick else options
        return _measured("bench.drivers.greeks", [name, str(count), str(directory)])

    return sample


def _floor(directory: Path, quick: bool) -> Sample:
    if compiler() is None:
        raise Unavailable("there is no gcc and no cc on the PATH")
    return _side("floor")(directory, quick)


def _vollib(_directory: Path, quick: bool) -> Sample:
    return _measured("bench.peers.vollib", [str(_OPTIONS // 10 if quick else _OPTIONS)], peers_python())


_PEERS: dict[str, Side] = {
    "numpy + scipy": _side("numpy"),
    "QuantLib": _side("quantlib", _FEW_OPTIONS),
    "py_vollib_vectorized": _vollib,
}

MEASUREMENT = Measurement(rows=(_ROW,), ours=_side("ours"), floor=_floor, peers=_PEERS)
