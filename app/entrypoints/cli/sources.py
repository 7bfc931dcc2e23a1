"""`ballast sources`: what sources said and what came of it, and the registry that declares them."""

from typing import assert_never

import typer
from rich.console import Console
from rich.table import Table

from app.bootstrap import stack
from app.domain.errors import Unavailable
from app.oracle.declared import Declared, Source
from app.oracle.kinds import STANDARDS, standard_of
from app.oracle.standing import Silence, Voice
from app.services.declare_sources import Registry, declare_sources
from app.services.show_sources import ShownSources, show_sources
from app.settings import Settings

_LEAST_WIDTH = 150
_DISABLED = "no: disabled"


async def show(settings: Settings) -> None:
    async with stack(settings) as connected:
        shown = await show_sources(await connected.units(), await connected.oracle_now())
        try:
            _, clock_ns = await (await connected.market()).clock()
        except Unavailable:
            clock_ns = 0  # no frame yet, so nobody was heard
    console = Console(markup=False)
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
        "votes",
        "heartbeat, s",
        "refused",
    )
    for name in shown.names():
        source = shown.declared.source(name)
        beat_ns = shown.heartbeats.get(name)
        last = ("" if beat_ns is None else _seconds(clock_ns - beat_ns), _refused(shown, name))
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
                _seconds(clock_ns - tick.time_ns),
                _votes(voice, source, clock_ns),
                *(("", "") if number else last),
            )
        if not voices:
            weight = f"{source.weight if source.enabled else 0.0:g}"
            silent = "no: said nothing yet" if source.enabled else _DISABLED
            table.add_row(title, "", "", "", "", weight, "", "", silent, *last)
    if "" in shown.rejections:
        table.add_row("(nobody known)", *[""] * 9, _refused(shown, ""))
    return table


def _votes(voice: Voice, source: Source, clock_ns: int) -> str:
    """Whether it does; why not, where it does not."""
    match voice.silence(clock_ns):
        case None:
            return "by its heartbeat" if voice.stands_by_heartbeat(clock_ns) else "yes"
        case Silence.DISABLED:
            return _DISABLED
        case Silence.NO_MARKET:
            return f"no: no market converts {source.quote}"
        case Silence.AWAY:
            return f"no: away for {_seconds(clock_ns - voice.away_ns)} s"
        case Silence.NO_RATE:
            return f"no: nobody knows {source.quote} now"
        case unknown:
            assert_never(unknown)


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
        is_text = name in {"source", "kind", "instrument", "quality", "votes", "refused"}
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
