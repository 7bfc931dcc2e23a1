"""`ballast sources`: what sources said and what came of it, and the registry that declares them."""

import typer
from rich.console import Console
from rich.table import Table

from app.bootstrap import stack
from app.domain.errors import Unavailable
from app.oracle.declared import Declared, Source
from app.oracle.kinds import STANDARDS, standard_of
from app.services.declare_sources import Registry, declare_sources
from app.services.show_sources import ShownSources, show_sources
from app.settings import Settings

_LEAST_WIDTH = 130


async def show(settings: Settings) -> None:
    async with stack(settings) as connected:
        shown = await show_sources(await connected.units(), await connected.oracle_now())
        try:
            _, clock_ns = await (await connected.market()).clock()
        except Unavailable:
            clock_ns = 0  # no frame yet, so nobody was heard
    console = Console()
    # A narrower terminal wraps lines rather than lose figures.
    console.width = max(console.width, _LEAST_WIDTH)
    console.print(_sources(shown, clock_ns))
    console.print(_consensus(shown, clock_ns))
    console.print(_kinds(shown.declared))


def _sources(shown: ShownSources, clock_ns: int) -> Table:
    """A row for each line that a source speaks of; one for who said nothing."""
    table = _table(
        "sources",
        "source",
        "kind",
        "instrument",
        "value",
        "confidence",
        "weight",
        "halved",
        "age, s",
        "refused",
    )
    for name in shown.names():
        source = shown.declared.source(name)
        refused = _refused(shown, name)
        title = _title(name, source)
        voices = shown.voices(name)
        for number, (voice, _) in enumerate(voices):
            tick = voice.tick
            table.add_row(
                title,
                tick.kind,
                tick.instrument,
                f"{tick.value:.10g}",
                f"{tick.confidence:.4g}",
                f"{voice.weight:g}",
                str(voice.halvings),
                _seconds(clock_ns - tick.time_ns) + ("" if voice.is_fresh(clock_ns) else " stale"),
                "" if number else refused,
            )
        if not voices:
            weight = f"{source.weight if source.enabled else 0.0:g}"
            table.add_row(title, "", "", "", "", weight, "", "", refused)
    if "" in shown.rejections:
        table.add_row("(nobody known)", "", "", "", "", "", "", "", _refused(shown, ""))
    return table


def _title(name: str, source: Source) -> str:
    """With how its ticks may come over HTTP, if at all."""
    ways = ["signs"] if source.public_key else []
    if source.publisher:
        ways.append(f"sent by {source.publisher}")
    return f"{name} ({', '.join(ways)})" if ways else name


def _consensus(shown: ShownSources, clock_ns: int) -> Table:
    table = _table(
        "consensus",
        "instrument",
        "kind",
        "value",
        "confidence",
        "quality",
        "fresh sources",
        "age, s",
        "TWAP",
        "EWMA",
    )
    for (kind, instrument), line in sorted(shown.lines.items(), key=lambda item: item[0][::-1]):
        if (change := line.change) is not None:
            table.add_row(
                instrument,
                kind,
                f"{change.value:.10g}",
                f"{change.confidence:.4g}",
                change.quality.name.lower(),
                str(change.sources),
                _seconds(clock_ns - change.time_ns),
                f"{line.twap:.10g}",
                f"{line.ewma:.10g}",
            )
    return table


def _kinds(declared: Declared) -> Table:
    """What holds of a kind where an instrument, an index, a chain or a depth declares nothing of its own."""
    table = _table(
        "kinds",
        "kind",
        "sources",
        "weight",
        "stale for trading, s",
        "for margin, s",
        "uncertain",
        "dispersed",
        "tolerance",
    )
    for kind in STANDARDS:
        standard = standard_of(kind, declared)
        ladder, quorum = standard.ladder, standard.quorum
        table.add_row(
            kind + (" (declared)" if kind in declared.kinds else ""),
            str(quorum.sources),
            f"{quorum.weight:g}",
            _seconds(ladder.stale_for_trading_ns),
            _seconds(ladder.stale_for_margin_ns),
            f"{ladder.uncertain_fraction:g}",
            f"{ladder.dispersed_fraction:g}",
            f"{standard.tolerance:g}",
        )
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title)
    for name in columns:
        is_text = name in {"source", "kind", "instrument", "quality", "refused"}
        table.add_column(name, justify="left" if is_text else "right")
    return table


def _refused(shown: ShownSources, name: str) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in sorted(shown.rejections.get(name, {}).items()))


def _seconds(duration_ns: int) -> str:
    return f"{duration_ns / 1e9:,.1f}"


async def apply(settings: Settings, registry: Registry) -> None:
    """Says what it changed."""
    async with stack(settings) as connected:
        units = await connected.units()
        async with units() as unit:
            difference = await declare_sources(unit, registry.declared())
    for what, names in (
        ("added", difference.added),
        ("changed", difference.changed),
        ("removed", difference.removed),
    ):
        for name in names:
            typer.echo(f"{what} {name}")
    if not (difference.added or difference.changed or difference.removed):
        typer.echo("the registry is as the file says", err=True)
