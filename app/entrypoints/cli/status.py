"""`ballast status`: what the evaluators say of themselves."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from app.bootstrap import stack
from app.ports.figures import EvaluatorFigures
from app.settings import Settings

_MIB = 1 << 20


async def show(settings: Settings) -> None:
    async with stack(settings) as connected:
        said = await (await connected.evaluators())()
    console = Console()
    if not said:
        console.print("no evaluator said anything lately")
        return
    console.print(_evaluators(said))
    console.print(_tables(said))
    if set_aside := sum(each.set_aside for each in said):
        console.print(
            f"[red]set aside: {set_aside:,}[/red], which could not be decided; see evaluators' logs"
        )


def _evaluators(said: Sequence[EvaluatorFigures]) -> Table:
    table = Table(title="evaluators, by the shards that stand at the same position")
    for name in (
        "shards", "portfolios", "awake", "policies", "awake", "always awake", "positions", "woken per frame",
        "idle looks", "MiB", "bytes per position", "bytes per policy",
    ):  # fmt: skip
        table.add_column(name, justify="left" if name == "shards" else "right")
    for each in said:
        book = each.book
        table.add_row(
            ", ".join(map(str, each.shards)),
            f"{book.portfolios:,}",
            f"{book.awake_portfolios:,}",
            f"{book.policies:,}",
            f"{book.awake_policies:,}",
            f"{book.boundless_policies:,}",
            f"{book.positions:,}",
            f"{each.woken / max(each.frames, 1):,.2f}",
            f"{each.idle_looks / max(each.looks, 1):.1%}",
            f"{book.allocated_bytes / _MIB:,.1f}",
            f"{book.bytes_per_position:,.0f}",
            f"{book.bytes_per_policy:,.0f}",
        )
    return table


def _tables(said: Sequence[EvaluatorFigures]) -> Table:
    """Of all evaluators together."""
    table = Table(title="columns, MiB")
    for name in ("table", "in use", "allocated"):
        table.add_column(name, justify="left" if name == "table" else "right")
    for name in said[0].book.tables:
        sizes = [each.book.tables[name] for each in said]
        used, allocated = (
            sum(part) / _MIB for part in ((s.used for s in sizes), (s.allocated for s in sizes))
        )
        table.add_row(name, f"{used:,.2f}", f"{allocated:,.2f}")
    return table
