"""Every module of `bench.rows` holds one `MEASUREMENT`; a new file there is a new benchmark."""

import importlib
import pkgutil
from collections.abc import Sequence

from bench import rows
from bench.measurement import Measurement


def measurements() -> list[Measurement]:
    names = sorted(module.name for module in pkgutil.iter_modules(rows.__path__))
    return [importlib.import_module(f"bench.rows.{name}").MEASUREMENT for name in names]


def choose(wanted: Sequence[str]) -> list[tuple[Measurement, set[str]]]:
    """The measurements that the wanted rows need, each with the rows to report; all when none is named."""
    available = measurements()
    known = {row.name for measurement in available for row in measurement.rows}
    if unknown := [name for name in wanted if name not in known]:
        raise LookupError(f"no row {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    chosen = set(wanted) or known
    return [
        (measurement, reported)
        for measurement in available
        if (reported := chosen & {row.name for row in measurement.rows})
    ]
