"""What a benchmark is made of: rows of results, and the sides that are measured for them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the results. A rate is better when larger; `worst_of` others has no samples of its own."""

    name: str
    unit: str
    summary: str
    is_rate: bool = False
    worst_of: "tuple[Row, ...]" = ()

    def cost_ratio(self, cost: float, reference: float) -> float:
        """`cost` over `reference`, for times; the other way round for rates: 1 is level, lower is better."""
        return reference / cost if self.is_rate else cost / reference


@dataclass(frozen=True, slots=True)
class Sample:
    """One run of one side: a value for each row. `notes` are printed, never compared."""

    values: Mapping[str, float]
    peak_memory_mib: float
    notes: Mapping[str, float] = field(default_factory=dict)


class Unavailable(Exception):
    """A side cannot run on this machine, for the reason given: a floor without its compiler, a peer whose
    packages do not install. Where it is ours the row is left out.
    """


Side = Callable[[Path, bool], Sample]
"""Runs in a fresh directory, in fresh processes; the flag asks for a quick, rough figure."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """Rows that are measured together."""

    rows: tuple[Row, ...]
    ours: Side
    floor: Side
    peers: Mapping[str, Side] = field(default_factory=dict)
    runs: int = 5

    def sides(self) -> dict[str, Side]:
        return {"ours": self.ours, "floor": self.floor, **self.peers}
