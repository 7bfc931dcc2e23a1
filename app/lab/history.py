"""Recorded market data as entries of the tick stream.

Three forms of file, told apart by their header:

- **bars** `time,open,high,low,close,volume`: the open, the two extremes, the close. The low comes before
  the high where the bar closes up or unchanged, the high before the low where it closes down. The four
  ticks stand in the middle of the four quarters of the bar. A bar is as long as the most common step of
  the file, or as the time to the next bar where that is less. Gaps stay gaps.
- **ticks** `time_ns,source,instrument,sequence,price,confidence`: as they were recorded.
- **funding** `time,funding_rate`: one tick at its time.

`recording.py` reads them. Every entry is of one tick, because an entry makes one frame and a frame has one
time.

A file is read twice: once to check every row and to learn the length of the bars, once to hand out its
ticks. So a bad row is reported before anything was published, and no file is ever held in memory.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain, pairwise
from pathlib import Path

from app.domain.market import Tick, TickKind
from app.lab.recording import Form, HistoryError, Record, form_of, records, to_ns

FILE_SOURCE = "file"
CLOCK_SOURCE = "clock"
# A bar says nothing about its spread; one basis point is wider than the majors' usual one and far
# narrower than any band a policy would set.
BAR_CONFIDENCE_FRACTION = 1e-4
HEARTBEATS_PER_GAP = 1_000

_NAME = re.compile(r"(?P<pair>[a-z0-9]+-[a-z0-9]+)(?P<perpetual>_perp(?=[_.]|$))?(?=[_.]|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """What one reading of a file found. Every row of it is sound."""

    path: Path
    form: Form
    entries: int
    first_ns: int
    last_ns: int  # the time of the last row; a bar's ticks come after it
    bar_ns: int  # 0 where there are no bars
    instruments: tuple[str, ...]
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Window:
    """Ticks from `start_ns` up to, not including, `end_ns`."""

    start_ns: float
    end_ns: float

    @classmethod
    def between(cls, start: datetime | None, end: datetime | None) -> "_Window":
        for name, instant in (("start", start), ("end", end)):
            if instant is not None and instant.tzinfo is None:
                raise HistoryError(
                    f"{name} {instant.isoformat()} has no time zone: write it in UTC, with a Z"
                )
        return cls(to_ns(start) if start else -math.inf, to_ns(end) if end else math.inf)

    def holds(self, time_ns: int) -> bool:
        return self.start_ns <= time_ns < self.end_ns


def survey(path: Path, *, instrument: str | None = None, source: str | None = None) -> Recording:
    """Read the whole file once: what it holds, or a `HistoryError` for the first row that is wrong.

    For bars and funding, `instrument` and `source` are the names to publish under; without them the file's
    name tells (`btc-usdt_spot_5m…` is BTC-USDT, `btc-usdt_perp_1m…` is BTC-USDT-PERP) and the source is
    `file`. A file of ticks carries its own names, and the two select from it.
    """
    form = form_of(path)
    rows, first_ns, last_ns = 0, 0, 0
    steps: Counter[int] = Counter()
    found: Counter[tuple[str, str]] = Counter()
    for record in records(path, form):
        time_ns = record[0]
        if rows:
            steps[time_ns - last_ns] += 1
        else:
            first_ns = time_ns
        if form is Form.TICKS:
            found[record[1], record[2]] += 1
        last_ns = time_ns
        rows += 1
    if not rows:
        raise HistoryError(f"{path.name} holds a header and no rows")
    if form is Form.TICKS:
        found = _selected(path, found, instrument=instrument, source=source)
    else:
        found[source or FILE_SOURCE, instrument or _instrument_of(path)] = rows
    return Recording(
        path=path,
        form=form,
        entries=found.total() * (4 if form is Form.BARS else 1),
        first_ns=first_ns,
        last_ns=last_ns,
        bar_ns=_bar_length_ns(path, steps) if form is Form.BARS else 0,
        instruments=tuple(sorted({name for _, name in found})),
        sources=tuple(sorted({name for name, _ in found})),
    )


def read_ticks(
    path: Path,
    *,
    instrument: str | None = None,
    source: str | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
) -> Iterator[list[Tick]]:
    """The entries of a recording, in order; `start` is in, `end` is out; names as in `survey`.

    The file is checked before this returns. Sequences of bars and funding count from the first row of the
    file whatever the window, so that a recording replayed in pieces goes on where it stopped.
    """
    window = _Window.between(start, end)
    return _entries(survey(path, instrument=instrument, source=source), window)


def count_entries(
    path: Path,
    *,
    instrument: str | None = None,
    source: str | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
) -> int:
    """How many entries `read_ticks` would hand out: one reading, a second one only for a window."""
    window = _Window.between(start, end)
    recording = survey(path, instrument=instrument, source=source)
    if start is None and end is None:
        return recording.entries
    return sum(1 for _ in _entries(recording, window))


def first_prices(
    path: Path, *, instrument: str | None = None, start: datetime | None = None, end: datetime | None = None
) -> dict[str, float]:
    """Of every instrument that has a price in the window, the first one."""
    window = _Window.between(start, end)
    recording = survey(path, instrument=instrument)
    found: dict[str, float] = {}
    for (tick,) in _entries(recording, window):
        if tick.kind is TickKind.PRICE:
            found.setdefault(tick.instrument, tick.value)
            if len(found) == len(recording.instruments):
                break
    return found


def with_heartbeats(entries: Iterable[Sequence[Tick]], *, every: timedelta) -> Iterator[Sequence[Tick]]:
    """The entries, and a heartbeat after each `every` in which none carries time.

    One gap gets at most `HEARTBEATS_PER_GAP` of them: in a longer one they stand further apart, evenly.
    """
    every_ns = every // timedelta(microseconds=1) * 1_000
    if every_ns <= 0:
        raise HistoryError("heartbeats need a positive interval")
    sequence = 0
    last_ns: int | None = None
    for entry in entries:
        now_ns = max(tick.time_ns for tick in entry)
        if last_ns is not None:
            gap_ns = now_ns - last_ns
            step_ns = max(every_ns, -(-gap_ns // (HEARTBEATS_PER_GAP + 1)))
            for time_ns in range(last_ns + step_ns, now_ns, step_ns):
                sequence += 1
                yield [Tick(TickKind.HEARTBEAT, CLOCK_SOURCE, "", sequence, time_ns, 0.0)]
        yield entry
        last_ns = now_ns


# --- records to ticks


def _entries(recording: Recording, window: _Window) -> Iterator[list[Tick]]:
    convert = {Form.BARS: _bar_ticks, Form.TICKS: _recorded_ticks, Form.FUNDING: _funding_ticks}[
        recording.form
    ]
    ticks = convert(records(recording.path, recording.form), recording)
    return ([tick] for tick in ticks if window.holds(tick.time_ns))


def _bar_ticks(rows: Iterator[Record], recording: Recording) -> Iterator[Tick]:
    (instrument,), (source,) = recording.instruments, recording.sources
    sequence = 0
    end: Record = (recording.last_ns + recording.bar_ns,)
    for (time_ns, opening, high, low, close), (next_ns, *_) in pairwise(chain(rows, [end])):
        eighth_ns = min(recording.bar_ns, next_ns - time_ns) // 8
        extremes = (high, low) if close < opening else (low, high)
        for nth, price in enumerate((opening, *extremes, close)):
            sequence += 1
            yield Tick(
                TickKind.PRICE,
                source,
                instrument,
                sequence,
                time_ns + (2 * nth + 1) * eighth_ns,
                price,
                price * BAR_CONFIDENCE_FRACTION,
            )


def _recorded_ticks(rows: Iterator[Record], recording: Recording) -> Iterator[Tick]:
    instruments, sources = set(recording.instruments), set(recording.sources)
    for time_ns, source, instrument, sequence, price, confidence in rows:
        if instrument in instruments and source in sources:
            yield Tick(TickKind.PRICE, source, instrument, sequence, time_ns, price, confidence)


def _funding_ticks(rows: Iterator[Record], recording: Recording) -> Iterator[Tick]:
    (instrument,), (source,) = recording.instruments, recording.sources
    for sequence, (time_ns, rate) in enumerate(rows, 1):
        yield Tick(TickKind.FUNDING_RATE, source, instrument, sequence, time_ns, rate)


# --- what the whole file tells


def _instrument_of(path: Path) -> str:
    match = _NAME.match(path.name)
    if match is None:
        raise HistoryError(
            f"the name {path.name} does not begin with a pair as in btc-usdt_spot_5m: name the instrument"
        )
    return match["pair"].upper() + ("-PERP" if match["perpetual"] else "")


def _selected(
    path: Path, found: Counter[tuple[str, str]], *, instrument: str | None, source: str | None
) -> Counter[tuple[str, str]]:
    chosen = Counter(
        {
            key: rows
            for key, rows in found.items()
            if source in (None, key[0]) and instrument in (None, key[1])
        }
    )
    if not chosen:
        holdings = ", ".join(f"{name} from {origin}" for origin, name in sorted(found))
        wanted = " from ".join(name for name in (instrument, source) if name)
        raise HistoryError(f"{path.name} holds no {wanted}; it holds {holdings}")
    return chosen


def _bar_length_ns(path: Path, steps: Counter[int]) -> int:
    if not steps:
        raise HistoryError(f"{path.name} holds a single bar: its length is told by the step to the next one")
    return max(steps, key=lambda step: (steps[step], -step))
