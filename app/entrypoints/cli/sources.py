"""`ballast sources`: the registry of sources, and what came of it."""

import typer

from app.bootstrap import stack
from app.services.declare_sources import Registry, declare_sources
from app.settings import Settings


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
