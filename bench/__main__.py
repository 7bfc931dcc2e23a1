"""`python -m bench`: measures Ballast beside the least work that anybody would have to do."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.status import Status
from rich.table import Table

from bench import harness, results
from bench.measurement import Measurement, Row, Unavailable
from bench.registry import choose, measurements

SCRATCH = Path(__file__).resolve().parents[1] / ".ballast" / "bench"
QUICK_RUNS = 2

app = typer.Typer(add_completion=False)
_out = Console()
_out.width = max(_out.width, 110)  # a narrower terminal wraps lines rather than lose figures
_progress = Console(stderr=True)


@app.command(help="Measure all rows, or those named. Ours and its floor run in turn, in fresh processes.")
def bench(
    rows: Annotated[
        list[str] | None, typer.Argument(metavar="ROW", help="Rows to measure; see --list.")
    ] = None,
    *,
    show: Annotated[bool, typer.Option("--list", help="Name the rows and what they measure.")] = False,
    runs: Annotated[
        int | None, typer.Option(min=1, help="Runs of each side; each row has its own default.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer ticks and two runs: rough figures, not stored.")
    ] = False,
    only: Annotated[
        str | None,
        typer.Option(help="Run one side alone (ours, floor, or a peer); nothing is stored."),
    ] = None,
) -> None:
    if show:
        list_rows()
        return
    try:
        chosen = choose(rows or [])
    except LookupError as error:
        raise typer.BadParameter(str(error), param_hint="ROW") from None
    for measurement, reported in chosen:
        try:
            measure(measurement, reported, runs=runs, quick=quick, only=only)
        except Unavailable as reason:
            _progress.print(f"[yellow]{reason}[/yellow]")
        except RuntimeError as error:
            _progress.print(f"[red]{error}[/red]")
            raise typer.Exit(1) from None


def measure(
    measurement: Measurement, reported: set[str], *, runs: int | None, quick: bool, only: str | None
) -> None:
    if only is not None and only not in measurement.sides():
        raise typer.BadParameter(f"one of {', '.join(measurement.sides())}", param_hint="--only")
    names = ", ".join(row.name for row in measurement.rows)
    with _progress.status(names) as status:
        samples = harness.run(
            measurement,
            directory=SCRATCH,
            runs=runs or (QUICK_RUNS if quick else measurement.runs),
            quick=quick,
            only=only,
            progress=lambda text: _show_progress(status, f"{names}: {text}"),
            announce=lambda text: _progress.print(f"{names}: {text}", highlight=False),
        )
    shown = [row for row in measurement.rows if row.name in reported]
    if only is not None:
        show_side([row for row in shown if not row.worst_of], samples, only)
        return
    measured = [harness.result_of(row, samples) for row in shown]
    show_results(measured, samples)
    if not quick:
        results.merge(measured)


def list_rows() -> None:
    table = Table("row", "unit", "what it measures")
    for measurement in measurements():
        for row in measurement.rows:
            table.add_row(row.name, row.unit, row.summary)
    _out.print(table)


def show_results(measured: list[harness.Result], samples: harness.Samples) -> None:
    table = _table("row", "unit", "ours", "floor", "ratio", "peers / ours", "MiB")
    for result in measured:
        table.add_row(
            result.row.name,
            result.row.unit,
            _figures(result.ours, "\n"),
            _figures(result.floor, "\n") if result.floor else "-",
            f"{result.ratio:.2f}" if result.ratio else "-",
            "\n".join(f"{name} {cost:.2f}" for name, cost in result.peers.items()) or "-",
            f"{result.peak_memory_mib:.0f}",
        )
    _out.print(table)
    show_notes(samples)


def show_side(rows: list[Row], samples: harness.Samples, side: str) -> None:
    table = _table("row", "unit", side, "MiB")
    peak = max(sample.peak_memory_mib for sample in samples[side])
    for row in rows:
        table.add_row(row.name, row.unit, _figures(harness.summarise(row, samples, side)), f"{peak:.0f}")
    _out.print(table)
    show_notes(samples)


def show_notes(samples: harness.Samples) -> None:
    """Where the time went, as far as a side can tell: medians over its runs."""
    for side, taken in samples.items():
        for note in taken[0].notes if taken else ():
            figures = harness.Summary.of(sample.notes[note] for sample in taken if note in sample.notes)
            _out.print(f"  {side}: {note} {_figures(figures)}")


def _table(*columns: str) -> Table:
    """Figures are never broken; the spread, least to greatest, has its own line."""
    table = Table(show_lines=True)
    for column in columns:
        table.add_column(column, no_wrap=True)
    return table


def _figures(summary: harness.Summary, separator: str = " ") -> str:
    median, least, greatest = map(_figure, (summary.median, summary.least, summary.greatest))
    return f"{median}{separator}({least} to {greatest})"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"


def _show_progress(status: Status, text: str) -> None:
    """Redrawn on a terminal, a line for each step in a log."""
    if _progress.is_terminal:
        status.update(text)
    else:
        _progress.print(text, highlight=False)


if __name__ == "__main__":
    app()
